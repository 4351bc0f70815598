//! Several replicas over one store, with real gRPC between them: each test of theirs is run twice, on replicas in one
//! process over a shared memory, where nobody is told of what another one commits, and on processes over one
//! PostgreSQL. Then three processes under load, while replicas die, stand still or are cut off, and the database goes.

/// Runs tests that hold wherever replicas run on each of the grounds there are.
macro_rules! anywhere {
    ($($test:ident)+) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Grounds::memory()).await;
            })+
        }
        mod on_postgresql {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Grounds::database().await).await;
            })+
        }
    };
}

mod faults;
mod fences;
mod fleet;
mod grounds;
mod history;
mod hosts;
mod replica;
mod resumes;
mod savers;
mod snapshots;
mod watches;
mod workload;

use grounds::Grounds;
use replica::Replica;

/// The secret of all of them.
const SECRET: &str = "known-to-replicas";

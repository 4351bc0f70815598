//! What an import leaves to others, over the memory store.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use super::*;
use crate::domain::fixture as f;
use crate::domain::{Limits, Time};
use crate::service::{Clock, Ids};
use crate::store::memory::Memory;

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        f::NEW_YEAR
    }
}

#[derive(Debug, Default)]
struct Numbered(AtomicU64);

impl Ids for Numbered {
    fn fresh(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

/// On the one thread of this test nobody else runs while an import does not let them.
#[tokio::test]
async fn a_piece_of_many_lines_lets_others_have_a_turn() {
    let ids = Arc::new(Numbered::default());
    let service = Service::new(
        Arc::new(Memory::default()),
        Arc::new(Still),
        ids,
        Limits::default(),
    );
    let piece: Result<_, Error> = Ok(Bytes::from("x\n".repeat(100_000)));
    let pieces = stream::iter([piece]);
    let import = service.import_session(f::namespace(), None, Import::default(), pieces);
    let mut turns = 0_u64;
    let others = async {
        loop {
            turns += 1;
            tokio::task::yield_now().await;
        }
    };
    let imported = tokio::select! {
        biased;
        imported = import => imported.unwrap(),
        () = others => unreachable!("it never ends"),
    };
    assert_eq!(imported.problems.len(), 1_001);
    assert!(turns > 50, "{turns}");
}

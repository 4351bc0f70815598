//! ForkSession of sessions of different lengths: what a fork costs, and what it leaves in the database.

use anyhow::Result;
use sessiond::pb::client as pb;
use sessiond::pb::client::fork_session_request::Point;

use crate::Plan;
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::{Lane, Latencies, median, one_by_one};
use crate::report::{Table, count, ms};

const LENGTHS: [usize; 3] = [10, 1_000, 100_000];

/// Forks the same session in its middle again and again.
pub(crate) struct Forker {
    pub(crate) client: Sessions,
    pub(crate) session_id: String,
    pub(crate) message_index: i64,
}

impl Lane for Forker {
    async fn call(&mut self) -> Result<()> {
        let request = pb::ForkSessionRequest {
            session_id: self.session_id.clone(),
            point: Some(Point::MessageIndex(self.message_index)),
            ..Default::default()
        };
        self.client.fork_session(request).await?;
        Ok(())
    }
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let server = Child::sessiond(plan.workers)?;
    let mut client = client::sessions(server.address()).await?;
    let mut forkers = Vec::new();
    for length in LENGTHS {
        eprintln!("fork: writing {length} messages");
        forkers.push(Forker {
            session_id: client::filled_session(&mut client, length).await?,
            client: client.clone(),
            // Questions have even indexes, and only before a question may a fork be.
            message_index: i64::try_from(length / 2 / 2 * 2)?,
        });
    }
    let mut latencies = LENGTHS.map(|_| Vec::new());
    let mut growth = LENGTHS.map(|_| Vec::new());
    for _ in 0..plan.repetitions() {
        for (index, forker) in forkers.iter_mut().enumerate() {
            let before = server.stored_bytes()?;
            latencies[index].push(Latencies::new(one_by_one(forker, plan.calls()).await?)?);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            growth[index].push((server.stored_bytes()? - before) as f64 / plan.calls() as f64);
        }
    }
    let mut table = Table::new(
        "ForkSession in the middle, one call after another",
        &["messages", "median", "p99", "bytes a fork"],
    );
    for (index, length) in LENGTHS.iter().enumerate() {
        table.row(vec![
            thousands(*length),
            ms(Latencies::median_of(&latencies[index], 0.5)),
            ms(Latencies::median_of(&latencies[index], 0.99)),
            count(median(growth[index].iter().copied())),
        ]);
    }
    Ok(vec![table])
}

/// A length as the tables show it.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(crate) fn thousands(length: usize) -> String {
    count(length as f64)
}

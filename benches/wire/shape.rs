//! The server's worker threads: what a setting of them is worth.

use anyhow::Result;

use crate::Plan;
use crate::append::{self, Load};
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::{median_rate, median_ratio};
use crate::report::{Table, count, ms, ratio};

/// Worker threads that are compared.
const WORKERS: [usize; 2] = [1, 2];

/// Sessions that are appended to.
const SESSIONS: usize = 64;

const LOADS: [(usize, usize); 3] = [(1, 1), (64, 1), (64, 4)];

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let mut table = Table::new(
        "Worker threads of the server, appends of 1 KB",
        &[
            "worker threads",
            "in flight",
            "connections",
            "appends/s",
            "p50",
            "p99",
            "bare gRPC/s",
            "ratio",
        ],
    );
    for workers in WORKERS {
        let bare = Child::bare(workers)?;
        let server = Child::sessiond(workers)?;
        let bare_channels = client::connect(bare.address(), 4).await?;
        let channels = client::connect(server.address(), 4).await?;
        let session_ids = client::create_sessions(&Sessions::new(channels[0].clone()), SESSIONS).await?;
        for (in_flight, connections) in LOADS {
            let load = Load {
                in_flight,
                connections,
                sessions: SESSIONS,
                request_id: false,
            };
            let (mut rates, mut ceilings) = (Vec::new(), Vec::new());
            for _ in 0..plan.repetitions() {
                ceilings.push(append::rate(&bare_channels, &session_ids, load, plan.span()).await?);
                rates.push(append::rate(&channels, &session_ids, load, plan.span()).await?);
            }
            let rate = median_rate(&rates);
            table.row(vec![
                workers.to_string(),
                in_flight.to_string(),
                connections.to_string(),
                count(rate.per_second),
                ms(rate.p50),
                ms(rate.p99),
                count(median_rate(&ceilings).per_second),
                ratio(median_ratio(&rates, &ceilings)),
            ]);
        }
    }
    Ok(vec![table])
}

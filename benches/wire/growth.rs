//! What ten times as many clients and ten times as much data change.

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::Plan;
use crate::append::{self, Load};
use crate::bare::READ_MESSAGES;
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::fork::{Forker, thousands};
use crate::list::Getter;
use crate::load::{Latencies, Rate, median, median_rate, median_ratio, one_by_one};
use crate::read::{self, Throughput};
use crate::report::{Table, count, ms, ratio};

/// Messages that are stored when the data is small; ten times as many later.
const MESSAGES: usize = 100_000;

/// Sessions that are appended to.
const SESSIONS: usize = 64;

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    Ok(vec![clients(plan).await?, data(plan).await?])
}

async fn clients(plan: Plan) -> Result<Table> {
    let bare = Child::bare(plan.workers)?;
    let server = Child::sessiond(plan.workers)?;
    let bare_channels = client::connect(bare.address(), 10).await?;
    let channels = client::connect(server.address(), 10).await?;
    let session_ids = client::create_sessions(&Sessions::new(channels[0].clone()), SESSIONS).await?;
    let loads = [(64, 1), (640, 1), (640, 10)].map(|(in_flight, connections)| Load {
        in_flight,
        connections,
        sessions: SESSIONS,
        request_id: false,
    });
    let mut measured = loads.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..plan.repetitions() {
        for (load, (rates, ceilings)) in loads.iter().zip(&mut measured) {
            ceilings.push(append::rate(&bare_channels, &session_ids, *load, plan.span()).await?);
            rates.push(append::rate(&channels, &session_ids, *load, plan.span()).await?);
        }
    }
    let mut table = Table::new(
        "Ten times as many clients",
        &[
            "in flight",
            "connections",
            "appends/s",
            "p50",
            "p99",
            "bare gRPC/s",
            "ratio",
        ],
    );
    for (load, (rates, ceilings)) in loads.iter().zip(&measured) {
        let rate = median_rate(rates);
        table.row(vec![
            load.in_flight.to_string(),
            load.connections.to_string(),
            count(rate.per_second),
            ms(rate.p50),
            ms(rate.p99),
            count(median_rate(ceilings).per_second),
            ratio(median_ratio(rates, ceilings)),
        ]);
    }
    Ok(table)
}

/// What is measured on one amount of data.
struct Standing {
    append: Rate,
    fork: Latencies,
    get: Latencies,
    read: Throughput,
}

async fn data(plan: Plan) -> Result<Table> {
    let server = Child::sessiond(plan.workers)?;
    let client = client::sessions(server.address()).await?;
    let mut table = Table::new(
        "Ten times as much data",
        &[
            "messages stored",
            "database",
            "appends/s at 64",
            "p99",
            "fork, median",
            "GetSession, median",
            "10,000 messages read, MB/s",
        ],
    );
    let mut stored = Vec::new();
    for messages in [MESSAGES, 10 * MESSAGES] {
        eprintln!("growth: writing until there are {messages} messages");
        let missing = messages / READ_MESSAGES - stored.len();
        let made = stream::iter(0..missing).map(|_| {
            let mut client = client.clone();
            async move { client::filled_session(&mut client, READ_MESSAGES).await }
        });
        stored.extend(made.buffered(2).try_collect::<Vec<_>>().await?);
        let database = server.stored_bytes()?;
        let mut standings = Vec::new();
        for _ in 0..plan.repetitions() {
            standings.push(standing(plan, &client, &server, &stored).await?);
        }
        let append = median_rate(
            &standings
                .iter()
                .map(|standing| standing.append)
                .collect::<Vec<_>>(),
        );
        let forks: Vec<&Latencies> = standings.iter().map(|standing| &standing.fork).collect();
        let gets: Vec<&Latencies> = standings.iter().map(|standing| &standing.get).collect();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        table.row(vec![
            thousands(messages),
            format!("{} MB", count(database as f64 / 1e6)),
            count(append.per_second),
            ms(append.p99),
            ms(Latencies::median_of(forks, 0.5)),
            ms(Latencies::median_of(gets, 0.5)),
            count(median(standings.iter().map(|standing| standing.read.bytes)) / 1e6),
        ]);
    }
    Ok(table)
}

async fn standing(plan: Plan, client: &Sessions, server: &Child, stored: &[String]) -> Result<Standing> {
    let channels = client::connect(server.address(), 1).await?;
    let session_ids = client::create_sessions(client, SESSIONS).await?;
    let load = Load {
        in_flight: 64,
        connections: 1,
        sessions: SESSIONS,
        request_id: false,
    };
    let mut forker = Forker {
        client: client.clone(),
        session_id: stored.last().context("a session")?.clone(),
        message_index: i64::try_from(READ_MESSAGES / 2)?,
    };
    let mut getter = Getter {
        client: client.clone(),
        namespace: String::new(),
        session_ids: stored.to_vec(),
        next: 0,
    };
    Ok(Standing {
        fork: Latencies::new(one_by_one(&mut forker, plan.calls()).await?)?,
        get: Latencies::new(one_by_one(&mut getter, plan.calls()).await?)?,
        read: read::reads(&mut client.clone(), stored).await?,
        append: append::rate(&channels, &session_ids, load, plan.span()).await?,
    })
}

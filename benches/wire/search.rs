//! What the search index takes from appends and from the disk, how far it is behind them, and how long a search takes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use prost_types::Timestamp;
use sessiond::pb::client as pb;

use crate::Plan;
use crate::append::{self, Load};
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::{Lane, Latencies, Rate, median_rate, median_ratio, one_by_one};
use crate::report::{Table, count, ms, ratio};

const LOADS: [Load; 2] = [load(1), load(64)];

const fn load(in_flight: usize) -> Load {
    Load {
        in_flight,
        connections: 4,
        sessions: 64,
        request_id: false,
    }
}

/// How long the index may take to catch up.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(600);

/// Sessions that are searched, and messages in each.
const SEARCHED: (usize, usize) = (20, 5_000);

/// Asks for the same page again and again.
struct Searcher {
    client: Sessions,
    request: pb::SearchMessagesRequest,
    /// Hits that it must bring.
    hits: usize,
}

impl Lane for Searcher {
    async fn call(&mut self) -> Result<()> {
        let page = self
            .client
            .search_messages(self.request.clone())
            .await?
            .into_inner();
        ensure!(page.hits.len() == self.hits, "{} hits", page.hits.len());
        Ok(())
    }
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    Ok(vec![appends(plan).await?, searches(plan).await?])
}

/// Appends with and without the index, in turn.
async fn appends(plan: Plan) -> Result<Table> {
    let with = Child::sessiond(plan.workers)?;
    let without = Child::sessiond_with(plan.workers, &[("SESSIOND_SEARCH_ENABLED", "false")])?;
    let mut table = Table::new(
        "Appends of 1 KB with the search index and without",
        &[
            "in flight",
            "with/s",
            "p50",
            "p99",
            "without/s",
            "p50",
            "p99",
            "ratio",
            "caught up after",
        ],
    );
    let sides = [&with, &without];
    let mut ends = Vec::new();
    for child in sides {
        let channels = client::connect(child.address(), 4).await?;
        let sessions = client::create_sessions(&Sessions::new(channels[0].clone()), 64).await?;
        ends.push((channels, sessions));
    }
    for load in LOADS {
        let mut rates: [Vec<Rate>; 2] = [Vec::new(), Vec::new()];
        let mut lags = Vec::new();
        for repetition in 0..plan.repetitions() {
            eprintln!("search, repetition {}: {load:?}", repetition + 1);
            for (rates, (channels, sessions)) in rates.iter_mut().zip(&ends) {
                rates.push(append::rate(channels, sessions, load, plan.span()).await?);
            }
            lags.push(caught_up(&mut Sessions::new(ends[0].0[0].clone())).await?);
        }
        let [with, without] = rates;
        let (on, off) = (median_rate(&with), median_rate(&without));
        table.row(vec![
            load.in_flight.to_string(),
            count(on.per_second),
            ms(on.p50),
            ms(on.p99),
            count(off.per_second),
            ms(off.p50),
            ms(off.p99),
            ratio(median_ratio(&with, &without)),
            ms(Latencies::new(lags)?.quantile(0.5)),
        ]);
    }
    Ok(table)
}

/// Waits until the index holds what was written, and says how long that took.
pub(crate) async fn caught_up(client: &mut Sessions) -> Result<Duration> {
    let start = Instant::now();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = Timestamp {
        seconds: i64::try_from(now.as_secs())?,
        nanos: i32::try_from(now.subsec_nanos())?,
    };
    loop {
        let request = pb::SearchMessagesRequest {
            query: "nothing has this word".to_owned(),
            ..Default::default()
        };
        let answer = client.search_messages(request).await?.into_inner();
        let through = answer.indexed_through.context("how far the index is")?;
        if (through.seconds, through.nanos) >= (now.seconds, now.nanos) {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < CATCHES_UP_WITHIN, "the index does not catch up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Searches among many messages.
async fn searches(plan: Plan) -> Result<Table> {
    let server = Child::sessiond(plan.workers)?;
    let mut client = client::sessions(server.address()).await?;
    let (sessions, messages) = SEARCHED;
    let messages = if plan.quick { messages / 10 } else { messages };
    let mut last = String::new();
    let began = Instant::now();
    for _ in 0..sessions {
        last = client::filled_session(&mut client, messages).await?;
    }
    let rare = pb::Entry {
        payload: Some(pb::entry::Payload::Message(pb::Message {
            role: pb::Role::User.into(),
            content: vec![pb::ContentBlock {
                block: Some(pb::content_block::Block::Text(pb::TextBlock {
                    text: "a needle in the stack".to_owned(),
                })),
                ..Default::default()
            }],
            ..Default::default()
        })),
        ..Default::default()
    };
    client::append(&mut client, last.clone(), vec![rare]).await?;
    caught_up(&mut client).await?;
    let took = began.elapsed();
    let all = i64::try_from(sessions * messages)?;
    let title = format!(
        "Searches among {} messages of 1 KB: {} bytes of index and {} of store a message, appended and indexed in {:.1} s",
        all,
        server.index_bytes()? / all,
        server.stored_bytes()? / all,
        took.as_secs_f64(),
    );
    let mut table = Table::new(title, &["search", "p50", "p99"]);
    let query = |query: &str| pb::SearchMessagesRequest {
        query: query.to_owned(),
        ..Default::default()
    };
    let within = pb::SearchMessagesRequest {
        session_id: Some(last),
        ..query("session")
    };
    let best = pb::SearchMessagesRequest {
        order: pb::SearchOrder::Relevance.into(),
        ..query("session")
    };
    for (name, request, hits) in [
        ("a rare word", query("needle"), 1),
        ("a word nearly everywhere", query("session"), 50),
        ("three of these", query("session branch tokens"), 50),
        ("a phrase", query("\"the session\""), 50),
        ("a prefix", query("sess*"), 50),
        ("a word that is nowhere", query("absent"), 0),
        ("in one session of many", within, 50),
        ("the best of a word nearly everywhere", best, 50),
    ] {
        let client = client.clone();
        let mut lane = Searcher {
            client,
            request,
            hits,
        };
        let latencies = Latencies::new(one_by_one(&mut lane, plan.calls()).await?)?;
        table.row(vec![
            name.to_owned(),
            ms(latencies.quantile(0.5)),
            ms(latencies.quantile(0.99)),
        ]);
    }
    Ok(table)
}

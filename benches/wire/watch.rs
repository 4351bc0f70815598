//! A thousand watchers of one session: that each sees every entry once and in order, and what they take from the rate of
//! appends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use sessiond::pb::client as pb;

use crate::Plan;
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::median;
use crate::report::{Table, count, ms, ratio};

/// Watchers of one session.
const WATCHERS: usize = 1_000;

/// Entries that are appended while they watch, one a call.
const APPENDS: u64 = 10_000;

/// Appends in flight.
const IN_FLIGHT: u64 = 64;

/// Connections that streams are spread over.
const CONNECTIONS: usize = 20;

/// How long a slow watcher thinks about a response.
const SLOWNESS: Duration = Duration::from_millis(20);

/// How a watcher reads.
#[derive(Clone, Copy)]
enum Habit {
    /// As fast as it can.
    Fast,
    /// With a pause after each response.
    Slow,
    /// It goes away after some responses, and comes back with its cursor.
    Restless,
}

/// The habit of a watcher: of ten, seven are fast, two slow, one restless.
fn habit(number: usize) -> Habit {
    match number % 10 {
        0 | 1 => Habit::Slow,
        2 => Habit::Restless,
        _ => Habit::Fast,
    }
}

fn event(number: u64) -> pb::Entry {
    let event = pb::Event {
        r#type: "progress".to_owned(),
        data_json: format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(80)),
        ..Default::default()
    };
    pb::Entry {
        payload: Some(pb::entry::Payload::Event(event)),
        ..Default::default()
    }
}

/// Appends one entry a call; entries a second.
async fn append(client: &Sessions, session_id: &str) -> Result<f64> {
    let start = Instant::now();
    let lanes = (0..IN_FLIGHT).map(|lane| {
        let mut client = client.clone();
        async move {
            for number in (lane..APPENDS).step_by(usize::try_from(IN_FLIGHT)?) {
                client::append(&mut client, session_id.to_owned(), vec![event(number)]).await?;
            }
            anyhow::Ok(())
        }
    });
    try_join_all(lanes).await?;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    Ok(APPENDS as f64 / start.elapsed().as_secs_f64())
}

/// Watches until it has seen everything, and checks what it sees. How often it came back.
async fn watch(mut client: Sessions, session_id: String, number: usize) -> Result<u64> {
    let (mut seen, mut cursor, mut returns) = (0, None, 0);
    // A sequence of its own for each, the same in every run.
    let mut dice = number as u64 * 0x9e37_79b9;
    loop {
        let request = pb::WatchSessionRequest {
            session_id: session_id.clone(),
            cursor: cursor.take(),
            ..Default::default()
        };
        let mut stream = client.watch_session(request).await?.into_inner();
        loop {
            let told = stream.message().await?.context("it ended")?;
            ensure!(told.rewound_to_seq.is_none(), "nothing was rewound");
            for entry in &told.entries {
                ensure!(
                    entry.seq == seen + 1,
                    "watcher {number}: {} after {seen}",
                    entry.seq
                );
                seen = entry.seq;
            }
            cursor = Some(told.cursor);
            if seen == APPENDS {
                return Ok(returns);
            }
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match habit(number) {
                Habit::Fast => {}
                Habit::Slow => tokio::time::sleep(SLOWNESS).await,
                Habit::Restless if (dice >> 33).is_multiple_of(50) => {
                    returns += 1;
                    break;
                }
                Habit::Restless => {}
            }
        }
    }
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let server = Child::sessiond(plan.workers)?;
    let mut client = client::sessions(server.address()).await?;
    let mut watching = Vec::new();
    for channel in client::connect(server.address(), CONNECTIONS).await? {
        watching.push(Sessions::new(channel));
    }
    let mut table = Table::new(
        format!("{} appends to one session, 64 in flight", count(10_000.0)),
        &[
            "watchers",
            "appends/s",
            "ratio",
            "all had seen all after",
            "came back",
        ],
    );
    let (mut alone, mut watched, mut ratios, mut behind) = (vec![], vec![], vec![], vec![]);
    let mut returns = 0;
    for _ in 0..plan.repetitions() {
        let quiet = client::create_session(&mut client, "", "").await?;
        let before = append(&client, &quiet).await?;
        let session_id = client::create_session(&mut client, "", "").await?;
        let watchers: Vec<_> = (0..WATCHERS)
            .map(|number| {
                let client = watching[number % CONNECTIONS].clone();
                tokio::spawn(watch(client, session_id.clone(), number))
            })
            .collect();
        let during = append(&client, &session_id).await?;
        let last = Instant::now();
        returns = 0;
        for watcher in watchers {
            returns += watcher.await??;
        }
        behind.push(last.elapsed().as_secs_f64());
        alone.push(before);
        watched.push(during);
        ratios.push(during / before);
    }
    table.row(vec![
        "0".into(),
        count(median(alone)),
        ratio(1.0),
        "-".into(),
        "-".into(),
    ]);
    table.row(vec![
        count(1_000.0),
        count(median(watched)),
        ratio(median(ratios)),
        ms(Duration::from_secs_f64(median(behind))),
        format!("{returns} times"),
    ]);
    Ok(vec![table])
}

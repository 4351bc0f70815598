//! Durable AppendEntries of one 1 KB entry a call, beside the wire alone and the database alone.

use anyhow::Result;
use sessiond::pb::client as pb;
use tonic::transport::Channel;

use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::{Lane, Rate, Span, closed_loop, median_rate, median_ratio};
use crate::report::{Table, count, ms, ratio};
use crate::{Plan, rows, writer};

/// What varies between the rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Calls in flight.
    pub(crate) in_flight: usize,
    /// Connections that they share.
    pub(crate) connections: usize,
    /// Sessions that are appended to, in turn.
    pub(crate) sessions: usize,
    /// Whether every call has a request_id.
    pub(crate) request_id: bool,
}

const LOADS: [Load; 9] = [
    load(1, 1, 64, false),
    load(64, 1, 64, false),
    load(64, 4, 64, false),
    load(256, 1, 64, false),
    load(256, 4, 64, false),
    load(64, 1, 1, false),
    load(64, 4, 1, false),
    load(64, 1, 64, true),
    load(64, 4, 64, true),
];

const fn load(in_flight: usize, connections: usize, sessions: usize, request_id: bool) -> Load {
    Load {
        in_flight,
        connections,
        sessions,
        request_id,
    }
}

/// A client that appends one entry a call.
struct Appender {
    client: Sessions,
    session_id: String,
    request_id: bool,
    number: usize,
}

impl Lane for Appender {
    async fn call(&mut self) -> Result<()> {
        self.number += 1;
        let request = pb::AppendEntriesRequest {
            session_id: self.session_id.clone(),
            entries: vec![rows::entry(self.number)],
            request_id: if self.request_id {
                rows::fresh_id()
            } else {
                String::new()
            },
            ..Default::default()
        };
        self.client.append_entries(request).await?;
        Ok(())
    }
}

/// The rate of appends under `load` to these sessions, over these connections.
pub(crate) async fn rate(
    channels: &[Channel],
    session_ids: &[String],
    load: Load,
    span: Span,
) -> Result<Rate> {
    let lane = |number: usize| Appender {
        client: Sessions::new(channels[number % load.connections].clone()),
        session_id: session_ids[number % load.sessions].clone(),
        request_id: load.request_id,
        number,
    };
    closed_loop((0..load.in_flight).map(lane).collect(), span).await
}

/// Rates of one load, a repetition each.
#[derive(Default)]
struct Measured {
    server: Vec<Rate>,
    bare: Vec<Rate>,
    writer: Vec<Rate>,
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let mut measured: Vec<Measured> = LOADS.iter().map(|_| Measured::default()).collect();
    let bare = Child::bare(plan.workers)?;
    let bare_channels = client::connect(bare.address(), 4).await?;
    let server = Child::sessiond(plan.workers)?;
    let channels = client::connect(server.address(), 4).await?;
    let session_ids = client::create_sessions(&Sessions::new(channels[0].clone()), 64).await?;
    for repetition in 0..plan.repetitions() {
        for (load, measured) in LOADS.iter().zip(&mut measured) {
            eprintln!("append, repetition {}: {load:?}", repetition + 1);
            measured
                .bare
                .push(rate(&bare_channels, &session_ids, *load, plan.span()).await?);
            measured
                .writer
                .push(writer::measure(load.in_flight, load.sessions, plan.span()).await?);
            measured
                .server
                .push(rate(&channels, &session_ids, *load, plan.span()).await?);
        }
    }
    let mut table = Table::new(
        "Durable appends of 1 KB, one a call",
        &[
            "in flight",
            "connections",
            "sessions",
            "request_id",
            "appends/s",
            "p50",
            "p99",
            "bare gRPC/s",
            "ratio",
            "bare SQLite/s",
            "ratio",
        ],
    );
    for (load, measured) in LOADS.iter().zip(&measured) {
        let server = median_rate(&measured.server);
        table.row(vec![
            load.in_flight.to_string(),
            load.connections.to_string(),
            load.sessions.to_string(),
            if load.request_id { "yes" } else { "no" }.to_owned(),
            count(server.per_second),
            ms(server.p50),
            ms(server.p99),
            count(median_rate(&measured.bare).per_second),
            ratio(median_ratio(&measured.server, &measured.bare)),
            count(median_rate(&measured.writer).per_second),
            ratio(median_ratio(&measured.server, &measured.writer)),
        ]);
    }
    Ok(vec![table])
}

//! Reads through one replica and through three, beside the bare select of the same rows.

use anyhow::{Result, ensure};
use sessiond::pb::client as pb;

use super::bare::{self, Select};
use super::{MESSAGES, READING_TIME, Replicas};
use crate::Plan;
use crate::client::Sessions;
use crate::list::Getter;
use crate::load::{Lane, Rate, Span, closed_loop, median_rate, median_ratio};
use crate::report::{Table, count, ms, ratio};

/// Reads of whole sessions that are under way at once.
const READING: usize = 12;

/// The same of single sessions.
const GETTING: usize = 64;

/// Reads all messages of sessions in turn.
pub(super) struct Reader {
    pub(super) client: Sessions,
    pub(super) session_ids: Vec<String>,
    pub(super) next: usize,
}

impl Lane for Reader {
    async fn call(&mut self) -> Result<()> {
        self.next = (self.next + 1) % self.session_ids.len();
        let request = pb::ReadMessagesRequest {
            session_id: self.session_ids[self.next].clone(),
            view: pb::MessageView::Visible.into(),
            ..Default::default()
        };
        let mut stream = self.client.read_messages(request).await?.into_inner();
        let mut messages = 0;
        while let Some(chunk) = stream.message().await? {
            messages += chunk.messages.len();
        }
        ensure!(messages == MESSAGES, "{messages} messages came");
        Ok(())
    }
}

/// Reads of one kind, so many at a time.
#[derive(Clone, Copy, Debug)]
struct Case {
    select: Select,
    in_flight: usize,
}

impl Case {
    fn name(self) -> &'static str {
        match self.select {
            Select::Entries => "ReadMessages, 1,000 messages of 1 KB",
            Select::Session => "GetSession",
        }
    }

    async fn rate(self, replicas: &Replicas, span: Span) -> Result<Rate> {
        let client =
            |number: usize| Sessions::new(replicas.channels[number % replicas.channels.len()].clone());
        match self.select {
            Select::Entries => {
                let lane = |number| Reader {
                    client: client(number),
                    session_ids: vec![replicas.filled.clone()],
                    next: number,
                };
                closed_loop((0..self.in_flight).map(lane).collect(), span).await
            }
            Select::Session => {
                let lane = |number| Getter {
                    client: client(number),
                    namespace: String::new(),
                    session_ids: replicas.session_ids.clone(),
                    next: number,
                };
                closed_loop((0..self.in_flight).map(lane).collect(), span).await
            }
        }
    }

    async fn bare(self, replicas: &Replicas, span: Span) -> Result<Rate> {
        let filled = std::slice::from_ref(&replicas.filled);
        let what = match self.select {
            Select::Entries => (filled, MESSAGES),
            Select::Session => (&replicas.session_ids[..], 1),
        };
        bare::selects(replicas, self.select, what, self.in_flight, span).await
    }
}

pub(super) async fn measure(plan: Plan, one: &Replicas, three: &Replicas) -> Result<Table> {
    let case = |select, in_flight| Case { select, in_flight };
    let cases = [
        (one, case(Select::Entries, 1)),
        (one, case(Select::Entries, READING)),
        (three, case(Select::Entries, READING)),
        (one, case(Select::Session, 1)),
        (one, case(Select::Session, GETTING)),
        (three, case(Select::Session, GETTING)),
    ];
    let mut measured = cases.map(|_| (Vec::new(), Vec::new()));
    for repetition in 0..plan.repetitions() {
        for ((replicas, case), (rates, ceilings)) in cases.into_iter().zip(&mut measured) {
            let count = replicas.count();
            eprintln!(
                "postgres, repetition {}: {count} replicas, {case:?}",
                repetition + 1
            );
            ceilings.push(case.bare(replicas, READING_TIME).await?);
            rates.push(case.rate(replicas, READING_TIME).await?);
        }
    }
    let mut table = Table::new(
        "Reads on PostgreSQL",
        &[
            "call",
            "replicas",
            "in flight",
            "calls/s",
            "p50",
            "p99",
            "bare selects/s",
            "p50",
            "ratio",
        ],
    );
    for ((replicas, case), (rates, ceilings)) in cases.into_iter().zip(&measured) {
        let (rate, ceiling) = (median_rate(rates), median_rate(ceilings));
        table.row(vec![
            case.name().to_owned(),
            replicas.count().to_string(),
            case.in_flight.to_string(),
            count(rate.per_second),
            ms(rate.p50),
            ms(rate.p99),
            count(ceiling.per_second),
            ms(ceiling.p50),
            ratio(median_ratio(rates, ceilings)),
        ]);
    }
    Ok(table)
}

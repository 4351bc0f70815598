//! SaveSession of short and long threads: the first save, and saves after one more turn.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sessiond::pb::client as pb;

use crate::child::Child;
use crate::client::{self, Sessions, Threads};
use crate::fork::thousands;
use crate::load::Latencies;
use crate::report::{Table, ms};
use crate::{Plan, rows};

const LENGTHS: [usize; 2] = [1_000, 100_000];

/// Items of one turn while a thread is made long: questions and answers, each a message of its own.
const TURN_ITEMS: usize = 500;

/// Saves after one more turn, for each thread.
const SAVES: usize = 30;

/// A thread that grows.
struct Writer {
    threads: Threads,
    thread_id: String,
    messages: usize,
}

impl Writer {
    async fn new(mut threads: Threads) -> Result<Self> {
        let thread = threads
            .create_thread(pb::CreateThreadRequest::default())
            .await?
            .into_inner()
            .thread;
        Ok(Self {
            threads,
            thread_id: thread.context("a thread")?.thread_id,
            messages: 0,
        })
    }

    /// Adds a turn of so many messages.
    async fn turn(&mut self, messages: usize) -> Result<()> {
        let thread_id = self.thread_id.clone();
        let request = pb::StartTurnRequest {
            thread_id: thread_id.clone(),
            ..Default::default()
        };
        let turn = self.threads.start_turn(request).await?.into_inner().turn;
        let turn_id = turn.context("a turn")?.turn_id;
        let request = pb::AppendItemsRequest {
            thread_id: thread_id.clone(),
            turn_id: turn_id.clone(),
            items: (0..messages).map(item).collect(),
            ..Default::default()
        };
        self.threads.append_items(request).await?;
        let request = pb::FinishTurnRequest {
            thread_id,
            turn_id,
            status: pb::TurnStatus::Completed.into(),
            ..Default::default()
        };
        self.threads.finish_turn(request).await?;
        self.messages += messages;
        Ok(())
    }

    /// Saves the thread; how long that took.
    async fn save(&self, sessions: &mut Sessions) -> Result<Duration> {
        let request = pb::SaveSessionRequest {
            thread_id: self.thread_id.clone(),
            ..Default::default()
        };
        let start = Instant::now();
        let saved = sessions.save_session(request).await?.into_inner();
        let taken = start.elapsed();
        ensure!(
            saved.message_count == self.messages as u64,
            "saved {} messages",
            saved.message_count
        );
        Ok(taken)
    }
}

/// A finished question or answer.
fn item(number: usize) -> pb::Item {
    let kind = if number.is_multiple_of(2) {
        pb::ItemKind::UserMessage
    } else {
        pb::ItemKind::AgentMessage
    };
    pb::Item {
        item_id: rows::fresh_id(),
        kind: kind.into(),
        status: pb::TurnStatus::Completed.into(),
        content: vec![rows::block(number)],
        ..Default::default()
    }
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let server = Child::sessiond(plan.workers)?;
    let channel = client::connect(server.address(), 1)
        .await?
        .pop()
        .context("a connection")?;
    let mut sessions = Sessions::new(channel.clone());
    let threads = Threads::new(channel);
    let mut first = LENGTHS.map(|_| Vec::new());
    let mut later = LENGTHS.map(|_| Vec::new());
    for repetition in 0..plan.repetitions() {
        for (index, length) in LENGTHS.into_iter().enumerate() {
            eprintln!(
                "save, repetition {}: a thread of {length} messages",
                repetition + 1
            );
            let mut writer = Writer::new(threads.clone()).await?;
            while writer.messages < length {
                writer.turn(TURN_ITEMS.min(length - writer.messages)).await?;
            }
            first[index].push(writer.save(&mut sessions).await?);
            let mut saves = Vec::with_capacity(SAVES);
            for _ in 0..SAVES {
                writer.turn(2).await?;
                saves.push(writer.save(&mut sessions).await?);
            }
            later[index].push(Latencies::new(saves)?);
        }
    }
    let mut table = Table::new(
        "SaveSession of a thread of 1 KB messages, one call after another",
        &["messages", "first save", "after one more turn, median", "p99"],
    );
    for (index, length) in LENGTHS.into_iter().enumerate() {
        table.row(vec![
            thousands(length),
            ms(Latencies::new(first[index].clone())?.quantile(0.5)),
            ms(Latencies::median_of(&later[index], 0.5)),
            ms(Latencies::median_of(&later[index], 0.99)),
        ]);
    }
    Ok(vec![table])
}

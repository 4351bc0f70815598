//! ReadMessages of a long session, beside a bare stream of the same messages.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sessiond::pb::client as pb;

use crate::bare::{self, READ_MESSAGES};
use crate::child::Child;
use crate::client::{self, Sessions};
use crate::load::median;
use crate::report::{Table, count, ratio};
use crate::{Plan, rows};

/// Sessions that are written in turn.
const INTERLEAVED: usize = 40;

/// Entries that an interleaved session gets at a time: a question and its answer.
const TURN_ENTRIES: usize = 2;

/// Reads of one repetition.
const READS: usize = 8;

/// What one read took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    /// Messages a second.
    pub(crate) messages: f64,
    /// Bytes of messages a second.
    pub(crate) bytes: f64,
}

/// Reads all messages of a session once.
pub(crate) async fn read(client: &mut Sessions, session_id: &str) -> Result<Throughput> {
    let request = pb::ReadMessagesRequest {
        session_id: session_id.to_owned(),
        view: pb::MessageView::Visible.into(),
        ..Default::default()
    };
    let start = Instant::now();
    let mut stream = client.read_messages(request).await?.into_inner();
    let (mut messages, mut chunks) = (0, Vec::new());
    while let Some(chunk) = stream.message().await? {
        messages += chunk.messages.len();
        chunks.push(chunk);
    }
    let seconds = start.elapsed().as_secs_f64();
    ensure!(messages == READ_MESSAGES, "{messages} messages came");
    let bytes: usize = chunks.iter().map(bare::message_bytes).sum();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(Throughput {
        messages: messages as f64 / seconds,
        bytes: bytes as f64 / seconds,
    })
}

/// The median of some reads in turn of these sessions.
pub(crate) async fn reads(client: &mut Sessions, session_ids: &[String]) -> Result<Throughput> {
    let mut taken = Vec::new();
    for number in 0..READS {
        taken.push(read(client, &session_ids[number % session_ids.len()]).await?);
    }
    Ok(Throughput {
        messages: median(taken.iter().map(|read| read.messages)),
        bytes: median(taken.iter().map(|read| read.bytes)),
    })
}

/// Writes sessions in turn, a question and its answer a call.
async fn interleave(client: &Sessions, session_ids: &[String]) -> Result<()> {
    let turns = (0..READ_MESSAGES).step_by(TURN_ENTRIES);
    let calls = turns.flat_map(|number| session_ids.iter().map(move |session_id| (number, session_id)));
    let calls = calls.map(|(number, session_id)| {
        let mut client = client.clone();
        let entries = (number..number + TURN_ENTRIES).map(rows::entry).collect();
        async move { client::append(&mut client, session_id.clone(), entries).await }
    });
    stream::iter(calls)
        .buffer_unordered(INTERLEAVED)
        .try_collect()
        .await
}

pub(crate) async fn measure(plan: Plan) -> Result<Vec<Table>> {
    let bare = Child::bare(plan.workers)?;
    let server = Child::sessiond(plan.workers)?;
    let mut bare_client = client::sessions(bare.address()).await?;
    let mut client = client::sessions(server.address()).await?;
    eprintln!("read: writing sessions together");
    let mut together = Vec::new();
    for _ in 0..4 {
        together.push(client::filled_session(&mut client, READ_MESSAGES).await?);
    }
    eprintln!("read: writing sessions interleaved");
    let interleaved = client::create_sessions(&client, INTERLEAVED).await?;
    interleave(&client, &interleaved).await?;

    let mut measured = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..plan.repetitions() {
        measured[0].push(reads(&mut bare_client, &together).await?);
        measured[1].push(reads(&mut client, &together).await?);
        measured[2].push(reads(&mut client, &interleaved).await?);
    }
    let mut table = Table::new(
        "ReadMessages of 10,000 messages of 1 KB, one reader",
        &["source", "messages/s", "MB/s", "ratio to the bare stream"],
    );
    let sources = [
        "a bare stream",
        "a session written together",
        "one of 40 sessions written in turn",
    ];
    for (source, taken) in sources.iter().zip(&measured) {
        let ratios = taken
            .iter()
            .zip(&measured[0])
            .map(|(read, bare)| read.messages / bare.messages);
        table.row(vec![
            (*source).to_owned(),
            count(median(taken.iter().map(|read| read.messages))),
            count(median(taken.iter().map(|read| read.bytes)) / 1e6),
            ratio(median(ratios)),
        ]);
    }
    Ok(vec![table])
}

//! `append`: add a message, or whole entries, to a session.

use std::io::{self, BufRead, Read as _, Write as _};

use clap::{Args, ValueEnum};

use super::error::Error;
use super::json;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::show::count;
use super::term::{Screen, line};
use crate::client::{Client, play, request_id};
use crate::pb::client as pb;

/// Entries and bytes that are sent in one call. A call is all or nothing; several calls are not.
const BATCH_ENTRIES: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;
/// Longest text or line that is read: what a request may hold.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Add a message to a session, or entries from a file of JSON lines.
#[derive(Args, Debug)]
pub(crate) struct Append {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
    /// What is said; `-` reads it from standard input, less one line end at its end.
    #[arg(required_unless_present = "json_lines", conflicts_with = "json_lines")]
    text: Option<String>,
    /// Who says it.
    #[arg(long, short, value_enum, default_value_t = Speaker::User, conflicts_with = "json_lines")]
    role: Speaker,
    /// Read entries from standard input, one JSON object a line, in the form that --json prints.
    ///
    /// Sent in calls of at most 1000 entries, each of them all or nothing; give entries an `entry_id` to be able to
    /// send them again.
    #[arg(long)]
    json_lines: bool,
    /// The revision that the session must have.
    #[arg(long, value_name = "N")]
    expected_revision: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speaker {
    User,
    Assistant,
    System,
    Tool,
}

impl Append {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session_id = pick::session(&client, &self.session, Scope::All)
            .await?
            .session_id;
        let mut batches = Batches {
            client,
            session_id,
            expected_revision: self.expected_revision,
            answer: None,
        };
        match self.text {
            Some(text) => batches.send(vec![message(self.role.into(), text)?]).await?,
            None => batches.send_lines(io::stdin().lock()).await?,
        }
        let Some(answer) = batches.answer else {
            return Err(Error::Input("nothing came in on standard input".into()));
        };
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&answer))?);
        }
        let session = answer.session.unwrap_or_default();
        writeln!(
            screen,
            "{} added to {}, which has {} now, at revision {}  {}",
            count(answer.entries_added, "entry").replace("entrys", "entries"),
            session.session_id,
            count(session.message_count, "message"),
            session.revision,
            screen.look.dim(&line(&session.title)),
        )?;
        Ok(())
    }
}

/// Appends batch after batch, and sums the answers up.
struct Batches {
    client: Client,
    session_id: String,
    expected_revision: Option<u64>,
    answer: Option<pb::AppendEntriesResponse>,
}

impl Batches {
    async fn send_lines(&mut self, mut input: impl BufRead) -> Result<(), Error> {
        let (mut batch, mut bytes, mut text) = (Vec::new(), 0, String::new());
        for number in 1.. {
            text.clear();
            let read = (&mut input).take(INPUT_BYTES_MAX).read_line(&mut text)?;
            if read == 0 {
                break;
            }
            if text.trim().is_empty() {
                continue;
            }
            if batch.len() >= BATCH_ENTRIES || bytes + read > BATCH_BYTES && !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            let entry = json::parse(&text).map_err(|error| {
                let added = self.answer.as_ref().map_or(0, |answer| answer.entries_added);
                Error::Input(format!(
                    "line {number} is no entry: {error}; {added} were added before it"
                ))
            })?;
            batch.push(entry);
            bytes += read;
        }
        if batch.is_empty() {
            Ok(())
        } else {
            self.send(batch).await
        }
    }

    async fn send(&mut self, entries: Vec<pb::Entry>) -> Result<(), Error> {
        let request = pb::AppendEntriesRequest {
            namespace: self.client.namespace(),
            session_id: self.session_id.clone(),
            entries,
            expected_revision: self.expected_revision,
            request_id: request_id(),
        };
        let mut answer = self.client.sessions().append_entries(request).await?.into_inner();
        // What follows goes on from what was answered.
        self.expected_revision = self
            .expected_revision
            .and(answer.session.as_ref().map(|session| session.revision));
        if let Some(before) = &self.answer {
            answer.first_seq = answer.first_seq.min(before.first_seq);
            answer.last_seq = answer.last_seq.max(before.last_seq);
            answer.entries_added += before.entries_added;
        }
        self.answer = Some(answer);
        Ok(())
    }
}

impl From<Speaker> for pb::Role {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::User => Self::User,
            Speaker::Assistant => Self::Assistant,
            Speaker::System => Self::System,
            Speaker::Tool => Self::Tool,
        }
    }
}

fn message(role: pb::Role, text: String) -> Result<pb::Entry, Error> {
    let text = if text == "-" { piped()? } else { text };
    Ok(said(role, text))
}

/// An entry with a message that says `text`.
pub(crate) fn said(role: pb::Role, text: impl Into<String>) -> pb::Entry {
    let message = pb::Message {
        role: role.into(),
        content: vec![play::block(play::text(text))],
        ..Default::default()
    };
    pb::Entry {
        payload: Some(pb::entry::Payload::Message(message)),
        ..Default::default()
    }
}

fn piped() -> Result<String, Error> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text)?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

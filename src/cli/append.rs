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

const USAGE: &str = "sessiond append [OPTIONS] ID TEXT
       sessiond append [OPTIONS] --new TEXT
       sessiond append [OPTIONS] --json-lines ID";

/// Add a message to a session, or entries from JSON lines.
#[derive(Args, Debug)]
#[command(override_usage = USAGE)]
pub(crate) struct Append {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest; left out with --new.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Option<String>,
    /// What is said; `-` reads it from standard input, less one line end at its end.
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Who says it.
    #[arg(long, short, value_enum, default_value_t = Speaker::User)]
    role: Speaker,
    /// Make a new session to add it to.
    #[arg(long)]
    new: bool,
    /// Title of the new session; without it, it is named after what is said first.
    #[arg(long, short, requires = "new")]
    title: Option<String>,
    /// Workspace of the new session.
    #[arg(long, short, value_name = "PATH", requires = "new")]
    workspace: Option<String>,
    /// Read entries from standard input, one JSON object a line, in the form that --json prints.
    ///
    /// Sent in calls of at most 1000 entries, each of them all or nothing; give entries an `entry_id` to be able to
    /// send them again.
    #[arg(long, conflicts_with = "role")]
    json_lines: bool,
    /// The revision that the session must have.
    #[arg(long, value_name = "N", conflicts_with = "new")]
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
        let (pick, text) = self.words()?;
        let message = text.map(|text| message(self.role.into(), text)).transpose()?;
        let client = self.remote.connect().await?;
        let session_id = match pick {
            Some(pick) => pick::session(&client, &pick, Scope::All).await?.session_id,
            None => self.create(&client).await?,
        };
        let mut batches = Batches {
            client,
            session_id,
            expected_revision: self.expected_revision,
            answer: None,
        };
        match message {
            Some(message) => batches.send(vec![message]).await?,
            None => batches.send_lines(io::stdin().lock()).await?,
        }
        let Some(answer) = batches.answer else {
            return Err(Error::Input("nothing came in on standard input".into()));
        };
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&answer)?)?);
        }
        let session = answer.session.unwrap_or_default();
        writeln!(screen, "{}", screen.look.bold(&session.session_id))?;
        let facts = format!(
            "{} · {} added · {} now · revision {}",
            line(&session.title),
            answer.entries_added,
            count(session.message_count, "message"),
            session.revision
        );
        writeln!(screen, "{}", screen.look.dim(&facts))?;
        Ok(())
    }

    /// What the words of the command line are: a session unless there is to be a new one, a text unless entries are
    /// piped in.
    fn words(&self) -> Result<(Option<Pick>, Option<String>), Error> {
        let words: Vec<&String> = self.session.iter().chain(&self.text).collect();
        let pick = |text: &str| text.parse().map(Some).map_err(Error::Usage);
        match (self.new, self.json_lines, words.as_slice()) {
            (false, false, [id, text]) => Ok((pick(id)?, Some((*text).clone()))),
            (false, true, [id]) => Ok((pick(id)?, None)),
            (true, false, [text]) => Ok((None, Some((*text).clone()))),
            (true, true, []) => Ok((None, None)),
            _ => Err(Error::Usage(format!(
                "these words do not fit together\n\nUsage: {USAGE}"
            ))),
        }
    }

    async fn create(&self, client: &Client) -> Result<String, Error> {
        let session = pb::Session {
            title: self.title.clone().unwrap_or_default(),
            workspace: self.workspace.clone().unwrap_or_default(),
            ..Default::default()
        };
        let request = pb::CreateSessionRequest {
            namespace: client.namespace(),
            session_id: None,
            session: Some(session),
            request_id: request_id(),
        };
        let answer = client.sessions().create_session(request).await?.into_inner();
        Ok(answer.session.unwrap_or_default().session_id)
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
                let (column, reason) = (error.column(), error.to_string());
                // Where it is in the line; the parser has only seen this one.
                let reason = reason
                    .rsplit_once(" at line ")
                    .map_or(reason.as_str(), |(reason, _)| reason);
                Error::Input(format!(
                    "line {number}, column {column}: {reason}; {added} entries were added before"
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        append: Append,
    }

    fn words(line: &str) -> Result<(Option<Pick>, Option<String>), Error> {
        Line::try_parse_from(line.split(' ')).unwrap().append.words()
    }

    #[test]
    fn words_are_told_apart_by_what_is_asked() {
        let named = |id: &str| Some(Pick::Named(id.into()));
        assert_eq!(words("append s hi").unwrap(), (named("s"), Some("hi".into())));
        assert_eq!(
            words("append -1 -").unwrap(),
            (Some(Pick::Newest(1)), Some("-".into()))
        );
        assert_eq!(words("append --new hi").unwrap(), (None, Some("hi".into())));
        assert_eq!(words("append --new -").unwrap(), (None, Some("-".into())));
        assert_eq!(words("append s --json-lines").unwrap(), (named("s"), None));
        assert_eq!(words("append --new --json-lines").unwrap(), (None, None));
    }

    #[test]
    fn words_that_do_not_fit_are_a_wrong_command_line() {
        for line in [
            "append",
            "append s",
            "append --new",
            "append --new s hi",
            "append s hi --json-lines",
        ] {
            assert!(matches!(words(line), Err(Error::Usage(_))), "{line}");
        }
    }
}

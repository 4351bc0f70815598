//! `tail`: what is added to a session, as it is added.

use std::collections::VecDeque;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tonic::{Code, Streaming};

use super::entry::Log;
use super::error::Error;
use super::json;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::term::Screen;
use super::transcript::Detail;
use crate::client::{Client, Failure};
use crate::pb::client as pb;

/// How often a server that went away is called again, a second between two calls.
const CALLS_MAX: usize = 60;

/// How long after one that was not answered the next call comes.
const CALL_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Print the last entries of a session, then what is added, until it is deleted or Ctrl-C.
///
/// Messages, checkpoints and events are shown, each with its seq. A rewind is told. When the server restarts, `tail` goes
/// on where it was. With --json: an object a line, {"entry": …}, {"rewound_to_seq": N} or {"deleted": true}; some with the
/// `cursor` that --since takes.
#[derive(Args, Debug)]
pub(crate) struct Tail {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
    /// Begin after this entry, or where a cursor of --json stands.
    #[arg(long, value_name = "SEQ|CURSOR")]
    since: Option<String>,
    /// How many of the entries that are there already are printed, without --since; 0 prints none.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    last: usize,
    /// End when everything that is there has been printed.
    #[arg(long)]
    no_follow: bool,
    /// Print tool inputs and outputs whole.
    #[arg(long, short)]
    full: bool,
}

/// Where printing begins.
enum Since {
    /// With the last so many of those that are there.
    Last(usize),
    /// After this seq.
    Seq(u64),
    /// Wherever the cursor stands.
    Cursor,
}

impl Tail {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session = pick::session(&client, &self.session, Scope::All).await?;
        let (mut since, cursor) = match &self.since {
            None => (Since::Last(self.last), None),
            Some(text) => match text.parse() {
                Ok(seq) => (Since::Seq(seq), None),
                Err(_) => (Since::Cursor, Some(text.clone())),
            },
        };
        let mut watching = Watching {
            client: &client,
            session_id: session.session_id,
            cursor,
            stream: None,
        };
        let mut waiting: VecDeque<(pb::Entry, Option<String>)> = VecDeque::new();
        let mut is_live = false;
        while let Some(told) = watching.next().await? {
            let head = told.session.as_ref().map_or(0, |session| session.entry_count);
            let read = told.entries.last().map(|entry| entry.seq);
            if let Some(seq) = told.rewound_to_seq {
                // What comes in the place of what was dropped is new, too.
                if let Since::Seq(after) = &mut since {
                    *after = seq.min(*after);
                }
                waiting.retain(|(entry, _)| entry.seq <= seq);
                self.rewound(screen, seq, &told.cursor)?;
            }
            for entry in told.entries {
                // The cursor stands behind the last entry of a response.
                let cursor = Some(told.cursor.clone()).filter(|_| read == Some(entry.seq));
                match since {
                    Since::Seq(seq) if entry.seq <= seq => {}
                    Since::Last(last) if !is_live => {
                        waiting.push_back((entry, cursor));
                        if waiting.len() > last {
                            waiting.pop_front();
                        }
                    }
                    Since::Seq(_) | Since::Cursor | Since::Last(_) => self.entry(screen, &entry, cursor)?,
                }
            }
            is_live |= read.is_none_or(|read| read >= head);
            if is_live {
                for (entry, cursor) in waiting.drain(..) {
                    self.entry(screen, &entry, cursor)?;
                }
            }
            if told.deleted {
                self.deleted(screen, &told.cursor)?;
            }
            screen.flush()?;
            if is_live && self.no_follow {
                break;
            }
        }
        Ok(())
    }

    fn entry(&self, screen: &mut Screen, entry: &pb::Entry, cursor: Option<String>) -> Result<(), Error> {
        if self.remote.json {
            let mut told = json!({"entry": json::value(entry)?});
            if let Some(cursor) = cursor {
                told["cursor"] = cursor.into();
            }
            return Ok(json::print(screen, &told)?);
        }
        Ok(Log::new(screen.look, Detail::asked(self.full)).entry(screen, entry)?)
    }

    fn rewound(&self, screen: &mut Screen, seq: u64, cursor: &str) -> Result<(), Error> {
        if self.remote.json {
            let told = json!({"rewound_to_seq": seq, "cursor": cursor});
            return Ok(json::print(screen, &told)?);
        }
        let note = format!("rewound to {seq}: what came after it is gone");
        Ok(writeln!(screen, "{}\n", screen.look.bold(&note))?)
    }

    fn deleted(&self, screen: &mut Screen, cursor: &str) -> Result<(), Error> {
        if self.remote.json {
            return Ok(json::print(screen, &json!({"deleted": true, "cursor": cursor}))?);
        }
        Ok(writeln!(
            screen,
            "{}",
            screen.look.bold("the session was deleted")
        )?)
    }
}

/// A watch that is taken up again when the server goes away.
struct Watching<'a> {
    client: &'a Client,
    session_id: String,
    cursor: Option<String>,
    stream: Option<Streaming<pb::WatchSessionResponse>>,
}

impl Watching<'_> {
    async fn next(&mut self) -> Result<Option<pb::WatchSessionResponse>, Error> {
        let mut calls = 0;
        loop {
            match self.try_next().await {
                Ok(told) => {
                    if let Some(told) = &told {
                        self.cursor = Some(told.cursor.clone());
                    }
                    return Ok(told);
                }
                // What was never begun is no interruption.
                Err(status) if may_come_back(&status) && self.cursor.is_some() => {
                    calls += 1;
                    if calls > CALLS_MAX {
                        return Err(Failure::from(status).into());
                    }
                    self.stream = None;
                    tokio::time::sleep(CALL_AGAIN_AFTER).await;
                }
                Err(status) => return Err(Failure::from(status).into()),
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<pb::WatchSessionResponse>, tonic::Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let request = pb::WatchSessionRequest {
                    namespace: self.client.namespace(),
                    session_id: self.session_id.clone(),
                    cursor: self.cursor.clone(),
                };
                let stream = self.client.sessions().watch_session(request).await?.into_inner();
                self.stream.insert(stream)
            }
        };
        stream.message().await
    }
}

/// Whether a stream ended because of the way to the server, and not because of what it was asked.
fn may_come_back(status: &tonic::Status) -> bool {
    // A connection that breaks in the middle is told as any of these.
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
    )
}

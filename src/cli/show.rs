//! `show`: one conversation, for reading.

use std::collections::VecDeque;
use std::io::Write as _;

use clap::Args;

use super::error::Error;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::term::{Screen, line};
use super::transcript::{Detail, Transcript};
use super::{json, message, sessions, when};
use crate::client::Client;
use crate::pb::client::{self as pb, MessageView};

/// Print a conversation.
///
/// A user message is numbered as `fork --before` counts, from 0. With --json: one object, `session` and `messages`.
#[derive(Args, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
    /// Print what a model is sent: the newest checkpoint and what came after it.
    #[arg(long, short)]
    context: bool,
    /// Only the last N messages.
    #[arg(long, short = 'n', value_name = "N")]
    last: Option<usize>,
    /// Print tool inputs and outputs whole.
    #[arg(long, short)]
    full: bool,
    /// A past revision to print instead of the present one, as `log` lists them.
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
}

/// A message, and its number among the user messages if it is one.
type Numbered = (Option<u64>, pb::Message);

impl Show {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let mut session = pick::session(&client, &self.session, Scope::All).await?;
        if self.revision.is_some() {
            let request = pb::GetSessionRequest {
                namespace: client.namespace(),
                session_id: session.session_id,
                revision: self.revision,
            };
            let answer = client.sessions().get_session(request).await?.into_inner();
            session = answer.session.unwrap_or_default();
        }
        let printer = Transcript::new(screen.look, Detail::asked(self.full));
        let view = if self.context {
            MessageView::Context
        } else {
            MessageView::Visible
        };
        let mut reading = Reading::open(&client, &session.session_id, view, self.revision).await?;
        self.head(screen, &session)?;
        let mut first = true;
        let mut print = |screen: &mut Screen, (number, message): Numbered| -> Result<(), Error> {
            if self.remote.json {
                write!(screen, "{}", if first { "\n" } else { ",\n" })?;
                json::write(screen, &json::value(&message)?)?;
            } else {
                let note = number.map(|number| format!("#{number}")).unwrap_or_default();
                printer.message(screen, &message, &note)?;
            }
            first = false;
            Ok(())
        };
        let mut waiting = VecDeque::new();
        while let Some(message) = reading.next().await? {
            match self.last {
                None => print(screen, message)?,
                Some(last) => {
                    waiting.push_back(message);
                    if waiting.len() > last {
                        waiting.pop_front();
                    }
                }
            }
        }
        waiting
            .into_iter()
            .try_for_each(|message| print(screen, message))?;
        if self.remote.json {
            writeln!(screen, "\n]}}")?;
        }
        Ok(())
    }

    fn head(&self, screen: &mut Screen, session: &pb::Session) -> Result<(), Error> {
        if self.remote.json {
            write!(screen, "{{\"session\":")?;
            json::write(screen, &json::value(session)?)?;
            return Ok(write!(screen, ",\"messages\":[")?);
        }
        let look = screen.look;
        let title = if session.title.is_empty() {
            "(no title)".to_owned()
        } else {
            line(&session.title)
        };
        writeln!(screen, "{}", look.bold(&title))?;
        let mut facts = vec![
            session.session_id.clone(),
            line(&session.model),
            line(&session.workspace),
            count(session.message_count, "message"),
            format!("revision {}", session.revision),
            when::ago(when::now(), session.update_time.as_ref()),
            sessions::state(session).to_owned(),
        ];
        if let Some(origin) = &session.origin {
            facts.push(format!(
                "a fork of {} after {}",
                origin.session_id,
                count(origin.message_count, "message")
            ));
        }
        facts.retain(|fact| !fact.is_empty());
        writeln!(screen, "{}\n", look.dim(&facts.join(" · ")))?;
        Ok(())
    }
}

/// The messages of a session as they stream in.
pub(crate) struct Reading {
    stream: tonic::Streaming<pb::ReadMessagesResponse>,
    ready: std::vec::IntoIter<pb::Message>,
    /// User messages so far; nothing is counted in the context view, where a fork has other numbers.
    users: Option<u64>,
}

impl Reading {
    /// Opens a view.
    pub(crate) async fn open(
        client: &Client,
        session_id: &str,
        view: MessageView,
        revision: Option<u64>,
    ) -> Result<Self, Error> {
        let request = pb::ReadMessagesRequest {
            namespace: client.namespace(),
            session_id: session_id.to_owned(),
            view: view.into(),
            revision,
            ..Default::default()
        };
        let stream = client.sessions().read_messages(request).await?.into_inner();
        let users = match view {
            MessageView::Unspecified | MessageView::Visible => Some(0),
            MessageView::Context => None,
        };
        Ok(Self {
            stream,
            ready: Vec::new().into_iter(),
            users,
        })
    }

    /// The next message, with its number if it is a user message.
    pub(crate) async fn next(&mut self) -> Result<Option<Numbered>, Error> {
        loop {
            if let Some(message) = self.ready.next() {
                let number = self.users.filter(|_| message::is_user(&message));
                self.users = self.users.map(|users| users + u64::from(number.is_some()));
                return Ok(Some((number, message)));
            }
            match self.stream.message().await? {
                Some(answer) => self.ready = answer.messages.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// All messages that are left.
    pub(crate) async fn all(mut self) -> Result<Vec<pb::Message>, Error> {
        let mut messages = Vec::new();
        while let Some((_, message)) = self.next().await? {
            messages.push(message);
        }
        Ok(messages)
    }
}

/// A number and what it counts.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

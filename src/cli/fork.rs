//! `fork`: a new session on the history of another.

use std::io::Write as _;

use clap::Args;

use super::error::Error;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::show::count;
use super::term::{Screen, clean, line};
use super::{json, message};
use crate::client::request_id;
use crate::pb::client::{self as pb, fork_session_request::Point};

/// Open a new session on the history of another, to ask something else from there.
///
/// Prints the id of the fork on the first line, then the message that was cut, to be edited and asked again.
#[derive(Args, Debug)]
pub(crate) struct Fork {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
    #[command(flatten)]
    point: PointArgs,
    /// Title of the fork; without it the parent's title gets the next number.
    #[arg(long, short)]
    title: Option<String>,
    /// Id of the fork; made up when it is not given.
    #[arg(long, value_name = "ID")]
    new_id: Option<String>,
    /// A past revision to fork instead of the present one.
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct PointArgs {
    /// Cut before this user message, counted from 0 as `show` numbers them.
    #[arg(long, short, value_name = "N", allow_negative_numbers = true)]
    before: Option<i64>,
    /// Cut before the user message with this id.
    #[arg(long, value_name = "MESSAGE_ID")]
    before_message: Option<String>,
    /// Cut after the assistant message with this id, keeping it.
    #[arg(long, value_name = "MESSAGE_ID")]
    through: Option<String>,
    /// Cut before this user message, counted from the end: 0 is the last one.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    turns_from_end: Option<i64>,
}

impl PointArgs {
    fn point(self) -> Option<Point> {
        let before = self.before.map(Point::UserMessageIndex);
        let from_end = self.turns_from_end.map(Point::TurnsFromEnd);
        let message = self.before_message.map(Point::BeforeMessageId);
        before
            .or(from_end)
            .or(message)
            .or(self.through.map(Point::ThroughMessageId))
    }
}

impl Fork {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let parent = pick::session(&client, &self.session, Scope::All).await?;
        let request = pb::ForkSessionRequest {
            namespace: client.namespace(),
            session_id: parent.session_id,
            point: self.point.point(),
            revision: self.revision,
            title: self.title,
            new_session_id: self.new_id,
            request_id: request_id(),
        };
        let answer = client.sessions().fork_session(request).await?.into_inner();
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&answer)?)?);
        }
        let (look, fork) = (screen.look, answer.session.unwrap_or_default());
        writeln!(screen, "{}", look.bold(&fork.session_id))?;
        let facts = format!(
            "{} · {} of {}",
            line(&fork.title),
            count(fork.message_count, "message"),
            parent.message_count
        );
        writeln!(screen, "{}", look.dim(&facts))?;
        if let Some(removed) = answer.removed_message {
            writeln!(
                screen,
                "\n{}",
                look.dim("the message that was cut, to edit and ask again:")
            )?;
            writeln!(screen, "{}", clean(&message::text(&removed)))?;
        }
        Ok(())
    }
}

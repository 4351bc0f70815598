//! `save`: make a session of a thread.

use std::io::Write as _;

use clap::Args;

use super::error::Error;
use super::json;
use super::pick::{self, Pick};
use super::remote::Remote;
use super::show::count;
use super::term::{Screen, line};
use crate::client::request_id;
use crate::pb::client as pb;

/// Save a thread as a session; saved again, the same session gets what came since.
#[derive(Args, Debug)]
pub(crate) struct Save {
    #[command(flatten)]
    remote: Remote,
    /// The thread: its id, the beginning of it, or -1 for the one changed last.
    #[arg(value_name = "THREAD", allow_negative_numbers = true)]
    thread: Pick,
    /// Title of the session; on a later save it renames.
    #[arg(long, short)]
    title: Option<String>,
    /// Id of the session to save to, instead of the thread's own.
    #[arg(long, value_name = "ID")]
    to: Option<String>,
}

impl Save {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let thread = pick::thread(&client, &self.thread).await?;
        let request = pb::SaveSessionRequest {
            namespace: client.namespace(),
            thread_id: thread.thread_id,
            title: self.title,
            session_id: self.to,
            expected_revision: None,
            request_id: request_id(),
        };
        let answer = client.sessions().save_session(request).await?.into_inner();
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&answer)?)?);
        }
        let look = screen.look;
        let session = answer.session.unwrap_or_default();
        writeln!(screen, "{}", look.bold(&session.session_id))?;
        let facts = format!(
            "{} · {} · revision {} · {}",
            line(&session.title),
            count(answer.message_count, "message"),
            session.revision,
            if answer.created {
                "a new session"
            } else {
                "the session that was there"
            }
        );
        writeln!(screen, "{}", look.dim(&facts))?;
        Ok(())
    }
}

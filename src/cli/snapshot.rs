//! `snapshot`: ask the live engine what it holds of a thread, and save that.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;

use super::error::Error;
use super::json;
use super::pick::{self, Pick};
use super::remote::Remote;
use super::show::count;
use super::term::{Screen, line};
use crate::client::request_id;
use crate::pb::client as pb;

/// Save what the live engine itself holds of a thread.
#[derive(Args, Debug)]
pub(crate) struct Snapshot {
    #[command(flatten)]
    remote: Remote,
    /// The thread: its id, the beginning of it, or -1 for the one changed last; without it, the attached one that
    /// changed last.
    #[arg(value_name = "THREAD", allow_negative_numbers = true)]
    thread: Option<Pick>,
    /// Take it at once, in the middle of a turn if need be, instead of between two turns.
    #[arg(long, short)]
    now: bool,
    /// Title of the session; on a later snapshot it renames.
    #[arg(long, short)]
    title: Option<String>,
    /// Id of the session to save to, instead of the thread's own.
    #[arg(long, value_name = "ID")]
    to: Option<String>,
    /// Seconds to wait for the engine.
    #[arg(long, value_name = "S", default_value_t = 30)]
    wait: u32,
}

impl Snapshot {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let thread = match &self.thread {
            Some(thread) => Some(pick::thread(&client, thread).await?.thread_id),
            None => None,
        };
        let consistency = if self.now {
            pb::SnapshotConsistency::Immediate
        } else {
            pb::SnapshotConsistency::TurnBoundary
        };
        let mut request = tonic::Request::new(pb::SnapshotFromEngineRequest {
            namespace: client.namespace(),
            thread_id: thread,
            session_id: self.to,
            title: self.title,
            consistency: consistency.into(),
            expected_revision: None,
            request_id: request_id(),
        });
        request.set_timeout(Duration::from_secs(u64::from(self.wait.max(1))));
        let answer = client
            .sessions()
            .snapshot_from_engine(request)
            .await?
            .into_inner();
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&answer)?)?);
        }
        let look = screen.look;
        let session = answer.session.unwrap_or_default();
        writeln!(screen, "{}", look.bold(&session.session_id))?;
        let mut facts = vec![
            line(&session.title),
            count(answer.message_count, "message"),
            format!("revision {}", session.revision),
            if answer.created {
                "a new session".to_owned()
            } else {
                "the session that was there".to_owned()
            },
        ];
        if answer.delta {
            facts.push("the engine sent what was new".to_owned());
        }
        if session.incomplete_turn {
            facts.push("in the middle of a turn".to_owned());
        }
        writeln!(screen, "{}", look.dim(&facts.join(" · ")))?;
        Ok(())
    }
}

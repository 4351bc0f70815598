//! `rm` and `restore`: delete a session, and bring it back.

use std::io::{self, BufRead as _, Write as _};

use clap::Args;

use super::error::Error;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::show::count;
use super::term::{self, Screen, line};
use super::{json, when};
use crate::client::request_id;
use crate::pb::client as pb;

/// Delete a session and its sub-sessions; `restore` brings them back for 30 days. Forks are never touched.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
    /// Delete it for good, at once.
    #[arg(long, short)]
    force: bool,
    /// Do not ask before it is gone for good.
    #[arg(long, short)]
    yes: bool,
}

/// Bring a deleted session back, with the sub-sessions that went with it.
#[derive(Args, Debug)]
pub(crate) struct Restore {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the deleted one that changed last.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
}

impl Rm {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let scope = if self.force { Scope::All } else { Scope::Living };
        let session = pick::session(&client, &self.session, scope).await?;
        if self.force && !self.yes && term::is_interactive() && !confirmed(&session)? {
            return Err(Error::Declined);
        }
        let request = pb::DeleteSessionRequest {
            namespace: client.namespace(),
            session_id: session.session_id,
            force: self.force,
            etag: None,
            request_id: request_id(),
        };
        let session = client
            .sessions()
            .delete_session(request)
            .await?
            .into_inner()
            .session
            .unwrap_or_default();
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&session)?)?);
        }
        if self.force {
            writeln!(screen, "{} is gone", named(&session))?;
        } else {
            let until = when::exact(session.purge_time.as_ref());
            writeln!(screen, "{} is deleted", named(&session))?;
            let note = format!(
                "`sessiond restore {}` brings it back until {until}",
                session.session_id
            );
            writeln!(screen, "{}", screen.look.dim(&note))?;
        }
        Ok(())
    }
}

impl Restore {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session = pick::session(&client, &self.session, Scope::Deleted).await?;
        let request = pb::UndeleteSessionRequest {
            namespace: client.namespace(),
            session_id: session.session_id,
            request_id: request_id(),
        };
        let session = client
            .sessions()
            .undelete_session(request)
            .await?
            .into_inner()
            .session
            .unwrap_or_default();
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&session)?)?);
        }
        writeln!(screen, "{} is back", named(&session))?;
        Ok(())
    }
}

fn named(session: &pb::Session) -> String {
    match line(&session.title).as_str() {
        "" => session.session_id.clone(),
        title => format!("{} “{title}”", session.session_id),
    }
}

/// Asks on standard error, so that a pipe holds only what was asked for.
fn confirmed(session: &pb::Session) -> Result<bool, Error> {
    let mut ask = io::stderr().lock();
    write!(
        ask,
        "delete {} with its {} for good? [y/N] ",
        named(session),
        count(session.message_count, "message")
    )?;
    ask.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

//! `rewind` and `log`: take a session back, and list what it was.

use std::io::Write as _;

use clap::Args;

use super::error::Error;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::show::count;
use super::table::{self, Column};
use super::term::Screen;
use super::{json, when};
use crate::client::{Client, request_id};
use crate::pb::client::{self as pb, rewind_session_request::To};

/// Pages of revisions that are asked for at most.
const PAGES_MAX: usize = 1_000;

/// Drop the last entries of a session, or undo that. What is dropped can be brought back for 30 days.
#[derive(Args, Debug)]
pub(crate) struct Rewind {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Place {
    /// Drop the last N entries.
    #[arg(long, value_name = "N")]
    drop: Option<i64>,
    /// Keep everything up to and with this entry; 0 keeps nothing.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Return to this past revision, as `log` lists them.
    #[arg(long, value_name = "N")]
    to_revision: Option<u64>,
}

/// List the revisions of a session that can be read: the present one, then those it has left.
#[derive(Args, Debug)]
pub(crate) struct Log {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
}

impl Rewind {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session = pick::session(&client, &self.session, Scope::Living).await?;
        let Place {
            drop,
            to,
            to_revision,
        } = self.place;
        let to = drop
            .map(To::DropLast)
            .or(to.map(To::ToSeq))
            .or(to_revision.map(To::ToRevision));
        let request = pb::RewindSessionRequest {
            namespace: client.namespace(),
            session_id: session.session_id.clone(),
            to,
            expected_revision: Some(session.revision),
            request_id: request_id(),
        };
        let answer = client.sessions().rewind_session(request).await?.into_inner();
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&answer)?)?);
        }
        let after = answer.session.unwrap_or_default();
        writeln!(
            screen,
            "{} has {} now, at revision {}",
            after.session_id,
            entries(after.entry_count),
            after.revision
        )?;
        if after.revision != session.revision {
            let note = format!(
                "{} dropped · `sessiond rewind {} --to-revision {}` brings them back",
                entries(answer.removed_count),
                after.session_id,
                session.revision
            );
            writeln!(screen, "{}", screen.look.dim(&note))?;
        }
        Ok(())
    }
}

impl Log {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session = pick::session(&client, &self.session, Scope::All).await?;
        let revisions = revisions(&client, &session.session_id).await?;
        if self.remote.json {
            return Ok(json::print(screen, &json::values(&revisions)?)?);
        }
        let columns = [
            Column::Number("REVISION"),
            Column::Number("ENTRIES"),
            Column::Number("MESSAGES"),
            Column::Text("LEFT"),
        ];
        let (look, now) = (screen.look, when::now());
        let present = [
            session.revision.to_string(),
            session.entry_count.to_string(),
            session.message_count.to_string(),
            "it is here".to_owned(),
        ];
        let past = revisions.iter().map(|revision| {
            vec![
                revision.revision.to_string(),
                revision.entry_count.to_string(),
                revision.message_count.to_string(),
                when::ago(now, revision.create_time.as_ref()),
            ]
        });
        let rows: Vec<Vec<String>> = std::iter::once(present.to_vec()).chain(past).collect();
        Ok(table::print(screen, look, &columns, &rows)?)
    }
}

async fn revisions(client: &Client, session_id: &str) -> Result<Vec<pb::SessionRevision>, Error> {
    let mut request = pb::ListRevisionsRequest {
        namespace: client.namespace(),
        session_id: session_id.to_owned(),
        page_size: 500,
        page_token: String::new(),
    };
    let mut revisions = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = client
            .sessions()
            .list_revisions(request.clone())
            .await?
            .into_inner();
        revisions.extend(page.revisions);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(revisions)
}

/// A number of entries.
pub(crate) fn entries(number: u64) -> String {
    match number {
        1 => "1 entry".to_owned(),
        number => format!("{number} entries"),
    }
}

/// What of a fork or a part is said beside its title.
pub(crate) fn relation(origin: Option<&pb::Origin>, parent: &str) -> String {
    match origin {
        Some(origin) => format!("a fork after {}", count(origin.message_count, "message")),
        None if parent.is_empty() => String::new(),
        None => "a sub-session".to_owned(),
    }
}

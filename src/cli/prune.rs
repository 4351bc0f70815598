//! `prune`: archive or delete sessions that are old, or many.

use std::io::{self, BufRead as _, Write as _};

use clap::Args;

use super::error::Error;
use super::remote::Remote;
use super::show::count;
use super::term::{self, Screen};
use super::{json, when};
use crate::client::{Client, request_id};
use crate::pb::client as pb;

/// Ids that are shown before a person is asked.
const SHOWN_MAX: usize = 20;

/// Archive sessions that are old, or all but the newest of each workspace; with --delete, delete them.
///
/// With both --older-than and --keep, both must hold. Starred and archived sessions stay unless included, and so do
/// those that are in use. Deleted sessions can be restored until they are purged.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").args(["older_than", "keep"]).required(true).multiple(true))]
pub(crate) struct Prune {
    #[command(flatten)]
    remote: Remote,
    /// Those that were last updated longer ago: 90s, 45m, 12h, 30d, 8w.
    #[arg(long, value_name = "TIME", value_parser = when::span)]
    older_than: Option<prost_types::Duration>,
    /// All but this many of each workspace, the ones updated last; those in which no user has spoken are left alone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    keep: Option<i64>,
    /// Archive them; that is the default.
    #[arg(long, conflicts_with = "delete")]
    archive: bool,
    /// Delete them, with their sub-sessions.
    #[arg(long)]
    delete: bool,
    /// Starred ones too.
    #[arg(long)]
    include_starred: bool,
    /// Archived ones too.
    #[arg(long)]
    include_archived: bool,
    /// Only tell what would be done.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Do not ask before it is done.
    #[arg(long, short)]
    yes: bool,
}

impl Prune {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        if !self.dry_run && !self.yes && term::is_interactive() {
            let found = prune(&client, self.request(&client, true)).await?;
            if found.count > 0 && !self.confirmed(&found)? {
                return Err(Error::Declined);
            }
        }
        let pruned = prune(&client, self.request(&client, self.dry_run)).await?;
        if self.remote.json {
            return Ok(json::print(screen, &json::value(&pruned)?)?);
        }
        for id in &pruned.session_ids {
            writeln!(screen, "{id}")?;
        }
        let said = format!("{} {}", count(pruned.count, "session"), self.said());
        writeln!(screen, "{}", screen.look.dim(&said))?;
        Ok(())
    }

    fn request(&self, client: &Client, dry_run: bool) -> pb::PruneSessionsRequest {
        let action = if self.delete {
            pb::PruneAction::Delete
        } else {
            pb::PruneAction::Archive
        };
        pb::PruneSessionsRequest {
            namespace: client.namespace(),
            older_than: self.older_than,
            keep_per_workspace: self.keep,
            action: action.into(),
            include_starred: self.include_starred,
            include_archived: self.include_archived,
            dry_run,
            request_id: if dry_run { String::new() } else { request_id() },
        }
    }

    fn said(&self) -> &'static str {
        match (self.dry_run, self.delete) {
            (true, true) => "would be deleted",
            (true, false) => "would be archived",
            (false, true) => "deleted",
            (false, false) => "archived",
        }
    }

    /// Asks on standard error, so that a pipe holds only what was asked for.
    fn confirmed(&self, found: &pb::PruneSessionsResponse) -> Result<bool, Error> {
        let mut ask = io::stderr().lock();
        for id in found.session_ids.iter().take(SHOWN_MAX) {
            writeln!(ask, "{id}")?;
        }
        let more = found.count.saturating_sub(SHOWN_MAX as u64);
        if more > 0 {
            writeln!(ask, "and {more} more")?;
        }
        let verb = if self.delete { "delete" } else { "archive" };
        write!(ask, "{verb} {}? [y/N] ", count(found.count, "session"))?;
        ask.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

async fn prune(
    client: &Client,
    request: pb::PruneSessionsRequest,
) -> Result<pb::PruneSessionsResponse, Error> {
    Ok(client.sessions().prune_sessions(request).await?.into_inner())
}

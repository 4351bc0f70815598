//! `diff`: what two sessions share, and what each has of its own.

use std::collections::VecDeque;
use std::io::Write as _;

use clap::Args;
use serde_json::json;

use super::entry::Log;
use super::error::Error;
use super::history::entries;
use super::json;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::term::{Screen, line};
use super::transcript::Detail;
use crate::client::Client;
use crate::pb::client::{self as pb};

/// Compare two sessions: how much they share, then what each has of its own.
///
/// Entries are the same when their ids and contents are, and everything before them is. Exit code 0 in any case.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    #[command(flatten)]
    remote: Remote,
    /// A session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "A", allow_negative_numbers = true)]
    a: Pick,
    /// Another session.
    #[arg(value_name = "B", allow_negative_numbers = true)]
    b: Pick,
    /// Print tool inputs and outputs whole.
    #[arg(long, short)]
    full: bool,
}

impl Diff {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let a = pick::session(&client, &self.a, Scope::All).await?;
        let b = pick::session(&client, &self.b, Scope::All).await?;
        let (mut of_a, mut of_b) = (Entries::of(&client, &a), Entries::of(&client, &b));
        let mut common = 0_u64;
        while let (Some(x), Some(y)) = (of_a.peek().await?, of_b.peek().await?) {
            if !is_same(x, y) {
                break;
            }
            of_a.next().await?;
            of_b.next().await?;
            common += 1;
        }
        if self.remote.json {
            let (a, b) = (of_a.rest().await?, of_b.rest().await?);
            let (a, b) = (json::values(&a)?, json::values(&b)?);
            return Ok(json::print(screen, &json!({"common": common, "a": a, "b": b}))?);
        }
        let look = screen.look;
        writeln!(screen, "{}", look.bold(&format!("{} in common", entries(common))))?;
        let log = Log::new(look, Detail::asked(self.full));
        for (session, mut own) in [(a, of_a), (b, of_b)] {
            let count = entries(session.entry_count - common);
            let title = line(&session.title);
            writeln!(
                screen,
                "\n{} {title}: {count} of its own\n",
                look.bold(&session.session_id)
            )?;
            while let Some(entry) = own.next().await? {
                log.entry(screen, &entry)?;
            }
        }
        Ok(())
    }
}

fn is_same(a: &pb::Entry, b: &pb::Entry) -> bool {
    a.entry_id == b.entry_id && a.payload == b.payload
}

/// The entries of a session, read page by page.
struct Entries<'a> {
    client: &'a Client,
    request: pb::ListEntriesRequest,
    ready: VecDeque<pb::Entry>,
    has_more: bool,
}

impl<'a> Entries<'a> {
    fn of(client: &'a Client, session: &pb::Session) -> Self {
        let request = pb::ListEntriesRequest {
            namespace: client.namespace(),
            session_id: session.session_id.clone(),
            page_size: 500,
            ..Default::default()
        };
        Self {
            client,
            request,
            ready: VecDeque::new(),
            has_more: true,
        }
    }

    async fn peek(&mut self) -> Result<Option<&pb::Entry>, Error> {
        while self.ready.is_empty() && self.has_more {
            let request = self.request.clone();
            let page = self.client.sessions().list_entries(request).await?.into_inner();
            self.ready.extend(page.entries);
            self.has_more = !page.next_page_token.is_empty();
            self.request.page_token = page.next_page_token;
        }
        Ok(self.ready.front())
    }

    async fn next(&mut self) -> Result<Option<pb::Entry>, Error> {
        self.peek().await?;
        Ok(self.ready.pop_front())
    }

    async fn rest(&mut self) -> Result<Vec<pb::Entry>, Error> {
        let mut rest = Vec::new();
        while let Some(entry) = self.next().await? {
            rest.push(entry);
        }
        Ok(rest)
    }
}

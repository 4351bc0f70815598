//! `ls`: the list of sessions, and the paging that other commands list with.

use std::collections::BTreeMap;
use std::io::Write as _;

use clap::{Args, ValueEnum};

use super::error::Error;
use super::pick::Scope;
use super::remote::Remote;
use super::table::{self, Column};
use super::term::Screen;
use super::{json, when};
use crate::client::Client;
use crate::pb::client::{self as pb, SessionState};

/// Rows of a page that is asked for; the service takes no more.
const PAGE_ROWS: usize = 500;
/// Pages asked for at most: filters may leave pages short, or empty.
const PAGES_MAX: usize = 10_000;
/// Characters of an id that are shown at least.
const SHORT_ID_MIN: usize = 8;

/// List sessions, the one changed last first.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[command(flatten)]
    remote: Remote,
    /// Only those of this workspace; empty means those without one.
    #[arg(long, short, value_name = "PATH")]
    workspace: Option<String>,
    /// Only those with this label; given more than once, all must be there.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Only those whose title holds this text, in any case.
    #[arg(long, short, value_name = "TEXT")]
    title: Option<String>,
    /// Only archived ones.
    #[arg(long)]
    archived: bool,
    /// Only deleted ones, which `restore` brings back.
    #[arg(long)]
    deleted: bool,
    /// Archived and deleted ones too.
    #[arg(long, short, conflicts_with_all = ["archived", "deleted"])]
    all: bool,
    /// Only starred ones.
    #[arg(long)]
    starred: bool,
    /// Only the sub-sessions of the session with this id.
    #[arg(long, value_name = "ID", conflicts_with = "roots")]
    parent: Option<String>,
    /// Only those that are no sub-session of another.
    #[arg(long)]
    roots: bool,
    /// What to sort by.
    #[arg(long, short, value_enum, default_value_t = Sort::Updated)]
    sort: Sort,
    /// Sort the other way round.
    #[arg(long, short)]
    reverse: bool,
    /// Most sessions to list; 0 lists all.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    /// When they last changed, newest first.
    Updated,
    /// When they were made, newest first.
    Created,
    /// Their titles.
    Title,
}

impl Ls {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let as_json = self.remote.json;
        let (sessions, more) = list(&client, self.request(), limit).await?;
        if as_json {
            json::print(screen, &json::values(&sessions)?)?;
        } else if sessions.is_empty() {
            writeln!(screen, "no sessions")?;
        } else {
            print(screen, &sessions)?;
            if more {
                let note = format!("{limit} shown, there are more: --limit 0 lists all");
                writeln!(screen, "{}", screen.look.dim(&note))?;
            }
        }
        Ok(())
    }

    fn request(self) -> pb::ListSessionsRequest {
        let states = match (self.all, self.archived, self.deleted) {
            (true, _, _) => Scope::All.states(),
            (false, true, true) => vec![SessionState::Archived.into(), SessionState::Deleted.into()],
            (false, true, false) => vec![SessionState::Archived.into()],
            (false, false, true) => Scope::Deleted.states(),
            (false, false, false) => Vec::new(),
        };
        pb::ListSessionsRequest {
            workspace: self.workspace,
            labels: self.label.into_iter().collect::<BTreeMap<_, _>>(),
            title_contains: self.title,
            states,
            starred: self.starred.then_some(true),
            parent_session_id: self.parent.or(self.roots.then(String::new)),
            order_by: Some(self.sort.order(self.reverse)),
            ..Default::default()
        }
    }
}

impl Sort {
    fn order(self, reverse: bool) -> String {
        let (field, descends) = match self {
            Self::Updated => ("update_time", true),
            Self::Created => ("create_time", true),
            Self::Title => ("title", false),
        };
        if descends == reverse {
            field.to_owned()
        } else {
            format!("{field} desc")
        }
    }
}

pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("want KEY=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// Prints sessions as a table.
pub(crate) fn print(screen: &mut Screen, sessions: &[pb::Session]) -> Result<(), Error> {
    let columns = [
        Column::Text("ID"),
        Column::Text("UPDATED"),
        Column::Number("MESSAGES"),
        Column::Text("MODEL"),
        Column::Text("WORKSPACE"),
        Column::Text("STATE"),
        Column::Text("PART OF"),
        Column::Text("TITLE"),
    ];
    let (look, now) = (screen.look, when::now());
    let ids: Vec<&str> = sessions
        .iter()
        .map(|session| session.session_id.as_str())
        .collect();
    let ids = if look.width.is_some() { short(&ids) } else { ids };
    let rows = sessions.iter().zip(ids).map(|(session, id)| {
        vec![
            id.to_owned(),
            when::ago(now, session.update_time.as_ref()),
            session.message_count.to_string(),
            session.model.clone(),
            session.workspace.clone(),
            state(session).to_owned(),
            session.parent_session_id.clone(),
            if session.starred {
                format!("★ {}", session.title)
            } else {
                session.title.clone()
            },
        ]
    });
    Ok(table::print(screen, look, &columns, &rows.collect::<Vec<_>>())?)
}

/// The state, where it is worth a word.
pub(crate) fn state(session: &pb::Session) -> &'static str {
    match session.state() {
        SessionState::Unspecified | SessionState::Active => "",
        SessionState::Archived => "archived",
        SessionState::Deleted => "deleted",
    }
}

/// Ids cut to what tells each from the others, so that what is seen can be typed.
pub(crate) fn short<'a>(ids: &[&'a str]) -> Vec<&'a str> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let shared = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let told_apart = |id: &str| {
        let at = sorted.partition_point(|other| *other < id);
        let before = at
            .checked_sub(1)
            .and_then(|at| sorted.get(at))
            .map_or(0, |other| shared(other, id));
        let after = sorted.get(at + 1).map_or(0, |other| shared(other, id));
        before.max(after) + 1
    };
    // An id that loses only a few characters is easier to read whole.
    ids.iter()
        .map(|id| {
            id.get(..told_apart(id).max(SHORT_ID_MIN))
                .filter(|cut| cut.len() + 8 < id.len())
                .unwrap_or(id)
        })
        .collect()
}

/// Lists at most `limit` sessions, page by page, and whether there are more. The namespace is the client's.
pub(crate) async fn list(
    client: &Client,
    mut request: pb::ListSessionsRequest,
    limit: usize,
) -> Result<(Vec<pb::Session>, bool), Error> {
    request.namespace = client.namespace();
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        request.page_size = page_size(limit - found.len());
        let page = client
            .sessions()
            .list_sessions(request.clone())
            .await?
            .into_inner();
        found.extend(page.sessions);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok((found, !request.page_token.is_empty()))
}

/// Lists at most `limit` threads, as [`list`] does sessions.
pub(crate) async fn list_threads(
    client: &Client,
    mut request: pb::ListThreadsRequest,
    limit: usize,
) -> Result<(Vec<pb::Thread>, bool), Error> {
    request.namespace = client.namespace();
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        request.page_size = page_size(limit - found.len());
        let page = client.threads().list_threads(request.clone()).await?.into_inner();
        found.extend(page.threads);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok((found, !request.page_token.is_empty()))
}

fn page_size(rows: usize) -> i32 {
    // At most 500, so that the conversion cannot fail.
    i32::try_from(rows.clamp(1, PAGE_ROWS)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_cut_to_what_tells_them_apart() {
        let ids = [
            "0197c2f3-8a1b-7000-8000-000000000001",
            "0197c2f3-8a1b-7000-9000-000000000002",
            "airline-12",
        ];
        assert_eq!(
            short(&ids),
            ["0197c2f3-8a1b-7000-8", "0197c2f3-8a1b-7000-9", "airline-12"]
        );
        assert_eq!(short(&["0197c2f3-8a1b-7000-8000-000000000001"]), ["0197c2f3"]);
        assert_eq!(short(&["a", "ab"]), ["a", "ab"]);
    }

    #[test]
    fn every_order_is_one_that_the_service_knows() {
        assert_eq!(Sort::Updated.order(false), "update_time desc");
        assert_eq!(Sort::Created.order(true), "create_time");
        assert_eq!(Sort::Title.order(false), "title");
        assert_eq!(Sort::Title.order(true), "title desc");
    }

    #[test]
    fn a_label_is_a_pair() {
        assert_eq!(label("k=v=w"), Ok(("k".into(), "v=w".into())));
        assert_eq!(label("k="), Ok(("k".into(), String::new())));
        assert!(label("k").is_err());
    }
}

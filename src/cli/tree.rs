//! `tree`: what a session was forked from or is a part of, and what came of it.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use clap::Args;

use super::error::Error;
use super::history::relation;
use super::json;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::show::count;
use super::term::{Screen, line};
use crate::client::Client;
use crate::pb::client::{self as pb, SessionState};

/// Pages of nodes that are asked for at most.
const PAGES_MAX: usize = 10_000;

/// How deep a branch is drawn further to the right; what lies deeper stands below that.
const INDENT_MAX: usize = 40;

/// Draw the ancestors of a session, its forks and its sub-sessions.
#[derive(Args, Debug)]
pub(crate) struct Tree {
    #[command(flatten)]
    remote: Remote,
    /// The session: its id, the beginning of it, or -1 for the newest.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    session: Pick,
}

impl Tree {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session = pick::session(&client, &self.session, Scope::All).await?;
        let nodes = nodes(&client, &session.session_id).await?;
        if self.remote.json {
            return Ok(json::print(screen, &json::values(&nodes)?)?);
        }
        draw(screen, &nodes, &session.session_id)
    }
}

async fn nodes(client: &Client, session_id: &str) -> Result<Vec<pb::SessionNode>, Error> {
    let mut request = pb::GetSessionTreeRequest {
        namespace: client.namespace(),
        session_id: session_id.to_owned(),
        page_size: 500,
        page_token: String::new(),
    };
    let mut nodes = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = client
            .sessions()
            .get_session_tree(request.clone())
            .await?
            .into_inner();
        nodes.extend(page.nodes);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok(nodes)
}

/// Draws nodes, each below the one that it comes from. Of a purged one, or a damaged one, it is not known where it hung: an
/// ancestor is drawn below the one listed before it.
fn draw(screen: &mut Screen, nodes: &[pb::SessionNode], asked: &str) -> Result<(), Error> {
    let at: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .map(|(at, node)| (node.session_id.as_str(), at))
        .collect();
    let asked_at = at.get(asked).copied().unwrap_or(0);
    let mut below: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut roots = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let above = match above(node) {
            Some(above) => at.get(above).copied(),
            None if is_purged(node) || is_damaged(node) && number < asked_at => number.checked_sub(1),
            None => None,
        };
        match above.filter(|above| *above < number) {
            Some(above) => below.entry(above).or_default().push(number),
            None => roots.push(number),
        }
    }
    // What is to be drawn, the next one last: where it stands, what is drawn before it, and whether others follow.
    let mut open: Vec<(usize, String, Option<bool>)> = roots
        .iter()
        .rev()
        .map(|root| (*root, String::new(), None))
        .collect();
    while let Some((number, prefix, last)) = open.pop() {
        let (branch, indent) = match last {
            None => ("", ""),
            Some(true) => ("└─ ", "   "),
            Some(false) => ("├─ ", "│  "),
        };
        writeln!(screen, "{prefix}{branch}{}", named(screen, &nodes[number], asked))?;
        let children = below.get(&number).map_or(&[][..], Vec::as_slice);
        let deeper = if prefix.chars().count() < 3 * INDENT_MAX {
            format!("{prefix}{indent}")
        } else {
            prefix
        };
        let last_child = children.len().saturating_sub(1);
        for (place, child) in children.iter().enumerate().rev() {
            open.push((*child, deeper.clone(), Some(place == last_child)));
        }
    }
    Ok(())
}

fn above(node: &pb::SessionNode) -> Option<&str> {
    let origin = node.origin.as_ref().map(|origin| origin.session_id.as_str());
    origin.or(Some(node.parent_session_id.as_str()).filter(|parent| !parent.is_empty()))
}

fn is_purged(node: &pb::SessionNode) -> bool {
    node.state() == SessionState::Deleted && node.title.is_empty() && node.message_count == 0
}

fn is_damaged(node: &pb::SessionNode) -> bool {
    node.state() == SessionState::Unspecified
}

fn named(screen: &Screen, node: &pb::SessionNode, asked: &str) -> String {
    let look = screen.look;
    let id = if node.session_id == asked {
        look.bold(&node.session_id)
    } else {
        node.session_id.clone()
    };
    let state = match node.state() {
        SessionState::Unspecified => "damaged",
        SessionState::Active => "",
        SessionState::Archived => "archived",
        SessionState::Deleted => "deleted",
    };
    let mut facts = vec![
        count(node.message_count, "message"),
        relation(node.origin.as_ref(), &node.parent_session_id),
        state.to_owned(),
    ];
    facts.retain(|fact| !fact.is_empty());
    format!("{id}  {}  {}", line(&node.title), look.dim(&facts.join(" · ")))
}

//! `search`: messages by their words.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use console::Style;

use super::error::Error;
use super::pick::{self, Pick, Scope};
use super::remote::Remote;
use super::sessions::short;
use super::term::{Look, Screen, clean, line};
use super::{json, when};
use crate::pb::client::{self as pb, SearchOrder};

/// Pages asked for at most: filters may leave pages short, or empty.
const PAGES_MAX: usize = 10_000;

/// Hits of a page that is asked for at most; the service takes no more.
const PAGE_ROWS: usize = 500;

/// Find messages by their words, the newest first.
///
/// All words must be in a message, in any case. word* finds what begins so, '"two words"' what stands together; other
/// signs mean nothing. What was just written is found within a second.
#[derive(Args, Debug)]
pub(crate) struct Search {
    #[command(flatten)]
    remote: Remote,
    /// What to look for.
    #[arg(required = true, value_name = "WORDS")]
    words: Vec<String>,
    /// Only sessions of this workspace; empty means those without one.
    #[arg(long, short, value_name = "PATH")]
    workspace: Option<String>,
    /// Only this session, with what it inherits: its id, the beginning of it, or -1 for the newest.
    #[arg(long, short, value_name = "ID", allow_negative_numbers = true)]
    session: Option<Pick>,
    /// Only what was said in this role; may be given more than once.
    #[arg(long, value_enum)]
    role: Vec<Role>,
    /// The best match first, of the newest ones.
    #[arg(long)]
    relevance: bool,
    /// Mask keys, tokens and passwords.
    #[arg(long)]
    redact: bool,
    /// Most messages to find.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// What users say, tool results included.
    User,
    /// What models say.
    Assistant,
    /// Instructions.
    System,
    /// Tool results in messages of their own.
    Tool,
}

impl Role {
    fn to_pb(self) -> pb::Role {
        match self {
            Self::User => pb::Role::User,
            Self::Assistant => pb::Role::Assistant,
            Self::System => pb::Role::System,
            Self::Tool => pb::Role::Tool,
        }
    }
}

impl Search {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let session = match &self.session {
            Some(session) => Some(pick::session(&client, session, Scope::All).await?.session_id),
            None => None,
        };
        let (as_json, limit) = (self.remote.json, self.limit.max(1));
        let mut request = pb::SearchMessagesRequest {
            namespace: client.namespace(),
            query: self.words.join(" "),
            workspace: self.workspace,
            session_id: session,
            roles: self.role.iter().map(|role| role.to_pb().into()).collect(),
            order: if self.relevance {
                SearchOrder::Relevance.into()
            } else {
                SearchOrder::Newest.into()
            },
            redact: self.redact,
            ..Default::default()
        };
        let mut hits: Vec<pb::SearchHit> = Vec::new();
        for _ in 0..PAGES_MAX {
            let rows = (limit - hits.len()).min(PAGE_ROWS);
            request.page_size = i32::try_from(rows).unwrap_or_default();
            let page = client
                .sessions()
                .search_messages(request.clone())
                .await?
                .into_inner();
            hits.extend(page.hits);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() || hits.len() >= limit {
                break;
            }
        }
        let is_more = !request.page_token.is_empty();
        if as_json {
            return Ok(json::print(screen, &json::values(&hits)?)?);
        }
        if hits.is_empty() {
            return Ok(writeln!(screen, "nothing found")?);
        }
        print(screen, &hits)?;
        if is_more {
            let note = format!("{} shown, there may be more: --limit", hits.len());
            writeln!(screen, "{}", screen.look.dim(&note))?;
        }
        Ok(())
    }
}

fn print(screen: &mut Screen, hits: &[pb::SearchHit]) -> Result<(), Error> {
    let (look, now) = (screen.look, when::now());
    let ids: Vec<&str> = hits.iter().map(|hit| hit.session_id.as_str()).collect();
    let ids = if look.width.is_some() { short(&ids) } else { ids };
    for (hit, id) in hits.iter().zip(ids) {
        let title = if hit.title.is_empty() {
            "(no title)".to_owned()
        } else {
            line(&hit.title)
        };
        let place = match hit.message_index {
            0.. => format!("message {}", hit.message_index),
            _ => "instructions".to_owned(),
        };
        let role = hit
            .role()
            .as_str_name()
            .trim_start_matches("ROLE_")
            .to_lowercase();
        let said = when::ago(now, hit.create_time.as_ref());
        let facts = [id, &place, &role, &said].join("  ");
        writeln!(screen, "{}  {}", look.bold(&title), look.dim(&facts))?;
        writeln!(screen, "  {}\n", marked(look, hit))?;
    }
    Ok(())
}

/// The snippet in one line, what was found in it shown where colours are seen.
fn marked(look: Look, hit: &pb::SearchHit) -> String {
    let chars: Vec<char> = hit.snippet.chars().collect();
    let part = |from: usize, to: usize| {
        let part: String = chars.get(from..to).unwrap_or_default().iter().collect();
        clean(&part).replace(['\n', '\t'], " ")
    };
    let style = look.style(Style::new().yellow().bold());
    let (mut shown, mut at) = (String::new(), 0);
    for mark in &hit.marks {
        let (start, end) = (mark.start as usize, mark.end as usize);
        shown.push_str(&part(at, start));
        shown.push_str(&style.apply_to(part(start, end)).to_string());
        at = end;
    }
    shown + &part(at, chars.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_shown_and_nothing_is_obeyed() {
        let hit = pb::SearchHit {
            snippet: "é\x1b fox\nruns".into(),
            marks: vec![pb::SearchMark { start: 3, end: 6 }],
            ..Default::default()
        };
        assert_eq!(marked(Look::PLAIN, &hit), "é␛ fox runs");
        let colors = Look {
            colors: true,
            width: None,
        };
        assert_eq!(marked(colors, &hit), "é␛ \x1b[33m\x1b[1mfox\x1b[0m runs");
        let odd = pb::SearchHit {
            snippet: "ab".into(),
            marks: vec![pb::SearchMark { start: 1, end: 9 }],
            ..Default::default()
        };
        assert_eq!(marked(Look::PLAIN, &odd), "a");
    }
}

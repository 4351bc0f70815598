//! `threads` and `thread`: the live conversations, and one of them with its turns and items.

use std::io::Write as _;

use clap::{Args, ValueEnum};

use super::error::Error;
use super::pick::{self, Pick};
use super::remote::Remote;
use super::sessions::{list_threads, short};
use super::show::count;
use super::table::{self, Column};
use super::term::{Screen, line};
use super::transcript::{Detail, Transcript};
use super::{json, when};
use crate::client::Client;
use crate::pb::client::{self as pb, ItemKind, ThreadState, TurnStatus};

/// Pages of items asked for at most.
const PAGES_MAX: usize = 100_000;

/// List threads, the one changed last first.
#[derive(Args, Debug)]
pub(crate) struct Threads {
    #[command(flatten)]
    remote: Remote,
    /// Only those linked to the session with this id.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only those that this engine owns; empty means those that none owns.
    #[arg(long, value_name = "ID")]
    engine: Option<String>,
    /// Only those in this state; may be given more than once.
    #[arg(long, value_enum)]
    state: Vec<State>,
    /// Most threads to list; 0 lists all.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// Print a thread with its turns and items.
///
/// With --json: one object, `thread`, `turns` and `items`.
#[derive(Args, Debug)]
pub(crate) struct Thread {
    #[command(flatten)]
    remote: Remote,
    /// The thread: its id, the beginning of it, or -1 for the one changed last.
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    thread: Pick,
    /// Print tool inputs and outputs whole.
    #[arg(long, short)]
    full: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Open,
    Closed,
    Archived,
}

impl Threads {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let request = pb::ListThreadsRequest {
            session_id: self.session,
            engine_id: self.engine,
            states: self
                .state
                .into_iter()
                .map(|state| ThreadState::from(state).into())
                .collect(),
            ..Default::default()
        };
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let (threads, more) = list_threads(&client, request, limit).await?;
        if self.remote.json {
            json::print(screen, &json::values(&threads)?)?;
        } else if threads.is_empty() {
            writeln!(screen, "no threads")?;
        } else {
            print(screen, &threads)?;
            if more {
                let note = format!("{limit} shown, there are more: --limit 0 lists all");
                writeln!(screen, "{}", screen.look.dim(&note))?;
            }
        }
        Ok(())
    }
}

impl Thread {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let client = self.remote.connect().await?;
        let thread = pick::thread(&client, &self.thread).await?;
        let (turns, items) = items(&client, &thread.thread_id).await?;
        if self.remote.json {
            let all = serde_json::json!({
                "thread": json::value(&thread)?,
                "turns": json::values(&turns)?,
                "items": json::values(&items)?,
            });
            return Ok(json::print(screen, &all)?);
        }
        let look = screen.look;
        let title = if thread.title.is_empty() {
            "(no title)".to_owned()
        } else {
            line(&thread.title)
        };
        writeln!(screen, "{}", look.bold(&title))?;
        let mut facts = vec![
            thread.thread_id.clone(),
            line(&thread.model),
            state(&thread).to_owned(),
            count(thread.turn_count, "turn"),
            count(thread.item_count, "item"),
            when::ago(when::now(), thread.update_time.as_ref()),
        ];
        if !thread.session_id.is_empty() {
            facts.push(format!("saved to {}", thread.session_id));
        }
        facts.retain(|fact| !fact.is_empty());
        writeln!(screen, "{}", look.dim(&facts.join(" · ")))?;
        let mut turn_id = "";
        for item in &items {
            if item.turn_id != turn_id {
                turn_id = &item.turn_id;
                let turn = turns.iter().find(|turn| turn.turn_id == turn_id);
                turn_head(screen, turn_id, turn)?;
            }
            print_item(screen, item, Detail::asked(self.full))?;
        }
        Ok(())
    }
}

impl From<State> for ThreadState {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Closed => Self::Closed,
            State::Archived => Self::Archived,
        }
    }
}

async fn items(client: &Client, thread_id: &str) -> Result<(Vec<pb::Turn>, Vec<pb::Item>), Error> {
    let mut request = pb::ListItemsRequest {
        namespace: client.namespace(),
        thread_id: thread_id.to_owned(),
        page_size: 500,
        ..Default::default()
    };
    let (mut turns, mut items): (Vec<pb::Turn>, Vec<pb::Item>) = Default::default();
    for _ in 0..PAGES_MAX {
        let page = client.threads().list_items(request.clone()).await?.into_inner();
        items.extend(page.items);
        // A turn whose items are on two pages comes with both.
        turns.retain(|turn| page.turns.iter().all(|newer| newer.turn_id != turn.turn_id));
        turns.extend(page.turns);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    Ok((turns, items))
}

fn print(screen: &mut Screen, threads: &[pb::Thread]) -> Result<(), Error> {
    let columns = [
        Column::Text("ID"),
        Column::Text("UPDATED"),
        Column::Number("TURNS"),
        Column::Number("ITEMS"),
        Column::Text("STATE"),
        Column::Text("ENGINE"),
        Column::Text("MODEL"),
        Column::Text("SESSION"),
        Column::Text("TITLE"),
    ];
    let (look, now) = (screen.look, when::now());
    let ids: Vec<&str> = threads.iter().map(|thread| thread.thread_id.as_str()).collect();
    let sessions: Vec<&str> = threads.iter().map(|thread| thread.session_id.as_str()).collect();
    let (ids, sessions) = if look.width.is_some() {
        (short(&ids), short(&sessions))
    } else {
        (ids, sessions)
    };
    let rows = threads
        .iter()
        .zip(ids)
        .zip(sessions)
        .map(|((thread, id), session)| {
            vec![
                id.to_owned(),
                when::ago(now, thread.update_time.as_ref()),
                thread.turn_count.to_string(),
                thread.item_count.to_string(),
                state(thread).to_owned(),
                thread.engine_id.clone(),
                thread.model.clone(),
                session.to_owned(),
                thread.title.clone(),
            ]
        });
    Ok(table::print(screen, look, &columns, &rows.collect::<Vec<_>>())?)
}

/// What a thread is doing, or that it does nothing any more.
fn state(thread: &pb::Thread) -> &'static str {
    match thread.state() {
        ThreadState::Unspecified | ThreadState::Open if thread.active_turn_id.is_empty() => "",
        ThreadState::Unspecified | ThreadState::Open => "in a turn",
        ThreadState::Closed => "closed",
        ThreadState::Archived => "archived",
    }
}

fn turn_head(screen: &mut Screen, turn_id: &str, turn: Option<&pb::Turn>) -> Result<(), Error> {
    let look = screen.look;
    let status = turn.map_or("", |turn| status(turn.status()));
    let started = when::exact(turn.and_then(|turn| turn.start_time.as_ref()));
    writeln!(
        screen,
        "\n{}  {}",
        look.bold(&format!("turn {turn_id}")),
        look.dim(&format!("{status}  {started}"))
    )?;
    if let Some(error) = turn
        .map(|turn| line(&turn.error))
        .filter(|error| !error.is_empty())
    {
        writeln!(screen, "  error: {error}")?;
    }
    Ok(())
}

fn print_item(screen: &mut Screen, item: &pb::Item, detail: Detail) -> Result<(), Error> {
    let look = screen.look;
    let status = match item.status() {
        TurnStatus::Completed => "",
        open_or_failed => status(open_or_failed),
    };
    let head = format!("  {:>3}  {}  {status}", item.seq, kind(item.kind()));
    let text = format!("{}  {}", look.dim(head.trim_end()), line(&item.summary));
    writeln!(screen, "{}", text.trim_end())?;
    let printer = Transcript::new(look, detail);
    Ok(item
        .content
        .iter()
        .try_for_each(|block| printer.block(screen, block, 4))?)
}

fn status(status: TurnStatus) -> &'static str {
    match status {
        TurnStatus::Unspecified => "",
        TurnStatus::Queued => "queued",
        TurnStatus::InProgress => "in progress",
        TurnStatus::Completed => "completed",
        TurnStatus::Failed => "failed",
        TurnStatus::Interrupted => "interrupted",
        TurnStatus::Canceled => "canceled",
    }
}

fn kind(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Unspecified => "?",
        ItemKind::UserMessage => "user message",
        ItemKind::AgentMessage => "agent message",
        ItemKind::AgentReasoning => "reasoning",
        ItemKind::ToolCall => "tool call",
        ItemKind::ToolResult => "tool result",
        ItemKind::FileChange => "file change",
        ItemKind::CommandExecution => "command",
        ItemKind::ContextCompaction => "compaction",
        ItemKind::Status => "status",
        ItemKind::Error => "error",
    }
}

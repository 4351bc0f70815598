//! What the demo says: each step in a few lines, with the command that repeats it by hand.

use std::io::Write as _;

use super::super::error::Error;
use super::super::message::{is_user, text};
use super::super::progress::state;
use super::super::sessions;
use super::super::show::count;
use super::super::term::{Look, Screen, cut, line};
use super::host::Host;
use crate::client::PORT_DEFAULT;
use crate::client::play::{PlayedTurn, Script};
use crate::pb::client::content_block::Block;
use crate::pb::client::{self as pb, Role};

/// What is asked in the fork, in the place of what was asked there first.
pub(super) const ASKED_INSTEAD: &str =
    "Before we go on: what are my options, and what does each of them cost?";
/// A turn, written call by call.
const BY_HAND: [(&str, &str); 4] = [
    ("CreateThread", r#"{"thread_id":"by-hand"}"#),
    ("StartTurn", r#"{"thread_id":"by-hand","turn_id":"1"}"#),
    (
        "AppendItems",
        concat!(
            r#"{"thread_id":"by-hand","turn_id":"1","items":[{"kind":"ITEM_KIND_USER_MESSAGE","#,
            r#""status":"TURN_STATUS_COMPLETED","content":[{"text":{"text":"Hello"}}]}]}"#
        ),
    ),
    (
        "FinishTurn",
        r#"{"thread_id":"by-hand","turn_id":"1","status":"TURN_STATUS_COMPLETED"}"#,
    ),
];
/// Messages of those that came back that are shown.
const SHOWN: usize = 4;
/// Columns of a text that is quoted where the terminal's width is not known.
const QUOTE_COLUMNS: usize = 72;

/// The story as it is being told.
pub(super) struct Story<'a> {
    screen: &'a mut Screen,
    look: Look,
    host: &'a Host,
}

impl<'a> Story<'a> {
    pub(super) fn new(screen: &'a mut Screen, host: &'a Host) -> Self {
        Self {
            look: screen.look,
            screen,
            host,
        }
    }

    pub(super) fn server(&mut self) -> Result<(), Error> {
        self.heading("A server")?;
        let folder = self.host.folder().display().to_string();
        self.say(&format!(
            "listens on {} and keeps its data in {folder}",
            self.host.address()
        ))?;
        let listen = self.host.address();
        self.command(&format!("sessiond serve --listen {listen} --data DIR"))?;
        if !self.host.address().uri().ends_with(&format!(":{PORT_DEFAULT}")) {
            let addr = self.host.address().to_string();
            self.say("and for the commands below, as it is not the usual port:")?;
            self.command(&format!("export SESSIOND_ADDR={addr}"))?;
        }
        Ok(())
    }

    pub(super) fn opening(&mut self, script: &Script) -> Result<(), Error> {
        self.heading("A live thread")?;
        let turns = count(script.turns.len() as u64, "turn");
        let mut facts = vec![line(&script.id), line(&script.model), turns];
        facts.retain(|fact| !fact.is_empty());
        self.say(&format!(
            "{}: written as an agent would, saved after every turn",
            facts.join(", ")
        ))?;
        Ok(writeln!(self.screen)?)
    }

    /// One line a turn: who asked what, which tools were called, and what was saved.
    pub(super) fn turn(&mut self, number: usize, turn: &PlayedTurn, messages: u64) -> Result<(), Error> {
        let blocks = || turn.items.iter().flat_map(|item| &item.content);
        let asked = blocks().find_map(|block| match &block.block {
            Some(Block::Text(text)) => Some(line(&text.text)),
            Some(_) | None => None,
        });
        let tools = blocks().filter_map(|block| match &block.block {
            Some(Block::ToolUse(call)) => Some(line(&call.name)),
            Some(_) | None => None,
        });
        let tools = tools.collect::<Vec<_>>().join(", ");
        let facts = format!(
            "{:>9} {:>21}",
            count(turn.items.len() as u64, "item"),
            format!("→ {} saved", count(messages, "message"))
        );
        let room = self
            .columns()
            .saturating_sub(console::measure_text_width(&facts) + 9)
            .max(20);
        let asked = console::pad_str(
            &cut(&asked.unwrap_or_default(), room),
            room,
            console::Alignment::Left,
            None,
        )
        .into_owned();
        writeln!(self.screen, "  {number:>3}  {asked}  {}", self.look.dim(&facts))?;
        if !tools.is_empty() {
            let tools = self.look.fit(&format!("calls {tools}"), 7);
            writeln!(self.screen, "       {}", self.look.dim(&tools))?;
        }
        Ok(self.screen.flush()?)
    }

    /// Commands that show the thread, and calls that write one by hand, from anything that speaks gRPC.
    pub(super) fn by_hand(&mut self, thread: &pb::Thread) -> Result<(), Error> {
        writeln!(self.screen)?;
        self.command(&format!("sessiond thread {}", thread.thread_id))?;
        self.say("and by hand, with a thread of your own:")?;
        for (call, request) in BY_HAND {
            let address = self.host.address();
            self.command(&format!(
                "grpcurl -plaintext -d '{request}' {address} sessiond.v1.ThreadService/{call}"
            ))?;
        }
        self.command("sessiond save by-hand")
    }

    pub(super) fn read_back(&mut self, session: &pb::Session, read: &[pb::Message]) -> Result<(), Error> {
        self.heading("Read back")?;
        let messages = count(read.len() as u64, "message");
        self.say(&format!(
            "{messages}, field by field what was played; the last of them:"
        ))?;
        writeln!(self.screen)?;
        for message in read.iter().skip(read.len().saturating_sub(SHOWN)) {
            self.quote(message)?;
        }
        writeln!(self.screen)?;
        self.command(&format!("sessiond show {}", session.session_id))
    }

    pub(super) fn fork(
        &mut self,
        parent: &pb::Session,
        fork: &pb::Session,
        number: usize,
        removed: &pb::Message,
    ) -> Result<(), Error> {
        self.heading(&format!("A fork, before user message #{number}"))?;
        let shared = count(fork.message_count, "message");
        self.say(&format!(
            "“{}” shares {shared} with its parent and copies none",
            line(&fork.title)
        ))?;
        self.say(&format!("cut, for editing: {}", self.quoted(&text(removed), 20)))?;
        self.say(&format!("asked instead:    {}", self.quoted(ASKED_INSTEAD, 20)))?;
        self.say("the parent is what it was, message by message")?;
        writeln!(self.screen)?;
        self.command(&format!("sessiond fork {} --before {number}", parent.session_id))?;
        self.command(&format!(
            "sessiond append {} \"{ASKED_INSTEAD}\"",
            fork.session_id
        ))
    }

    pub(super) fn engine(&mut self, name: &str) -> Result<(), Error> {
        self.heading("The same conversation in a live engine")?;
        self.say(&format!(
            "“{name}” attaches over a stream and keeps its thread in its own memory; the service asks it"
        ))?;
        writeln!(self.screen)?;
        self.command("sessiond engines")
    }

    pub(super) fn snapshot(
        &mut self,
        when: &str,
        answer: &pb::SnapshotFromEngineResponse,
    ) -> Result<(), Error> {
        let session = answer.session.clone().unwrap_or_default();
        let mut facts = vec![
            count(answer.message_count, "message"),
            format!("revision {}", session.revision),
        ];
        if answer.delta {
            facts.push("the engine sent what was new".to_owned());
        }
        if session.incomplete_turn {
            facts.push("incomplete turn".to_owned());
        }
        self.say(&format!("a snapshot {when}: {}", facts.join(", ")))
    }

    pub(super) fn snapshot_by_hand(&mut self, thread_id: &str, messages: usize) -> Result<(), Error> {
        self.say(&format!(
            "{} in the engine, and field by field the same in the session",
            count(messages as u64, "message")
        ))?;
        writeln!(self.screen)?;
        self.command(&format!("sessiond snapshot {thread_id} --now"))
    }

    pub(super) fn resuming(&mut self, fork: &pb::Session, engine: &str) -> Result<(), Error> {
        self.heading("A fork, resumed into a second engine")?;
        self.say(&format!(
            "“{}” with {}, into “{engine}”; what a second client sees of it:",
            line(&fork.title),
            count(fork.message_count, "message"),
        ))
    }

    pub(super) fn progress(&mut self, progress: &pb::ResumeProgress) -> Result<(), Error> {
        let facts = format!(
            "{:>7}  {} of {}",
            state(progress),
            progress.items_written,
            count(progress.items_total, "message")
        );
        writeln!(self.screen, "    {}", self.look.dim(&facts))?;
        Ok(self.screen.flush()?)
    }

    pub(super) fn resumed(
        &mut self,
        fork: &pb::Session,
        progress: &pb::ResumeProgress,
        after: &pb::SnapshotFromEngineResponse,
    ) -> Result<(), Error> {
        self.say("the second engine holds what the session has, goes on with a turn, and is asked again:")?;
        self.snapshot("from the second engine", after)?;
        writeln!(self.screen)?;
        self.command(&format!("sessiond resume {}", fork.session_id))?;
        self.command(&format!("sessiond watch {}", progress.resume_id))?;
        self.command("sessiond resumes")
    }

    pub(super) fn also_played(&mut self, id: &str, session: &pb::Session) -> Result<(), Error> {
        self.say(&format!(
            "{}: {} saved and read back",
            line(id),
            count(session.message_count, "message")
        ))?;
        Ok(self.screen.flush()?)
    }

    pub(super) fn list(&mut self, all: &[pb::Session]) -> Result<(), Error> {
        self.heading("What it keeps")?;
        sessions::print(self.screen, all)?;
        writeln!(self.screen)?;
        self.command("sessiond ls")
    }

    pub(super) fn stays(&mut self) -> Result<(), Error> {
        self.heading("The server stays up")?;
        self.say("try the commands above in another terminal; Ctrl-C ends it")?;
        Ok(self.screen.flush()?)
    }

    fn heading(&mut self, text: &str) -> Result<(), Error> {
        Ok(writeln!(self.screen, "\n{}", self.look.bold(text))?)
    }

    fn say(&mut self, text: &str) -> Result<(), Error> {
        Ok(writeln!(self.screen, "  {text}")?)
    }

    /// A command is never cut: it is there to be copied.
    fn command(&mut self, command: &str) -> Result<(), Error> {
        let style = self.look.style(console::Style::new().cyan());
        writeln!(
            self.screen,
            "  {} {}",
            self.look.dim("$"),
            style.apply_to(command)
        )?;
        Ok(self.screen.flush()?)
    }

    fn quote(&mut self, message: &pb::Message) -> Result<(), Error> {
        let blocks = message.content.iter().map(|block| match &block.block {
            Some(Block::Text(text)) => line(&text.text),
            Some(Block::ToolUse(call)) => format!("→ {} {}", line(&call.name), line(&call.input_json)),
            Some(Block::ToolResult(result)) => {
                let content = pb::Message {
                    content: result.content.clone(),
                    ..Default::default()
                };
                format!("← {}", line(&text(&content)))
            }
            Some(_) | None => "…".into(),
        });
        let said = cut(
            &blocks.collect::<Vec<_>>().join("  "),
            self.columns().saturating_sub(15),
        );
        let who = match message.role() {
            Role::Assistant => "assistant",
            _ if is_user(message) => "user",
            _ => "tool",
        };
        Ok(writeln!(
            self.screen,
            "  {}  {said}",
            self.look.dim(&format!("{who:>9}"))
        )?)
    }

    fn quoted(&self, text: &str, used: usize) -> String {
        format!("“{}”", cut(&line(text), self.columns().saturating_sub(used + 4)))
    }

    fn columns(&self) -> usize {
        self.look.width.unwrap_or(QUOTE_COLUMNS + 28).min(120)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::json;
    use super::*;

    #[test]
    fn what_is_to_be_done_by_hand_are_requests() {
        let [create, start, append, finish] = BY_HAND.map(|(_, request)| request);
        let create: pb::CreateThreadRequest = json::parse(create).unwrap();
        let start: pb::StartTurnRequest = json::parse(start).unwrap();
        let append: pb::AppendItemsRequest = json::parse(append).unwrap();
        let finish: pb::FinishTurnRequest = json::parse(finish).unwrap();
        assert_eq!(create.thread_id.as_deref(), Some(start.thread_id.as_str()));
        assert_eq!(start.turn_id.as_deref(), Some(append.turn_id.as_str()));
        assert_eq!(
            (append.items.len(), finish.status()),
            (1, pb::TurnStatus::Completed)
        );
    }
}

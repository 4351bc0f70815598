//! What the demo says: each step in a few lines, with the command that repeats it by hand.

use std::io::Write as _;

use super::super::append::said;
use super::super::error::Error;
use super::super::sessions;
use super::super::show::{Reading, count};
use super::super::term::{Look, Screen, cut, line};
use super::super::transcript::{is_user, text};
use super::host::Host;
use crate::client::play::{PlayedTurn, Player, Script, expect};
use crate::client::{Client, PORT_DEFAULT, request_id};
use crate::pb::client::content_block::Block;
use crate::pb::client::fork_session_request::Point;
use crate::pb::client::{self as pb, Role};

/// What is asked in the fork, in the place of what was asked there first.
const ASKED_INSTEAD: &str = "Before we go on: what are my options, and what does each of them cost?";
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
        let (model, turns) = (line(&script.model), count(script.turns.len() as u64, "turn"));
        self.say(&format!(
            "{}, {model}, {turns}: written as an agent would, saved after every turn",
            line(&script.id)
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

    /// The calls that wrote the thread, for anything that speaks gRPC, and the commands that save and show it.
    pub(super) fn by_hand(&mut self, thread: &pb::Thread, first: Option<&PlayedTurn>) -> Result<(), Error> {
        writeln!(self.screen)?;
        let turn_id = first.map_or("TURN", |turn| turn.turn.turn_id.as_str());
        let thread_id = &thread.thread_id;
        let items = r#"[{"kind":"ITEM_KIND_USER_MESSAGE","status":"TURN_STATUS_COMPLETED","content":[{"text":{"text":"…"}}]}]"#;
        for (call, request) in [
            (
                "CreateThread",
                format!(r#"{{"thread":{{"model":"{}"}}}}"#, line(&thread.model)),
            ),
            ("StartTurn", format!(r#"{{"thread_id":"{thread_id}"}}"#)),
            (
                "AppendItems",
                format!(r#"{{"thread_id":"{thread_id}","turn_id":"{turn_id}","items":{items}}}"#),
            ),
            (
                "FinishTurn",
                format!(
                    r#"{{"thread_id":"{thread_id}","turn_id":"{turn_id}","status":"TURN_STATUS_COMPLETED"}}"#
                ),
            ),
        ] {
            let address = self.host.address();
            self.command(&format!(
                "grpcurl -plaintext -d '{request}' {address} sessiond.v1.ThreadService/{call}"
            ))?;
        }
        self.command(&format!("sessiond save {thread_id}"))?;
        self.command(&format!("sessiond thread {thread_id}"))
    }

    /// Reads a session back in both views and compares it with what was played.
    pub(super) async fn compare(
        &mut self,
        client: &Client,
        player: &Player,
        session: &pb::Session,
        aloud: bool,
    ) -> Result<(), Error> {
        let expected = player.expected();
        for context in [false, true] {
            let read = Reading::open(client, &session.session_id, context)
                .await?
                .all()
                .await?;
            let differences = expect::differences(&expected, &read);
            if let Some(first) = differences.first() {
                let many = differences.len();
                return Err(Error::Input(format!(
                    "what came back is not what was played ({many} differences): {first}"
                )));
            }
            if aloud && !context {
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
                self.command(&format!("sessiond show {}", session.session_id))?;
            }
        }
        Ok(())
    }

    /// Forks before the user message in the middle, asks something else there, and looks at both sides.
    pub(super) async fn fork(&mut self, client: &Client, parent: &pb::Session) -> Result<(), Error> {
        let read = Reading::open(client, &parent.session_id, false)
            .await?
            .all()
            .await?;
        let Some(number) = read
            .iter()
            .filter(|message| is_user(message))
            .count()
            .checked_sub(1)
            .map(|last| last.div_ceil(2))
        else {
            return Ok(());
        };
        let request = pb::ForkSessionRequest {
            namespace: client.namespace(),
            session_id: parent.session_id.clone(),
            point: Some(Point::UserMessageIndex(i64::try_from(number).unwrap_or_default())),
            request_id: request_id(),
            ..Default::default()
        };
        let answer = client.sessions().fork_session(request).await?.into_inner();
        let (fork, removed) = (
            answer.session.unwrap_or_default(),
            answer.removed_message.unwrap_or_default(),
        );
        let request = pb::AppendEntriesRequest {
            namespace: client.namespace(),
            session_id: fork.session_id.clone(),
            entries: vec![said(Role::User, ASKED_INSTEAD)],
            request_id: request_id(),
            ..Default::default()
        };
        client.sessions().append_entries(request).await?;
        let again = Reading::open(client, &parent.session_id, false)
            .await?
            .all()
            .await?;
        if again != read {
            return Err(Error::Input(
                "the parent is not what it was before the fork".into(),
            ));
        }

        self.heading(&format!("A fork, before user message #{number}"))?;
        self.say(&format!(
            "“{}” shares {} with its parent and copies none",
            line(&fork.title),
            count(fork.message_count, "message")
        ))?;
        self.say(&format!("cut, for editing: {}", self.quoted(&text(&removed), 20)))?;
        self.say(&format!("asked instead:    {}", self.quoted(ASKED_INSTEAD, 20)))?;
        self.say("the parent is what it was, message by message")?;
        writeln!(self.screen)?;
        self.command(&format!("sessiond fork {} --before {number}", parent.session_id))?;
        self.command(&format!(
            "sessiond append {} \"{ASKED_INSTEAD}\"",
            fork.session_id
        ))
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

    pub(super) fn end(&mut self, stays: bool) -> Result<(), Error> {
        if stays {
            self.heading("The server stays up")?;
            self.say("try the commands above in another terminal; Ctrl-C ends it")?;
        }
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

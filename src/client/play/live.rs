//! Plays a script as an engine does: in the engine's own memory, message by message, with nothing written by the way.
//!
//! What has been said is in [`Memory`] and is saved by a snapshot. A thread that was resumed goes on with the turn of
//! the script that follows those it holds.

use std::sync::Arc;

use uuid::Uuid;

use super::{PlayedTurn, Script, ScriptTurn, expect};
use crate::client::engine::{Engine, Memory};
use crate::pb::client::content_block::Block;
use crate::pb::client::{self as pb, Role};

/// A thread that an engine runs by a script.
#[derive(Debug)]
pub struct Live {
    engine: Engine,
    memory: Arc<Memory>,
    thread_id: String,
    model: String,
    turns: std::vec::IntoIter<ScriptTurn>,
    /// The turn that runs.
    turn_id: Option<String>,
    /// What it will still say.
    rest: std::vec::IntoIter<pb::Message>,
}

impl Live {
    /// Opens a thread of its own for the script.
    pub async fn open(engine: &Engine, memory: &Arc<Memory>, script: Script) -> Self {
        let thread_id = Uuid::now_v7().to_string();
        memory.add(pb::Thread {
            thread_id: thread_id.clone(),
            model: script.model.clone(),
            system_prompt: script.system_prompt.clone(),
            ..Default::default()
        });
        engine.changed(&thread_id).await;
        Self::resumed(engine, memory, script, &thread_id)
    }

    /// Goes on with a thread that the engine holds already.
    pub fn resumed(engine: &Engine, memory: &Arc<Memory>, script: Script, thread_id: &str) -> Self {
        let held = memory.messages(thread_id);
        let leads = held.first().is_some_and(|first| !is_question(first));
        let played = usize::from(leads) + held.iter().filter(|message| is_question(message)).count();
        let mut turns = script.turns.into_iter();
        turns.by_ref().take(played).for_each(drop);
        Self {
            engine: engine.clone(),
            memory: memory.clone(),
            thread_id: thread_id.to_owned(),
            model: script.model,
            turns,
            turn_id: None,
            rest: Vec::new().into_iter(),
        }
    }

    /// The thread.
    pub fn thread_id(&self) -> &str {
        &self.thread_id
    }

    /// Everything that has been said in it.
    pub fn messages(&self) -> Vec<pb::Message> {
        self.memory.messages(&self.thread_id)
    }

    /// Begins the next turn with its first message; whether there was one. A turn that runs is ended before.
    pub async fn begin(&mut self) -> bool {
        self.end().await;
        let Some(turn) = self.turns.next() else {
            return false;
        };
        let turn_id = Uuid::now_v7().to_string();
        let played = PlayedTurn {
            turn: pb::Turn {
                turn_id: turn_id.clone(),
                ..Default::default()
            },
            items: turn.steps.into_iter().flatten().collect(),
        };
        self.rest = expect::messages(&played, &self.model).into_iter();
        self.memory.begin(&self.thread_id, &turn_id);
        self.turn_id = Some(turn_id);
        self.engine.changed(&self.thread_id).await;
        self.say();
        true
    }

    /// Says what comes next in the turn that runs; `None` when there is nothing.
    pub fn say(&mut self) -> Option<pb::Message> {
        let message = self.rest.next()?;
        let message = pb::Message {
            message_id: Uuid::now_v7().to_string(),
            create_time: Some(std::time::SystemTime::now().into()),
            ..message
        };
        self.memory.say(&self.thread_id, message.clone());
        Some(message)
    }

    /// Goes on until a tool has been called and has not answered yet; whether that came about.
    pub fn until_tool_call(&mut self) -> bool {
        loop {
            if self.messages().last().is_some_and(calls_tool) {
                return true;
            }
            if self.say().is_none() {
                return false;
            }
        }
    }

    /// Says what is left of the turn that runs, and ends it.
    pub async fn end(&mut self) {
        if self.turn_id.take().is_none() {
            return;
        }
        while self.say().is_some() {}
        self.memory.end(&self.thread_id);
        self.engine.changed(&self.thread_id).await;
    }

    /// Plays the next turn; whether there was one.
    pub async fn turn(&mut self) -> bool {
        let began = self.begin().await;
        self.end().await;
        began
    }
}

/// Whether a message starts a turn: a user's, with a block that is no tool result.
fn is_question(message: &pb::Message) -> bool {
    let is_result = |block: &pb::ContentBlock| matches!(block.block, Some(Block::ToolResult(_)));
    message.role() == Role::User && !message.content.iter().all(is_result)
}

fn calls_tool(message: &pb::Message) -> bool {
    let calls = |block: &pb::ContentBlock| matches!(block.block, Some(Block::ToolUse(_)));
    message.content.iter().any(calls)
}

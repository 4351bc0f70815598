//! Threads as plain lists of messages, for hosts that have no memory of their own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Open, Threads};
use crate::pb::client as pb;

/// Threads in memory. Methods that name a thread which is not there do nothing.
#[derive(Debug, Default)]
pub struct Memory {
    threads: Mutex<Vec<Held>>,
    /// The thread that was resumed last.
    resumed: watch::Sender<Option<String>>,
}

#[derive(Debug)]
struct Held {
    thread: pb::Thread,
    messages: Vec<pb::Message>,
    /// The turn that runs; empty when none does.
    turn: String,
}

impl Memory {
    /// Adds a thread without messages, in place of one of the same name.
    pub fn add(&self, thread: pb::Thread) {
        self.put(thread, Vec::new());
    }

    /// A turn begins.
    pub fn begin(&self, thread_id: &str, turn_id: &str) {
        self.change(thread_id, |held| turn_id.clone_into(&mut held.turn));
    }

    /// Something is said. A message without an id gets one.
    pub fn say(&self, thread_id: &str, mut message: pb::Message) {
        if message.message_id.is_empty() {
            message.message_id = uuid::Uuid::now_v7().to_string();
        }
        self.change(thread_id, |held| held.messages.push(message));
    }

    /// The turn that runs ends.
    pub fn end(&self, thread_id: &str) {
        self.change(thread_id, |held| held.turn.clear());
    }

    /// Forgets a thread.
    pub fn remove(&self, thread_id: &str) {
        self.threads().retain(|held| held.thread.thread_id != thread_id);
    }

    /// Whether a thread is there.
    pub fn holds(&self, thread_id: &str) -> bool {
        self.threads()
            .iter()
            .any(|held| held.thread.thread_id == thread_id)
    }

    /// The messages of a thread; empty for one that is not there.
    pub fn messages(&self, thread_id: &str) -> Vec<pb::Message> {
        let threads = self.threads();
        let held = threads.iter().find(|held| held.thread.thread_id == thread_id);
        held.map(|held| held.messages.clone()).unwrap_or_default()
    }

    /// Tells of threads that are resumed: always the last one.
    pub fn resumed(&self) -> watch::Receiver<Option<String>> {
        self.resumed.subscribe()
    }

    fn put(&self, thread: pb::Thread, messages: Vec<pb::Message>) {
        let mut threads = self.threads();
        threads.retain(|held| held.thread.thread_id != thread.thread_id);
        threads.push(Held {
            thread,
            messages,
            turn: String::new(),
        });
    }

    fn change(&self, thread_id: &str, change: impl FnOnce(&mut Held)) {
        let mut threads = self.threads();
        if let Some(held) = threads.iter_mut().find(|held| held.thread.thread_id == thread_id) {
            change(held);
        }
    }

    /// Nothing is left half done by a panic: every change is one assignment or one push.
    fn threads(&self) -> MutexGuard<'_, Vec<Held>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads for Memory {
    fn open(&self) -> Vec<Open> {
        let threads = self.threads();
        let open = threads.iter().map(|held| Open {
            thread: held.thread.clone(),
            active_turn_id: held.turn.clone(),
        });
        open.collect()
    }

    fn snapshot(&self, thread_id: &str) -> Option<pb::EngineSnapshot> {
        let threads = self.threads();
        let held = threads.iter().find(|held| held.thread.thread_id == thread_id)?;
        let thread = &held.thread;
        Some(pb::EngineSnapshot {
            messages: held.messages.clone(),
            incomplete_turn: !held.turn.is_empty(),
            provider: thread.provider.clone(),
            model: thread.model.clone(),
            mode: thread.mode.clone(),
            workspace: thread.workspace.clone(),
            system_prompt: thread.system_prompt.clone(),
            settings_json: thread.settings_json.clone(),
            ..Default::default()
        })
    }

    fn seeded(&self, thread: pb::Thread, messages: Vec<pb::Message>) {
        let thread_id = thread.thread_id.clone();
        self.put(thread, messages);
        self.resumed.send_replace(Some(thread_id));
    }
}

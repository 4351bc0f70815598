//! An engine on the client's side: a process that runs threads, attached for as long as it wants to be.
//!
//! [`Engine`] is the handle. A task behind it attaches, names the threads, answers snapshots, takes seeds, sends
//! heartbeats, and attaches again when the stream breaks; what the threads hold it asks of [`Threads`], which the host
//! implements over its own conversations. [`Memory`] implements it over plain lists of messages.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use sessiond::client::{Client, engine::{Engine, Memory, Profile}};
//! # use sessiond::pb::client as pb;
//! # async fn run(client: Client, question: pb::Message, answer: pb::Message) -> Result<(), sessiond::client::Failure> {
//! let memory = Arc::new(Memory::default());
//! let engine = Engine::attach(&client, Profile::named("mine"), memory.clone());
//! engine.attached().await?;
//! memory.add(pb::Thread { thread_id: "talk".into(), ..Default::default() });
//! memory.begin("talk", "first");
//! engine.changed("talk").await;
//! memory.say("talk", question);
//! memory.say("talk", answer);
//! memory.end("talk");
//! engine.changed("talk").await;
//! engine.leave().await;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tonic::Code;

use super::{Client, Failure};
use crate::pb::client as pb;

mod attachment;
mod memory;
mod seeds;
mod snapshot;

pub use memory::Memory;

use attachment::Attachment;

/// Commands that wait for the task.
const COMMANDS_MAX: usize = 256;

/// The threads that an engine runs. The methods are called between frames and must not block.
pub trait Threads: Send + Sync + 'static {
    /// Every thread that is run, with the turn that runs in it. The service learns of them with each attachment.
    fn open(&self) -> Vec<Open>;

    /// What the engine holds of a thread, as it stands: all messages in the order in which a model would be sent them,
    /// each with an id of its own, and whether a turn runs. `None`: it does not run the thread.
    fn snapshot(&self, thread_id: &str) -> Option<pb::EngineSnapshot>;

    /// Takes over a session that was resumed: the engine runs this thread from now on, in place of one of the same
    /// name.
    fn seeded(&self, thread: pb::Thread, messages: Vec<pb::Message>);
}

/// A thread that an engine runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Open {
    /// The thread; of one that the service knows already, only the id counts.
    pub thread: pb::Thread,
    /// The turn that runs; empty when none does.
    pub active_turn_id: String,
}

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its id: another process that attaches under it takes over.
    pub engine_id: String,
    /// What a resume may choose by.
    pub labels: BTreeMap<String, String>,
    /// Whether it takes sessions to resume.
    pub accepts_resume: bool,
    /// How many it takes at a time; 0 leaves that to the service.
    pub max_seeds: u32,
}

/// How an engine stands to the service.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Not yet, or not any more; it is about to attach, and this is why the last attachment ended.
    Detached(Option<Failure>),
    /// Attached under this epoch: writes on its threads carry it.
    Attached(u64),
    /// Attached, but the service is about to go away: a turn that runs may end, and none should begin.
    Draining(u64),
    /// For good: it left, or was told what trying again will not change.
    Ended(Option<Failure>),
}

/// A handle on an engine. Cheap to clone; the engine leaves when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
}

/// What a handle asks of the task.
#[derive(Debug)]
enum Command {
    /// A thread was opened, or a turn of it began or ended.
    Changed(String),
    /// A thread is let go.
    Close(String),
    /// The engine leaves.
    Leave,
}

impl Profile {
    /// An engine of this name that takes sessions to resume.
    pub fn named(engine_id: impl Into<String>) -> Self {
        Self {
            engine_id: engine_id.into(),
            accepts_resume: true,
            ..Self::default()
        }
    }
}

impl Engine {
    /// Starts to attach, on a task of its own.
    pub fn attach(client: &Client, profile: Profile, threads: Arc<dyn Threads>) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (state, watched) = watch::channel(State::Detached(None));
        let attachment = Attachment::new(client.clone(), profile, threads, state);
        tokio::spawn(attachment.run(received));
        Self {
            commands,
            state: watched,
        }
    }

    /// How it stands now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// How it stands, as it changes.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until it is attached and returns the epoch; an error if it never will be.
    pub async fn attached(&self) -> Result<u64, Failure> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| match state {
            State::Attached(_) | State::Draining(_) | State::Ended(_) => true,
            State::Detached(_) => false,
        });
        match settled.await.map(|state| state.clone()) {
            Ok(State::Attached(epoch) | State::Draining(epoch)) => Ok(epoch),
            Ok(State::Ended(Some(failure)) | State::Detached(Some(failure))) => Err(failure),
            Ok(State::Ended(None) | State::Detached(None)) | Err(_) => Err(left()),
        }
    }

    /// Says that a thread was opened, or that a turn of it began or ended: the service hears of it, and who waited
    /// for the end of the turn gets the snapshot.
    pub async fn changed(&self, thread_id: &str) {
        self.command(Command::Changed(thread_id.to_owned())).await;
    }

    /// Lets go of a thread.
    pub async fn close(&self, thread_id: &str) {
        self.command(Command::Close(thread_id.to_owned())).await;
    }

    /// Says goodbye and waits until the stream has ended.
    pub async fn leave(self) {
        self.command(Command::Leave).await;
        let mut state = self.state;
        // The task has ended if there is nobody to wait for.
        let _ = state.wait_for(|state| matches!(state, State::Ended(_))).await;
    }

    async fn command(&self, command: Command) {
        // Whoever has ended needs no command.
        let _ = self.commands.send(command).await;
    }
}

/// What a call says that came after the end.
fn left() -> Failure {
    Failure {
        code: Code::Cancelled,
        reason: None,
        message: "the engine has left".to_owned(),
        metadata: Default::default(),
        violations: Vec::new(),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;

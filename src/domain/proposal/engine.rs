//! What is to be done about an engine and the threads it runs. Every command is fenced by the epoch of the
//! attachment it is made for.

use crate::domain::engine::Profile;
use crate::domain::id::{EngineId, LogId, ThreadId, TurnId};
use crate::domain::thread;

/// What is to be done about an engine.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineCommand {
    /// It attaches, under the next epoch of its namespace.
    Attach {
        /// Which.
        id: EngineId,
        /// What it says of itself.
        profile: Box<Profile>,
    },
    /// It has left; nothing if it attached again meanwhile.
    Detach {
        /// Which.
        id: EngineId,
        /// Of the attachment that ended.
        epoch: u64,
    },
    /// It runs a thread: claims it, or makes it.
    OpenThread {
        /// Which engine.
        id: EngineId,
        /// Of its attachment.
        epoch: u64,
        /// Which thread.
        thread: ThreadId,
        /// The name of a journal that has to be made.
        journal: LogId,
        /// The facts of a thread that has to be made.
        draft: Box<thread::Draft>,
        /// The turn that it works on.
        active_turn: Option<TurnId>,
    },
    /// It has let go of a thread.
    CloseThread {
        /// Which engine.
        id: EngineId,
        /// Of its attachment.
        epoch: u64,
        /// Which thread.
        thread: ThreadId,
    },
    /// Its time is over: end the thread's turn, unless the engine has named it since.
    Interrupt {
        /// Which engine.
        id: EngineId,
        /// Of the attachment that began or ended three heartbeats ago.
        epoch: u64,
        /// Which thread.
        thread: ThreadId,
    },
    /// Remove an engine that is gone and has no threads.
    Forget {
        /// Which.
        id: EngineId,
    },
}

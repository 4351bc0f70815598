//! The rules of sessiond, and nothing else: no I/O, no clock, no wire types.
//!
//! Every mutation of the service is a [`Proposal`]. [`needs()`] says which stored facts its rules
//! read, [`decide()`] turns facts and proposal into a [`Decision`] (effects and an outcome) or a
//! [`Refusal`], and a store answers the needs and applies the effects. Whoever looks for a rule
//! finds it below `domain/decide/`.

pub mod cursor;
pub mod decide;
pub mod effect;
pub mod engine;
pub mod entry;
pub mod error;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixture;
pub mod fork;
pub mod id;
pub mod limits;
pub mod message;
pub mod need;
pub mod outcome;
pub mod past_head;
pub mod path;
pub mod proposal;
pub mod query;
pub mod replica;
pub mod resume;
pub mod retention;
pub mod save;
pub mod search;
pub mod seat;
pub mod session;
pub mod tally;
pub mod thread;
pub mod time;
pub mod title;
pub mod turn;
pub mod usage;
pub mod words;

pub use cursor::{Cursor, ThreadCursor};
pub use decide::{Decision, decide};
pub use effect::Effect;
pub use engine::Engine;
pub use entry::{Digest, Entry, EntryMeta, Kind, Mark, NewEntry};
pub use error::{Invalid, Noun, Refusal};
pub use facts::Facts;
pub use id::{
    EngineId, EntryId, ItemId, LogId, Namespace, ReplicaId, RequestId, ResumeId, Revision, Seq, SessionId,
    Source, ThreadId, TurnId,
};
pub use limits::Limits;
pub use message::{CallKey, MessageFacts, Role};
pub use need::{Need, needs};
pub use outcome::{Outcome, Receipt};
pub use past_head::PastHead;
pub use path::{Log, Part, Path, Tip};
pub use proposal::{Command, Proposal, Request};
pub use replica::{Fence, Replica};
pub use resume::Resume;
pub use session::Session;
pub use tally::Tally;
pub use thread::Thread;
pub use time::Time;
pub use turn::{Item, Turn};
pub use usage::Usage;

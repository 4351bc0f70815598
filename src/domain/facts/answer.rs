//! What a store says to a need.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::engine::Engine;
use crate::domain::id::{EntryId, ItemId, Seq, SessionId};
#[cfg(doc)]
use crate::domain::need::Need;
use crate::domain::outcome::Receipt;
use crate::domain::past_head::PastHead;
use crate::domain::path::{Log, Span};
use crate::domain::replica::Replica;
use crate::domain::resume::Resume;
use crate::domain::session::Session;
use crate::domain::thread::Thread;
use crate::domain::time::Time;
use crate::domain::turn::{ItemMark, Turn};

/// Who names a log, as the store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// A session's head, a past head, a thread's base or journal, or a resume names it.
    pub named: bool,
    /// The last seq that another log's path takes from it; `None`: no path does.
    pub inherited_to: Option<Seq>,
    /// The last seq of its entries, or of a journal its rows; 0 where it has none.
    pub last: Seq,
    /// Since when it may be named by nobody, as was last noted; `None`: nothing is noted.
    pub loose: Option<Time>,
}

/// An answer to a need.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Need::Receipt`].
    Receipt(Option<Receipt>),
    /// To [`Need::Session`].
    Session(Option<Arc<Session>>),
    /// To [`Need::Family`].
    Family(Vec<SessionId>),
    /// To [`Need::Imported`].
    Imported(Vec<SessionId>),
    /// To [`Need::HighestFork`].
    HighestFork(Option<u64>),
    /// To [`Need::Entries`]: those found.
    Entries(HashMap<EntryId, Seq>),
    /// To [`Need::Log`].
    Log(Option<Arc<Log>>),
    /// To [`Need::References`].
    References(References),
    /// To [`Need::Originals`]; none where the entries are no copies.
    Originals(Vec<Span>),
    /// To [`Need::Thread`].
    Thread(Option<Arc<Thread>>),
    /// To [`Need::Turn`].
    Turn(Option<Arc<Turn>>),
    /// To [`Need::Items`]: those found.
    Items(HashMap<ItemId, ItemMark>),
    /// To [`Need::Epoch`]; 0 where the namespace gave none.
    Epoch(u64),
    /// To [`Need::Engine`].
    Engine(Option<Arc<Engine>>),
    /// To [`Need::Replica`].
    Replica {
        /// The replica, if it has joined.
        replica: Option<Arc<Replica>>,
        /// The time by the store's clock, where it has one of its own; `None`: that of the commit.
        clock: Option<Time>,
    },
    /// To [`Need::Resume`] and [`Need::OpenResume`].
    Resume(Option<Arc<Resume>>),
    /// To [`Need::PastHead`].
    PastHead(Option<Arc<PastHead>>),
}

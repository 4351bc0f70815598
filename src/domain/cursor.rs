//! Where a reader of a session or a thread stands, so that it can go on there after any break.

use super::id::{LogId, Revision, Seq};
use super::path::Tip;
use super::thread::Thread;

/// Where a reader of a session stands: after an entry. An entry's key is its log and seq, and it has one predecessor for
/// ever, so the key alone says what the reader has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The log that the entry lies in.
    pub log: LogId,
    /// Its seq; 0 before the first.
    pub seq: Seq,
    /// The session's revision when the reader was told of it.
    pub revision: Revision,
}

impl Cursor {
    /// After an entry of a log, as it is at a revision.
    pub fn at(tip: &Tip, seq: Seq, revision: Revision) -> Self {
        Self {
            log: tip.log.holder(seq),
            seq,
            revision,
        }
    }

    /// Whether everything that the reader has seen is still there.
    pub fn is_within(&self, tip: &Tip) -> bool {
        tip.covers(self.log, self.seq)
    }
}

/// Where a reader of a thread stands: after a number of items that the thread shares with a session, and then after a
/// change of its own items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadCursor {
    /// The thread's journal: a thread that was seeded anew, or made again, has another.
    pub journal: LogId,
    /// The last entry of the base: its log and seq; 0 where there is none.
    pub base: (LogId, Seq),
    /// Items of the base.
    pub base_items: Seq,
    /// The last item of the base that was read.
    pub item: Seq,
    /// The last change that was read.
    pub change: u64,
    /// Of the items of that change, the last that was read.
    pub after: Seq,
}

impl ThreadCursor {
    /// Before the first item of a thread.
    pub fn start_of(thread: &Thread) -> Self {
        let base = thread.base.as_ref().map_or((thread.journal, Seq::ZERO), |base| {
            (base.log.holder(base.seq()), base.seq())
        });
        Self {
            journal: thread.journal,
            base,
            base_items: thread.base_items(),
            item: Seq::ZERO,
            change: 0,
            after: Seq::ZERO,
        }
    }

    /// The cursor in a thread that has another journal now, and the last item that both have.
    pub fn moved_to(&self, thread: &Thread) -> (Self, Seq) {
        let start = Self::start_of(thread);
        let (log, seq) = self.base;
        let still = thread.base.as_ref().is_some_and(|base| base.covers(log, seq));
        let kept = if still {
            self.item.min(self.base_items)
        } else {
            Seq::ZERO
        };
        (Self { item: kept, ..start }, kept)
    }
}

//! A snapshot that an engine gave, compared with the session on a reader.

use super::Written;
use crate::domain::id::{LogId, Revision, Seq, SessionId, ThreadId};
use crate::domain::path::Tip;
use crate::domain::tally::Tally;
use crate::domain::title::Title;
use crate::domain::usage::Usage;

/// A snapshot that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The thread.
    pub thread: ThreadId,
    /// Its journal when the engine was asked.
    pub journal: LogId,
    /// The epoch it was held under then: a thread that moved meanwhile is another's.
    pub epoch: u64,
    /// The last item that the snapshot covers.
    pub items: Seq,
    /// The session that the request names, if it names one.
    pub requested: Option<SessionId>,
    /// The id of a session that has to be made and is not named by the request.
    pub fresh: SessionId,
    /// The title that the request gives.
    pub title: Option<Title>,
    /// What the caller last saw, if it matters.
    pub expected: Option<Revision>,
    /// The end of the session then; `None`: there was no session.
    pub from: Option<Tip>,
    /// Where the snapshot parts from the session; `None`: it extends it.
    pub cut: Option<Cut>,
    /// What is written.
    pub written: Written,
    /// What the engine says beside messages.
    pub said: Said,
    /// Whether the engine answered with the rest only.
    pub delta: bool,
    /// Of a snapshot in mid-turn, the last entry before that turn.
    pub turn_start: Option<Seq>,
}

/// A place in a session's log that it goes back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The fold of everything that is kept.
    pub tally: Tally,
    /// The preview there.
    pub preview: String,
}

/// What an engine says of a conversation beside messages. Empty texts leave what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Totals, if it keeps any.
    pub usage: Option<Usage>,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The mode.
    pub mode: String,
    /// The workspace.
    pub workspace: String,
    /// The system prompt.
    pub system_prompt: String,
    /// The settings.
    pub settings_json: String,
    /// A title.
    pub title: Option<Title>,
    /// Whether a turn was running.
    pub incomplete_turn: bool,
}

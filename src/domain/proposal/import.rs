//! What an import writes: one or more sessions as a transcript has them, computed on readers and staged.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::id::{LogId, SessionId, Source};
use crate::domain::outcome::Imports;
use crate::domain::path::Tip;
use crate::domain::session::{Origin, Setting, Texts, label_bytes};
use crate::domain::tally::Tally;
use crate::domain::time::Time;
use crate::domain::title::TitleSource;
use crate::domain::usage::Usage;

use super::Written;

/// The end of an import: every session of the transcript becomes visible at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// In the transcript's order; no two of them have one id or one source.
    pub sessions: Vec<Imported>,
    /// What the answer says, these sessions included.
    pub sum: Imports,
}

/// A session of a transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Where it comes from, if that is known.
    pub source: Option<Source>,
    /// The sessions that came from there when the transcript was compared with them, by id; if there are others now,
    /// it is compared again.
    pub seen: Vec<SessionId>,
    /// Where it goes.
    pub place: Place,
    /// What the transcript says of it.
    pub restored: Restored,
    /// What is written.
    pub written: Written,
}

/// Where a transcript's session goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// It is new.
    New {
        /// Its id.
        id: SessionId,
    },
    /// The transcript goes on where a session of the same source ends.
    After {
        /// The session.
        session: SessionId,
        /// Its end then.
        from: Tip,
    },
    /// The transcript goes another way than every session of the same source: a fork of the one it follows longest.
    Branch {
        /// The session that is forked.
        session: SessionId,
        /// The log its head named then.
        log: LogId,
        /// The fold of everything both have.
        cut: Tally,
        /// The preview there.
        preview: String,
        /// The fork's id.
        id: SessionId,
    },
}

/// Facts of a session as a transcript has them. What it does not say is as in a new session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// Title, which may be empty, and who gave it; `None`: the transcript knows no titles, so one is derived.
    pub title: Option<(String, TitleSource)>,
    /// Model and place.
    pub setting: Setting,
    /// Searchable pairs.
    pub labels: BTreeMap<String, String>,
    /// The large texts.
    pub texts: Arc<Texts>,
    /// Marked by a person.
    pub starred: bool,
    /// When it was archived, if it is.
    pub archive_time: Option<Time>,
    /// Where it was forked from, as ids of the place it comes from.
    pub origin: Option<Origin>,
    /// The session it is a part of, likewise.
    pub parent: Option<SessionId>,
    /// What it used.
    pub usage: Option<Used>,
    /// Whether its last snapshot was taken in mid-turn.
    pub incomplete_turn: bool,
    /// When it was made.
    pub create_time: Option<Time>,
    /// When it last changed.
    pub update_time: Option<Time>,
}

impl Restored {
    /// Bytes of its texts: what they take of a commit.
    pub fn text_bytes(&self) -> usize {
        let texts = &*self.texts;
        let large = texts.system_prompt.len() + texts.settings_json.len() + texts.metadata_json.len();
        let title = self.title.as_ref().map_or(0, |(title, _)| title.len());
        large + title + self.setting.text_bytes() + label_bytes(&self.labels)
    }
}

/// What a transcript says that a session used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// The sum over its messages, less the cost that a fork inherited.
    Summed(Usage),
    /// Totals that an engine gave.
    Told(Usage),
}

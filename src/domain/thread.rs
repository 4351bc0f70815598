//! A live conversation: its own turns and items on top of a base it shares with a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::id::{EngineId, LogId, Namespace, Seq, SessionId, ThreadId, TurnId};
use super::path::Tip;
use super::query::ThreadKey;
use super::session::{ROW_BYTES, Setting, label_bytes};
use super::time::Time;

/// Sessions that one thread is saved to; a save to one more is refused.
pub const MARKS_MAX: usize = 16;

/// Whether a thread takes turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Takes turns.
    #[default]
    Open,
    /// Takes none until it is reopened.
    Closed,
    /// Put away; takes none.
    Archived,
}

/// Everything of a thread that its turns leave as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Empty until given.
    pub title: String,
    /// Model and place.
    pub setting: Setting,
    /// Searchable pairs.
    pub labels: BTreeMap<String, String>,
    /// The large texts.
    pub texts: Arc<Texts>,
    /// Whether it takes turns.
    pub state: State,
}

/// The large texts of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// What the model is told first.
    pub system_prompt: String,
    /// Rails and preferences as JSON.
    pub settings_json: String,
}

/// How far a thread was saved into a session; a later save starts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveMark {
    /// The session.
    pub session: SessionId,
    /// The log of the last entry saved.
    pub log: LogId,
    /// Its seq.
    pub seq: Seq,
    /// Messages in the session then; more now means that somebody else wrote.
    pub messages: u64,
    /// The last item saved.
    pub item: Seq,
    /// Set by a snapshot in mid-turn: the entries after this one are of that turn, and a save writes the
    /// whole turn in their place.
    pub turn_start: Option<Seq>,
}

/// A live conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Where its id is unique.
    pub namespace: Namespace,
    /// Its id.
    pub id: ThreadId,
    /// Where its own turns and items lie.
    pub journal: LogId,
    /// What it was seeded with: shared with a session, never copied.
    pub base: Option<Tip>,
    /// What turns leave as it is.
    pub profile: Arc<Profile>,
    /// The session it is saved to.
    pub session: Option<SessionId>,
    /// The engine that owns it.
    pub engine: Option<EngineId>,
    /// That engine's epoch; 0 where it never had one.
    pub epoch: u64,
    /// The turn that runs.
    pub active_turn: Option<TurnId>,
    /// Turns, those of the base included.
    pub turns: u64,
    /// Items, those of the base included: the seq of the last.
    pub items: u64,
    /// Own items that are queued or in progress.
    pub open_items: u64,
    /// Grows by one with every commit that changes the thread.
    pub change: u64,
    /// How far it was saved, oldest first.
    pub marks: Vec<SaveMark>,
    /// When it was made.
    pub create_time: Time,
    /// Of the last change.
    pub update_time: Time,
}

impl Thread {
    /// A new thread, without an engine and without a base.
    pub fn new(ns: &Namespace, id: &ThreadId, journal: LogId, draft: &Draft, now: Time) -> Self {
        let profile = Profile {
            title: draft.title.clone(),
            setting: draft.setting.clone(),
            labels: draft.labels.clone(),
            texts: Arc::new(draft.texts.clone()),
            state: draft.state,
        };
        Self {
            namespace: ns.clone(),
            id: id.clone(),
            journal,
            base: None,
            profile: Arc::new(profile),
            session: None,
            engine: None,
            epoch: 0,
            active_turn: None,
            turns: 0,
            items: 0,
            open_items: 0,
            change: 1,
            marks: Vec::new(),
            create_time: now,
            update_time: now,
        }
    }

    /// The same thread after a change at `now`.
    #[must_use]
    pub fn touched(&self, now: Time) -> Self {
        Self {
            change: self.change + 1,
            update_time: now.max(self.update_time),
            ..self.clone()
        }
    }

    /// How far it was saved into `session`.
    pub fn mark(&self, session: &SessionId) -> Option<&SaveMark> {
        self.marks.iter().find(|mark| &mark.session == session)
    }

    /// Bytes of its texts: what a page counts.
    pub fn text_bytes(&self) -> usize {
        let Profile {
            title,
            setting,
            labels,
            texts,
            ..
        } = &*self.profile;
        let large = texts.system_prompt.len() + texts.settings_json.len();
        large + title.len() + setting.text_bytes() + label_bytes(labels) + ROW_BYTES
    }

    /// Where it stands among threads.
    pub fn key(&self) -> ThreadKey {
        ThreadKey {
            update_time: self.update_time,
            id: self.id.clone(),
        }
    }

    /// The last item of the base; own items follow.
    pub fn base_items(&self) -> Seq {
        self.base.as_ref().map_or(Seq::ZERO, |base| Seq(base.tally.items))
    }
}

/// What a new thread is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its title; empty for none.
    pub title: String,
    /// Model and place.
    pub setting: Setting,
    /// Searchable pairs.
    pub labels: BTreeMap<String, String>,
    /// The large texts.
    pub texts: Texts,
    /// Whether it takes turns.
    pub state: State,
}

/// What an update sets; `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The title; empty for none.
    pub title: Option<String>,
    /// The workspace.
    pub workspace: Option<String>,
    /// The provider.
    pub provider: Option<String>,
    /// The endpoint.
    pub endpoint: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The mode.
    pub mode: Option<String>,
    /// The task type.
    pub task_type: Option<String>,
    /// The system prompt.
    pub system_prompt: Option<String>,
    /// All labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The settings.
    pub settings_json: Option<String>,
    /// Whether it takes turns.
    pub state: Option<State>,
}

//! What lists are asked for, and how a page goes on.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::id::{EngineId, Namespace, ResumeId, Seq, SessionId, ThreadId, TurnId};
use super::resume;
use super::session;
use super::thread;
use super::time::Time;
use super::turn::Item;

/// How much one page may hold: it ends at whichever comes first, but has one row at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Rows.
    pub rows: usize,
    /// Bytes of bodies and texts.
    pub bytes: usize,
}

/// Rows, and where the next page starts; `None`: there is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, K> {
    /// In order.
    pub rows: Vec<T>,
    /// The key that the next page follows.
    pub next: Option<K>,
}

/// Which sessions, and in what order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Of this namespace.
    pub namespace: Namespace,
    /// In any of these states; never empty.
    pub states: Vec<session::State>,
    /// Of this workspace.
    pub workspace: Option<String>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// With this in the title, in any case.
    pub title_contains: Option<String>,
    /// With an id that begins so.
    pub id_prefix: Option<String>,
    /// Starred or not.
    pub starred: Option<bool>,
    /// With or without a user's words.
    pub has_user_interaction: Option<bool>,
    /// Forked from this session.
    pub origin: Option<SessionId>,
    /// Parts of this session; `Some(None)`: roots alone.
    pub parent: Option<Option<SessionId>>,
    /// Changed after this time.
    pub updated_after: Option<Time>,
    /// Changed before this time.
    pub updated_before: Option<Time>,
    /// In this order.
    pub order: Order,
}

/// How sessions are ordered; ties by id, in the same direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// The last changed first.
    #[default]
    UpdateTimeDesc,
    /// The longest unchanged first.
    UpdateTimeAsc,
    /// The newest first.
    CreateTimeDesc,
    /// The oldest first.
    CreateTimeAsc,
    /// By title, code point by code point.
    TitleAsc,
    /// By title, backwards.
    TitleDesc,
}

/// The row a page of sessions ended at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    /// Its place in the order.
    pub place: Place,
    /// Its id.
    pub id: SessionId,
}

/// A value that rows are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// By time.
    Time(Time),
    /// By title.
    Title(String),
}

impl Sessions {
    /// Whether the filters let `session` through.
    pub fn admits(&self, session: &session::Session) -> bool {
        let profile = &session.profile;
        let contains = |part: &String| profile.title.to_lowercase().contains(&part.to_lowercase());
        self.states.contains(&profile.state)
            && self
                .workspace
                .as_ref()
                .is_none_or(|workspace| *workspace == profile.setting.workspace)
            && self
                .labels
                .iter()
                .all(|(key, value)| profile.labels.get(key) == Some(value))
            && self.title_contains.as_ref().is_none_or(contains)
            && self
                .id_prefix
                .as_ref()
                .is_none_or(|prefix| session.id.as_str().starts_with(prefix))
            && self.starred.is_none_or(|starred| starred == profile.starred)
            && self
                .has_user_interaction
                .is_none_or(|has| has == session.tip.tally.has_user_interaction())
            && self
                .origin
                .as_ref()
                .is_none_or(|origin| profile.origin.as_ref().is_some_and(|o| o.session == *origin))
            && self
                .parent
                .as_ref()
                .is_none_or(|parent| *parent == profile.parent)
            && self.updated_after.is_none_or(|time| session.update_time > time)
            && self.updated_before.is_none_or(|time| session.update_time < time)
    }

    /// Where `session` stands in the order.
    pub fn key(&self, session: &session::Session) -> SessionKey {
        let place = match self.order {
            Order::UpdateTimeDesc | Order::UpdateTimeAsc => Place::Time(session.update_time),
            Order::CreateTimeDesc | Order::CreateTimeAsc => Place::Time(session.profile.create_time),
            Order::TitleAsc | Order::TitleDesc => Place::Title(session.profile.title.clone()),
        };
        SessionKey {
            place,
            id: session.id.clone(),
        }
    }
}

impl Order {
    /// How two rows stand to each other in this order.
    pub fn compare(self, a: &SessionKey, b: &SessionKey) -> Ordering {
        let ascending = (&a.place, &a.id).cmp(&(&b.place, &b.id));
        if self.is_descending() {
            ascending.reverse()
        } else {
            ascending
        }
    }

    /// Whether larger values come first.
    pub fn is_descending(self) -> bool {
        match self {
            Self::UpdateTimeDesc | Self::CreateTimeDesc | Self::TitleDesc => true,
            Self::UpdateTimeAsc | Self::CreateTimeAsc | Self::TitleAsc => false,
        }
    }
}

/// Which threads; the last changed first, ties by id downwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Of this namespace.
    pub namespace: Namespace,
    /// In any of these states; empty means any.
    pub states: Vec<thread::State>,
    /// Linked to this session.
    pub session: Option<SessionId>,
    /// Owned by this engine.
    pub engine: Option<EngineId>,
}

impl Threads {
    /// Whether the filters let `thread` through.
    pub fn admits(&self, thread: &thread::Thread) -> bool {
        (self.states.is_empty() || self.states.contains(&thread.profile.state))
            && self
                .session
                .as_ref()
                .is_none_or(|session| thread.session.as_ref() == Some(session))
            && self
                .engine
                .as_ref()
                .is_none_or(|engine| thread.engine.as_ref() == Some(engine))
    }
}

/// The row a page of threads ended at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ThreadKey {
    /// Its last change.
    pub update_time: Time,
    /// Its id.
    pub id: ThreadId,
}

/// Which resumes; the newest first, ties by id downwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumes {
    /// Of this namespace; `None`: of all.
    pub namespace: Option<Namespace>,
    /// In any of these states; empty means any.
    pub states: Vec<resume::State>,
    /// Of this session.
    pub session: Option<SessionId>,
    /// Into this thread.
    pub thread: Option<ThreadId>,
    /// Into this engine.
    pub engine: Option<EngineId>,
}

impl Resumes {
    /// Whether the filters let `resume` through.
    pub fn admits(&self, resume: &resume::Resume) -> bool {
        let of_thread = self.thread.as_ref().is_none_or(|thread| *thread == resume.thread);
        let of_engine = self
            .engine
            .as_ref()
            .is_none_or(|engine| resume.engine.as_ref() == Some(engine));
        (self.namespace.as_ref()).is_none_or(|namespace| *namespace == resume.namespace)
            && (self.states.is_empty() || self.states.contains(&resume.state))
            && self
                .session
                .as_ref()
                .is_none_or(|session| *session == resume.session)
            && of_thread
            && of_engine
    }
}

/// The row a page of resumes ended at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResumeKey {
    /// When it was asked for.
    pub create_time: Time,
    /// Its id.
    pub id: ResumeId,
}

/// Which entries of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Exclusive.
    pub after: Seq,
    /// Inclusive.
    pub to: Seq,
    /// From which end a page is filled; its rows ascend in any case.
    pub from: End,
}

/// An end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The first rows.
    Oldest,
    /// The last rows.
    Newest,
}

/// Items of a journal in the order of their changes: those after a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedItems {
    /// A change number.
    pub change: u64,
    /// Of the items of that change, those after this one.
    pub after: Seq,
    /// The last change that is asked for.
    pub to: u64,
}

impl ChangedItems {
    /// Whether an item is among them.
    pub fn admits(&self, item: &Item) -> bool {
        (item.change, item.seq) > (self.change, self.after) && item.change <= self.to
    }
}

/// Which items of a journal: those after a seq, of one turn or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    /// Of this turn.
    pub turn: Option<TurnId>,
    /// Exclusive.
    pub after: Seq,
}

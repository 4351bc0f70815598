//! How long sessions are kept: what a prune takes, and what a namespace's policy takes in time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::id::Namespace;
use super::session::{Session, State};
use super::time::Time;

/// What becomes of a session that is pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is put away.
    Archive,
    /// It is deleted softly, with its sub-sessions.
    Delete {
        /// How long it can be restored.
        purge_after: Duration,
    },
}

/// Which sessions a prune takes; those that are in use never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of them.
    pub action: Action,
    /// They are in one of these states.
    pub states: Vec<State>,
    /// Whether starred ones are taken too.
    pub takes_starred: bool,
    /// They were last updated before this time.
    pub before: Option<Time>,
    /// An import last wrote to them before this time, if one ever did.
    pub arrived_before: Option<Time>,
}

impl Rule {
    /// Whether the session by itself may be taken.
    pub fn takes(&self, session: &Session) -> bool {
        let done = match self.action {
            Action::Archive => session.profile.state == State::Archived,
            Action::Delete { .. } => session.profile.state == State::Deleted,
        };
        let arrival = session.profile.arrival;
        let is_new = arrival.is_some_and(|arrival| self.arrived_before.is_some_and(|time| arrival >= time));
        !done
            && !is_new
            && self.states.contains(&session.profile.state)
            && (self.takes_starred || !session.profile.starred)
            && self.before.is_none_or(|time| session.update_time < time)
    }
}

/// How long a namespace keeps its sessions; nothing that is `None` is ever done. Starred sessions stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Active sessions that were not updated for this long go. With `keep_per_workspace`, both must hold.
    pub max_age: Option<Duration>,
    /// Active sessions go but for this many of each workspace.
    pub keep_per_workspace: Option<u64>,
    /// Whether those that go are archived, not deleted.
    pub archive_first: bool,
    /// Archived sessions that were not updated for this long are deleted.
    pub delete_archived_after: Option<Duration>,
}

impl Policy {
    /// Whether it never does anything.
    pub fn is_off(&self) -> bool {
        self.max_age.is_none() && self.keep_per_workspace.is_none() && self.delete_archived_after.is_none()
    }
}

/// The policies of all namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Of namespaces without one of their own.
    pub default: Policy,
    /// Those that namespaces have of their own.
    pub namespaces: BTreeMap<Namespace, Policy>,
}

impl Policies {
    /// The policy of a namespace.
    pub fn of(&self, ns: &Namespace) -> &Policy {
        self.namespaces.get(ns).unwrap_or(&self.default)
    }

    /// Whether none of them ever does anything.
    pub fn are_off(&self) -> bool {
        self.default.is_off() && self.namespaces.values().all(Policy::is_off)
    }
}

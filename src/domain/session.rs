//! A saved conversation: head facts over the end of a log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::id::{EntryId, Namespace, Revision, SessionId, Source, ThreadId};
use super::path::Tip;
use super::time::Time;
use super::title::{Title, TitleSource};
use super::usage::Usage;

/// What a page takes a session or thread for, its large texts left aside.
pub const ROW_BYTES: usize = 512;

/// Whether a session is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// In use.
    #[default]
    Active,
    /// Put away; still takes writes.
    Archived,
    /// Deleted, until the purge; reads only.
    Deleted,
}

/// What conversation and model settings sessions and threads share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The folder or project it belongs to, resolved lexically.
    pub workspace: String,
    /// Who serves the model.
    pub provider: String,
    /// Where it is served.
    pub endpoint: String,
    /// The model's name.
    pub model: String,
    /// The agent's mode.
    pub mode: String,
    /// What kind of task it is.
    pub task_type: String,
}

impl Setting {
    /// Bytes of all of it.
    pub fn text_bytes(&self) -> usize {
        let Self {
            workspace,
            provider,
            endpoint,
            model,
            mode,
            task_type,
        } = self;
        [workspace, provider, endpoint, model, mode, task_type]
            .map(String::len)
            .iter()
            .sum()
    }
}

/// Bytes of labels: what a page counts.
pub fn label_bytes(labels: &BTreeMap<String, String>) -> usize {
    labels.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// The large texts of a session, shared between its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// What the model is told first.
    pub system_prompt: String,
    /// Rails and preferences as JSON; copied to forks.
    pub settings_json: String,
    /// The client's own facts as JSON; not copied.
    pub metadata_json: String,
}

/// Where a fork comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The session it was forked from.
    pub session: SessionId,
    /// The last shared entry; 0 = none.
    pub entry_seq: u64,
    /// Visible messages shared.
    pub message_count: u64,
    /// The session at the root of all forks.
    pub root: SessionId,
    /// Forks between the root and this, from 1.
    pub depth: u32,
}

/// Everything of a session that an append leaves as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Empty until given or derived.
    pub title: String,
    /// Who the title comes from.
    pub title_source: TitleSource,
    /// Model and place.
    pub setting: Setting,
    /// Searchable pairs.
    pub labels: BTreeMap<String, String>,
    /// The large texts.
    pub texts: Arc<Texts>,
    /// Whether it is in use.
    pub state: State,
    /// Marked by a person.
    pub starred: bool,
    /// The thread it is written by.
    pub thread: Option<ThreadId>,
    /// Where it was forked from.
    pub origin: Option<Origin>,
    /// The session it is a part of.
    pub parent: Option<SessionId>,
    /// The transcript it was imported from; never shown.
    pub source: Option<Source>,
    /// Totals that a snapshot gave, in place of the sum over messages.
    pub usage_total: Option<Usage>,
    /// The cost at the cut of a fork, which its own cost leaves out.
    pub inherited_cost_micros: u64,
    /// The last snapshot was taken in mid-turn.
    pub incomplete_turn: bool,
    /// When it was made.
    pub create_time: Time,
    /// When it was archived.
    pub archive_time: Option<Time>,
    /// When an import last wrote to it: its other times are those of the transcript. Never shown.
    pub arrival: Option<Time>,
    /// When it was deleted, and by the deletion of which session.
    pub deletion: Option<Deletion>,
}

/// A soft deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When.
    pub time: Time,
    /// When it is purged.
    pub purge_time: Time,
    /// The session whose deletion took this one with it: itself, or an ancestor.
    pub root: SessionId,
}

/// A saved conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Where its id is unique.
    pub namespace: Namespace,
    /// Its id.
    pub id: SessionId,
    /// What an append leaves as it is.
    pub profile: Arc<Profile>,
    /// The end of its log.
    pub tip: Tip,
    /// How often the log has changed.
    pub revision: Revision,
    /// The last user text, 120 characters; empty where there is none.
    pub preview: String,
    /// Grows by one with any change of the resource.
    pub generation: u64,
    /// Of the last change.
    pub update_time: Time,
}

impl Session {
    /// The freshness token of the whole resource.
    pub fn etag(&self) -> Etag {
        Etag(format!("{:x}-{:x}", self.profile.create_time.0, self.generation))
    }

    /// What it used: a snapshot's totals, else the sum over messages less what a fork inherited.
    pub fn usage(&self) -> Usage {
        let mut usage = self.profile.usage_total.unwrap_or(self.tip.tally.usage);
        if self.profile.usage_total.is_none() {
            usage.cost_micros = usage
                .cost_micros
                .saturating_sub(self.profile.inherited_cost_micros);
        }
        usage
    }

    /// The session that it was forked from, or that it is a part of: where it hangs in a tree.
    pub fn above(&self) -> Option<&SessionId> {
        let origin = self.profile.origin.as_ref().map(|origin| &origin.session);
        origin.or(self.profile.parent.as_ref())
    }

    /// Whether this is an earlier state of the same session. One that was removed and made anew is another.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.profile.create_time == other.profile.create_time && self.generation < other.generation
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
        let large = texts.system_prompt.len() + texts.settings_json.len() + texts.metadata_json.len();
        let small = title.len() + self.preview.len() + setting.text_bytes() + label_bytes(labels);
        large + small + ROW_BYTES
    }

    /// The same session after a change at `now`.
    #[must_use]
    pub fn touched(&self, now: Time) -> Self {
        Self {
            generation: self.generation + 1,
            update_time: now.max(self.update_time),
            ..self.clone()
        }
    }
}

/// An opaque freshness token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag(pub String);

/// What a new session is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its title, if given.
    pub title: Option<Title>,
    /// Model and place.
    pub setting: Setting,
    /// Searchable pairs.
    pub labels: BTreeMap<String, String>,
    /// The large texts.
    pub texts: Texts,
    /// Marked by a person.
    pub starred: bool,
    /// Active, or archived at once; never deleted.
    pub archived: Archived,
    /// The session it is a part of.
    pub parent: Option<SessionId>,
}

/// Whether a session is put away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Archived {
    /// In use.
    #[default]
    No,
    /// Put away.
    Yes,
}

/// What an update sets; `None` leaves as it is. A cleared title is `Some(None)`: what a user
/// says next gives one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The title.
    pub title: Option<Option<Title>>,
    /// All labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The star.
    pub starred: Option<bool>,
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
    /// The settings.
    pub settings_json: Option<String>,
    /// The metadata.
    pub metadata_json: Option<String>,
    /// Active or archived.
    pub archived: Option<Archived>,
}

/// A message cut off by a fork, for a client to offer for editing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its id in the session it was cut from.
    pub entry: EntryId,
    /// Its seq there.
    pub seq: super::id::Seq,
}

/// The workspace as stored: trimmed, `.` and `..` segments and a trailing `/` resolved lexically.
pub fn workspace(value: &str) -> String {
    let value = value.trim();
    let rooted = value.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for segment in value.split('/') {
        match segment {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => {
                kept.pop();
            }
            ".." if rooted => {}
            other => kept.push(other),
        }
    }
    let path = kept.join("/");
    if rooted { format!("/{path}") } else { path }
}

#[cfg(test)]
mod tests {
    use super::workspace;

    #[test]
    fn workspaces() {
        for (given, kept) in [
            ("", ""),
            ("  ", ""),
            (" /a/b/ ", "/a/b"),
            ("/a/./b/../c//", "/a/c"),
            ("/..", "/"),
            ("/", "/"),
            ("a/../..", ".."),
            ("../a", "../a"),
            ("C:\\x", "C:\\x"),
        ] {
            assert_eq!(workspace(given), kept, "{given:?}");
        }
    }
}

//! What a header says of its session, and what of it can be used.
//!
//! A fact of the wrong kind, or beyond its limit, is left out alone, and said; one that is null is not there. Counts are
//! not read back, but for that of the entries: it tells a file that lost its end at the end of a line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::body;
use crate::domain::limits::SETTING_CHARS_MAX;
use crate::domain::proposal::{Restored, Used};
use crate::domain::session::{Origin, Setting, Texts, workspace};
use crate::domain::title::{Title, TitleSource};
use crate::domain::{Invalid, Limits, SessionId, Time, Usage};

use super::facts::{ARCHIVED, OriginJson, UsageJson};
use super::{Head, time_of};

/// A session's facts as they are read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    session_id: Fact<String>,
    /// Absent: the text knows no titles.
    title: Fact<String>,
    title_source: Fact<String>,
    workspace: Fact<String>,
    provider: Fact<String>,
    endpoint: Fact<String>,
    model: Fact<String>,
    mode: Fact<String>,
    task_type: Fact<String>,
    system_prompt: Fact<String>,
    labels: Fact<BTreeMap<String, String>>,
    settings_json: Fact<String>,
    metadata_json: Fact<String>,
    usage: Fact<UsageJson>,
    usage_told: Fact<bool>,
    entry_count: Fact<u64>,
    state: Fact<String>,
    starred: Fact<bool>,
    origin: Fact<OriginJson>,
    parent_session_id: Fact<String>,
    incomplete_turn: Fact<bool>,
    create_time: Fact<String>,
    update_time: Fact<String>,
    archive_time: Fact<String>,
}

/// A fact as it stands.
#[derive(Default)]
enum Fact<T> {
    /// Not there.
    #[default]
    Absent,
    /// There.
    Said(T),
    /// There, and not of its kind.
    Wrong,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Fact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Option::<&RawValue>::deserialize(deserializer)?;
        Ok(match raw.map(|raw| serde_json::from_str(raw.get())) {
            None => Self::Absent,
            Some(Ok(fact)) => Self::Said(fact),
            Some(Err(_)) => Self::Wrong,
        })
    }
}

impl Told {
    /// What of these facts can be used.
    pub(super) fn head(self, now: Time, limits: &Limits) -> Head {
        let mut usable = Usable {
            limits,
            problems: Vec::new(),
        };
        let id = usable.id(self.session_id, "session_id");
        let parent = usable.id(self.parent_session_id, "parent_session_id");
        if parent.is_some() && parent == id {
            usable.problem(&"parent_session_id: is the session itself");
        }
        let update_time = usable.time(self.update_time, "update_time");
        let archive_time = usable.time(self.archive_time, "archive_time");
        let state: String = usable.plain(self.state, "state");
        let archived = state == ARCHIVED || archive_time.is_some();
        let usage = usable.of_kind(self.usage, "usage").map(Usage::from);
        let used = if usable.plain(self.usage_told, "usage_told") {
            Used::Told
        } else {
            Used::Summed
        };
        let place: String = usable.plain(self.workspace, "workspace");
        let restored = Restored {
            title: usable.title(self.title, self.title_source),
            setting: Setting {
                workspace: usable.short(Fact::Said(workspace(&place)), "workspace"),
                provider: usable.short(self.provider, "provider"),
                endpoint: usable.short(self.endpoint, "endpoint"),
                model: usable.short(self.model, "model"),
                mode: usable.short(self.mode, "mode"),
                task_type: usable.short(self.task_type, "task_type"),
            },
            labels: usable.labels(self.labels),
            texts: Arc::new(Texts {
                system_prompt: usable.text(self.system_prompt, "system_prompt"),
                settings_json: usable.json(self.settings_json, "settings_json"),
                metadata_json: usable.json(self.metadata_json, "metadata_json"),
            }),
            starred: usable.plain(self.starred, "starred"),
            archive_time: archived.then(|| archive_time.or(update_time).unwrap_or(now)),
            origin: usable
                .of_kind(self.origin, "origin")
                .and_then(|origin| usable.origin(&origin)),
            parent: parent.filter(|parent| Some(parent) != id.as_ref()),
            usage: usage.map(used),
            incomplete_turn: usable.plain(self.incomplete_turn, "incomplete_turn"),
            create_time: usable.time(self.create_time, "create_time"),
            update_time,
        };
        let entries = match self.entry_count {
            Fact::Said(count) => Some(count),
            Fact::Absent | Fact::Wrong => None,
        };
        Head {
            id,
            restored,
            entries,
            problems: usable.problems,
        }
    }
}

/// Takes facts one by one, and notes which cannot be used.
struct Usable<'a> {
    limits: &'a Limits,
    problems: Vec<String>,
}

impl Usable<'_> {
    fn problem(&mut self, problem: &impl fmt::Display) {
        self.problems.push(format!("session.{problem}"));
    }

    fn unless<T: Default>(&mut self, checked: Result<T, Invalid>) -> T {
        checked.unwrap_or_else(|invalid| {
            self.problem(&invalid);
            T::default()
        })
    }

    fn of_kind<T>(&mut self, fact: Fact<T>, field: &str) -> Option<T> {
        match fact {
            Fact::Absent => None,
            Fact::Said(fact) => Some(fact),
            Fact::Wrong => {
                self.problem(&format_args!("{field}: has a value of the wrong kind"));
                None
            }
        }
    }

    fn plain<T: Default>(&mut self, fact: Fact<T>, field: &str) -> T {
        self.of_kind(fact, field).unwrap_or_default()
    }

    fn id(&mut self, fact: Fact<String>, field: &str) -> Option<SessionId> {
        let text = self.of_kind(fact, field).filter(|text| !text.is_empty())?;
        self.unless(SessionId::parse(&text, field).map(Some))
    }

    fn time(&mut self, fact: Fact<String>, field: &str) -> Option<Time> {
        let text = self.of_kind(fact, field)?;
        match time_of(&text, field) {
            Ok(time) => Some(time),
            Err(problem) => {
                self.problem(&problem);
                None
            }
        }
    }

    fn title(&mut self, title: Fact<String>, source: Fact<String>) -> Option<(String, TitleSource)> {
        let source: String = self.plain(source, "title_source");
        let source = match source.as_str() {
            "USER" => TitleSource::User,
            "ENGINE" => TitleSource::Engine,
            _ => TitleSource::Derived,
        };
        let title = self.of_kind(title, "title")?;
        if title.is_empty() {
            return Some((title, source));
        }
        let title = Title::parse(&title, "title", self.limits.title_chars_max);
        let title = title.map(|title| Some((title.as_str().to_owned(), source)));
        self.unless(title)
    }

    fn short(&mut self, fact: Fact<String>, field: &str) -> String {
        let text: String = self.plain(fact, field);
        let long = text.len() > SETTING_CHARS_MAX && text.chars().count() > SETTING_CHARS_MAX;
        let limit = || Invalid::limit(field, "setting_chars_max", SETTING_CHARS_MAX as u64);
        self.unless(if long { Err(limit()) } else { Ok(text) })
    }

    fn text(&mut self, fact: Fact<String>, field: &str) -> String {
        let text: String = self.plain(fact, field);
        let max = self.limits.text_bytes_max;
        let limit = || Invalid::limit(field, "text_bytes_max", max as u64);
        self.unless(if text.len() > max { Err(limit()) } else { Ok(text) })
    }

    fn json(&mut self, fact: Fact<String>, field: &str) -> String {
        let text: String = self.plain(fact, field);
        let checked = body::well_formed(&text, field, self.limits.text_bytes_max);
        self.unless(checked.map(|()| text))
    }

    fn labels(&mut self, labels: Fact<BTreeMap<String, String>>) -> BTreeMap<String, String> {
        let labels: BTreeMap<_, _> = self.plain(labels, "labels");
        let Limits {
            labels_max,
            label_key_chars_max,
            label_value_chars_max,
            ..
        } = *self.limits;
        let long = |text: &str, max: usize| text.chars().count() > max;
        let limit = if labels.len() > labels_max {
            Some(("labels_max", labels_max))
        } else if labels.keys().any(|key| long(key, label_key_chars_max)) {
            Some(("label_key_chars_max", label_key_chars_max))
        } else if labels.values().any(|value| long(value, label_value_chars_max)) {
            Some(("label_value_chars_max", label_value_chars_max))
        } else {
            None
        };
        let checked = limit.map_or(Ok(labels), |(limit, max)| {
            Err(Invalid::limit("labels", limit, max as u64))
        });
        self.unless(checked)
    }

    fn origin(&mut self, origin: &OriginJson) -> Option<Origin> {
        let id = |text: &str| Fact::Said(text.to_owned());
        let session = self.id(id(&origin.session_id), "origin.session_id")?;
        let root = self.id(id(&origin.root_session_id), "origin.root_session_id");
        Some(Origin {
            entry_seq: origin.entry_seq,
            message_count: origin.message_count,
            root: root.unwrap_or_else(|| session.clone()),
            depth: origin.depth.max(1),
            session,
        })
    }
}

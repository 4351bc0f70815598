//! The facts of a session in its header line.
//!
//! Counts, preview and `has_user_interaction` follow from the entries and are there for readers; they are never read
//! back. A fact that cannot be used is left out alone, and said.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::body;
use crate::domain::limits::SETTING_CHARS_MAX;
use crate::domain::proposal::{Restored, Used};
use crate::domain::session::{Origin, Setting, Texts, workspace};
use crate::domain::title::{Title, TitleSource};
use crate::domain::{Invalid, Limits, Session, SessionId, Time, Usage};

use super::{Head, time_of, time_text};

/// A session's facts as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    session_id: String,
    /// `None`: the text knows no titles.
    title: Option<String>,
    title_source: String,
    workspace: String,
    provider: String,
    endpoint: String,
    model: String,
    mode: String,
    task_type: String,
    system_prompt: String,
    labels: BTreeMap<String, String>,
    settings_json: String,
    metadata_json: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageJson>,
    /// The usage is what an engine told, not the sum over messages.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    usage_told: bool,
    message_count: u64,
    entry_count: u64,
    has_user_interaction: bool,
    state: String,
    starred: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<OriginJson>,
    parent_session_id: String,
    preview: String,
    incomplete_turn: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive_time: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct UsageJson {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    reasoning_tokens: u64,
    cost_micros: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct OriginJson {
    session_id: String,
    entry_seq: u64,
    message_count: u64,
    root_session_id: String,
    depth: u32,
}

const ACTIVE: &str = "ACTIVE";
const ARCHIVED: &str = "ARCHIVED";

impl From<&Session> for Facts {
    fn from(session: &Session) -> Self {
        let (profile, tally) = (&*session.profile, &session.tip.tally);
        let (setting, texts) = (profile.setting.clone(), &*profile.texts);
        Self {
            session_id: session.id.to_string(),
            title: Some(profile.title.clone()),
            title_source: source_name(profile.title_source).to_owned(),
            workspace: setting.workspace,
            provider: setting.provider,
            endpoint: setting.endpoint,
            model: setting.model,
            mode: setting.mode,
            task_type: setting.task_type,
            system_prompt: texts.system_prompt.clone(),
            labels: profile.labels.clone(),
            settings_json: texts.settings_json.clone(),
            metadata_json: texts.metadata_json.clone(),
            usage: Some(session.usage().into()),
            usage_told: profile.usage_total.is_some(),
            message_count: tally.visible,
            entry_count: tally.entries,
            has_user_interaction: tally.has_user_interaction(),
            // A deletion belongs to the place; what it would come back to is what counts.
            state: if profile.archive_time.is_some() {
                ARCHIVED
            } else {
                ACTIVE
            }
            .to_owned(),
            starred: profile.starred,
            origin: profile.origin.as_ref().map(OriginJson::from),
            parent_session_id: profile
                .parent
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            preview: session.preview.clone(),
            incomplete_turn: profile.incomplete_turn,
            create_time: Some(time_text(profile.create_time)),
            update_time: Some(time_text(session.update_time)),
            archive_time: profile.archive_time.map(time_text),
        }
    }
}

impl Facts {
    /// What of these facts can be used.
    pub(super) fn head(self, now: Time, limits: &Limits) -> Head {
        let mut usable = Usable {
            limits,
            problems: Vec::new(),
        };
        let id = usable.id(&self.session_id, "session_id");
        let parent = usable.id(&self.parent_session_id, "parent_session_id");
        if parent.is_some() && parent == id {
            usable.problem(&"parent_session_id: is the session itself");
        }
        let update_time = usable.time(self.update_time.as_deref(), "update_time");
        let archive_time = usable.time(self.archive_time.as_deref(), "archive_time");
        let archived = self.state == ARCHIVED || archive_time.is_some();
        let usage = self.usage.map(Usage::from);
        let restored = Restored {
            title: usable.title(self.title, &self.title_source),
            setting: Setting {
                workspace: usable.short(workspace(&self.workspace), "workspace"),
                provider: usable.short(self.provider, "provider"),
                endpoint: usable.short(self.endpoint, "endpoint"),
                model: usable.short(self.model, "model"),
                mode: usable.short(self.mode, "mode"),
                task_type: usable.short(self.task_type, "task_type"),
            },
            labels: usable.labels(self.labels),
            texts: Texts {
                system_prompt: usable.text(self.system_prompt, "system_prompt"),
                settings_json: usable.json(self.settings_json, "settings_json"),
                metadata_json: usable.json(self.metadata_json, "metadata_json"),
            },
            starred: self.starred,
            archive_time: archived.then(|| archive_time.or(update_time).unwrap_or(now)),
            origin: self.origin.and_then(|origin| usable.origin(&origin)),
            parent: parent.filter(|parent| Some(parent) != id.as_ref()),
            usage: usage.map(if self.usage_told { Used::Told } else { Used::Summed }),
            incomplete_turn: self.incomplete_turn,
            create_time: usable.time(self.create_time.as_deref(), "create_time"),
            update_time,
        };
        Head {
            id,
            restored,
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

    fn id(&mut self, text: &str, field: &str) -> Option<SessionId> {
        if text.is_empty() {
            return None;
        }
        self.unless(SessionId::parse(text, field).map(Some))
    }

    fn time(&mut self, text: Option<&str>, field: &str) -> Option<Time> {
        let time = text.map(|text| time_of(text, field)).transpose();
        time.unwrap_or_else(|problem| {
            self.problem(&problem);
            None
        })
    }

    fn title(&mut self, title: Option<String>, source: &str) -> Option<(String, TitleSource)> {
        let title = title?;
        let source = match source {
            "USER" => TitleSource::User,
            "ENGINE" => TitleSource::Engine,
            _ => TitleSource::Derived,
        };
        if title.is_empty() {
            return Some((title, source));
        }
        let title = Title::parse(&title, "title", self.limits.title_chars_max);
        let title = title.map(|title| Some((title.as_str().to_owned(), source)));
        self.unless(title)
    }

    fn short(&mut self, text: String, field: &str) -> String {
        let long = text.len() > SETTING_CHARS_MAX && text.chars().count() > SETTING_CHARS_MAX;
        let limit = || Invalid::limit(field, "setting_chars_max", SETTING_CHARS_MAX as u64);
        self.unless(if long { Err(limit()) } else { Ok(text) })
    }

    fn text(&mut self, text: String, field: &str) -> String {
        let max = self.limits.text_bytes_max;
        let limit = || Invalid::limit(field, "text_bytes_max", max as u64);
        self.unless(if text.len() > max { Err(limit()) } else { Ok(text) })
    }

    fn json(&mut self, text: String, field: &str) -> String {
        let checked = body::well_formed(&text, field, self.limits.text_bytes_max);
        self.unless(checked.map(|()| text))
    }

    fn labels(&mut self, labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
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
        let session = self.id(&origin.session_id, "origin.session_id")?;
        let root = self.id(&origin.root_session_id, "origin.root_session_id");
        Some(Origin {
            entry_seq: origin.entry_seq,
            message_count: origin.message_count,
            root: root.unwrap_or_else(|| session.clone()),
            depth: origin.depth.max(1),
            session,
        })
    }
}

fn source_name(source: TitleSource) -> &'static str {
    match source {
        TitleSource::Derived => "DERIVED",
        TitleSource::User => "USER",
        TitleSource::Engine => "ENGINE",
    }
}

impl From<&Origin> for OriginJson {
    fn from(origin: &Origin) -> Self {
        Self {
            session_id: origin.session.to_string(),
            entry_seq: origin.entry_seq,
            message_count: origin.message_count,
            root_session_id: origin.root.to_string(),
            depth: origin.depth,
        }
    }
}

impl From<Usage> for UsageJson {
    fn from(usage: Usage) -> Self {
        let Usage {
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            reasoning_tokens,
            cost_micros,
        } = usage;
        Self {
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            reasoning_tokens,
            cost_micros,
        }
    }
}

impl From<UsageJson> for Usage {
    fn from(usage: UsageJson) -> Self {
        let UsageJson {
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            reasoning_tokens,
            cost_micros,
        } = usage;
        Self {
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            reasoning_tokens,
            cost_micros,
        }
    }
}

//! The facts of a session as its header line has them. Counts, preview and `has_user_interaction` follow from the entries
//! and are there for readers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::session::Origin;
use crate::domain::title::TitleSource;
use crate::domain::{Session, Usage};

use super::time_text;

/// A session's facts as JSON.
#[derive(Serialize)]
pub(super) struct Facts {
    session_id: String,
    title: String,
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
    usage: UsageJson,
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
    create_time: String,
    update_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive_time: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UsageJson {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    reasoning_tokens: u64,
    cost_micros: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OriginJson {
    pub(super) session_id: String,
    pub(super) entry_seq: u64,
    pub(super) message_count: u64,
    pub(super) root_session_id: String,
    pub(super) depth: u32,
}

const ACTIVE: &str = "ACTIVE";
pub(super) const ARCHIVED: &str = "ARCHIVED";

impl From<&Session> for Facts {
    fn from(session: &Session) -> Self {
        let (profile, tally) = (&*session.profile, &session.tip.tally);
        let (setting, texts) = (profile.setting.clone(), &*profile.texts);
        Self {
            session_id: session.id.to_string(),
            title: profile.title.clone(),
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
            usage: session.usage().into(),
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
            create_time: time_text(profile.create_time),
            update_time: time_text(session.update_time),
            archive_time: profile.archive_time.map(time_text),
        }
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

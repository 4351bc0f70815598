//! A session's row. Columns hold what indexes, filters and tools look for, `profile` the rest as JSON;
//! the large texts are rows of their own, so that an append does not write them again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Code, Damage, column, from_json, json, number, tally};
use crate::domain::session::{Deletion, Origin, Profile, Setting, State, Texts};
use crate::domain::time::Time;
use crate::domain::title::{ForkName, TitleSource};
use crate::domain::{Log, Namespace, Revision, Session, SessionId, Source, ThreadId, Tip, Usage};

/// A session's columns but its texts and its log's path.
#[derive(Debug)]
pub(crate) struct SessionRow<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) session_id: &'a str,
    pub(crate) state: i64,
    pub(crate) title: &'a str,
    pub(crate) workspace: &'a str,
    pub(crate) starred: bool,
    pub(crate) parent: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
    pub(crate) thread_id: Option<&'a str>,
    pub(crate) labels: Cow<'a, str>,
    pub(crate) profile: Cow<'a, str>,
    pub(crate) create_time: i64,
    pub(crate) update_time: i64,
    pub(crate) purge_time: Option<i64>,
    pub(crate) log: &'a [u8],
    pub(crate) seq: i64,
    pub(crate) revision: i64,
    pub(crate) generation: i64,
    pub(crate) tally: Cow<'a, [u8]>,
    pub(crate) preview: &'a str,
    pub(crate) source: Option<&'a str>,
}

/// What a title is counted under among forks: (base, number). No title has no base.
pub(crate) fn fork_columns(title: &str) -> (Option<String>, i64) {
    let name = ForkName::of(title);
    let base = (!title.is_empty()).then(|| name.key().to_owned());
    (base, column(name.number))
}

/// What of the profile has no column.
#[derive(Serialize, Deserialize)]
pub(super) struct Rest {
    title_source: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    provider: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    endpoint: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    model: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mode: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    task_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<OriginRest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usage_total: Option<UsageJson>,
    #[serde(default, skip_serializing_if = "is_zero")]
    inherited_cost_micros: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    incomplete_turn: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    archive_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrival: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deletion: Option<DeletionRest>,
}

#[derive(Serialize, Deserialize)]
struct OriginRest {
    entry_seq: u64,
    message_count: u64,
    root: String,
    depth: u32,
}

#[derive(Serialize, Deserialize)]
struct DeletionRest {
    time: i64,
    root: String,
}

/// Usage as JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct UsageJson {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    reasoning_tokens: u64,
    cost_micros: u64,
}

impl<'a> From<&'a Session> for SessionRow<'a> {
    fn from(session: &'a Session) -> Self {
        let profile = &*session.profile;
        Self {
            namespace: session.namespace.as_str(),
            session_id: session.id.as_str(),
            state: profile.state.code(),
            title: &profile.title,
            workspace: &profile.setting.workspace,
            starred: profile.starred,
            parent: profile.parent.as_ref().map(SessionId::as_str),
            origin: profile.origin.as_ref().map(|origin| origin.session.as_str()),
            thread_id: profile.thread.as_ref().map(ThreadId::as_str),
            labels: json(&profile.labels).into(),
            profile: json(&Rest::from(profile)).into(),
            create_time: profile.create_time.0,
            update_time: session.update_time.0,
            purge_time: profile.deletion.as_ref().map(|deletion| deletion.purge_time.0),
            log: session.tip.log.id.0.as_bytes(),
            seq: column(session.tip.seq().0),
            revision: column(session.revision.0),
            generation: column(session.generation),
            tally: tally::encode(&session.tip.tally).into(),
            preview: &session.preview,
            source: profile.source.as_ref().map(Source::as_str),
        }
    }
}

impl SessionRow<'_> {
    /// The session of these columns, its log and its texts.
    pub(crate) fn session(&self, log: Arc<Log>, texts: Arc<Texts>) -> Result<Session, Damage> {
        let tally = tally::decode(&self.tally)?;
        if tally.entries != number(self.seq)? {
            return Err(Damage::new("a tally of another seq"));
        }
        if tally.entries < log.path.end().0 {
            return Err(Damage::new("a head inside of what its log inherits"));
        }
        Ok(Session {
            namespace: Namespace::parse(self.namespace)?,
            id: SessionId::parse(self.session_id, "session_id")?,
            profile: Arc::new(self.full_profile(texts)?),
            tip: Tip { log, tally },
            revision: Revision(number(self.revision)?),
            preview: self.preview.to_owned(),
            generation: number(self.generation)?,
            update_time: Time(self.update_time),
        })
    }

    fn full_profile(&self, texts: Arc<Texts>) -> Result<Profile, Damage> {
        let id = |id: &str| SessionId::parse(id, "session_id");
        let labels: BTreeMap<String, String> = from_json("labels", &self.labels)?;
        let rest: Rest = from_json("profile", &self.profile)?;
        let origin = match (self.origin, rest.origin) {
            (None, None) => None,
            (Some(session), Some(rest)) => Some(Origin {
                session: id(session)?,
                entry_seq: rest.entry_seq,
                message_count: rest.message_count,
                root: id(&rest.root)?,
                depth: rest.depth,
            }),
            (Some(_), None) | (None, Some(_)) => return Err(Damage::new("half an origin")),
        };
        let deletion = match (self.purge_time, rest.deletion) {
            (None, None) => None,
            (Some(purge), Some(rest)) => Some(Deletion {
                time: Time(rest.time),
                purge_time: Time(purge),
                root: id(&rest.root)?,
            }),
            (Some(_), None) | (None, Some(_)) => return Err(Damage::new("half a deletion")),
        };
        Ok(Profile {
            title: self.title.to_owned(),
            title_source: TitleSource::from_code(rest.title_source)?,
            setting: Setting {
                workspace: self.workspace.to_owned(),
                provider: rest.provider,
                endpoint: rest.endpoint,
                model: rest.model,
                mode: rest.mode,
                task_type: rest.task_type,
            },
            labels,
            texts,
            state: State::from_code(self.state)?,
            starred: self.starred,
            thread: self
                .thread_id
                .map(|id| ThreadId::parse(id, "thread_id"))
                .transpose()?,
            origin,
            parent: self.parent.map(id).transpose()?,
            source: self
                .source
                .map(|source| Source::parse(source, "source"))
                .transpose()?,
            usage_total: rest.usage_total.map(Usage::from),
            inherited_cost_micros: rest.inherited_cost_micros,
            incomplete_turn: rest.incomplete_turn,
            create_time: Time(self.create_time),
            archive_time: rest.archive_time.map(Time),
            arrival: rest.arrival.map(Time),
            deletion,
        })
    }
}

impl From<&Profile> for Rest {
    fn from(profile: &Profile) -> Self {
        let Setting {
            workspace: _,
            provider,
            endpoint,
            model,
            mode,
            task_type,
        } = profile.setting.clone();
        Self {
            title_source: profile.title_source.code(),
            provider,
            endpoint,
            model,
            mode,
            task_type,
            origin: profile.origin.as_ref().map(|origin| OriginRest {
                entry_seq: origin.entry_seq,
                message_count: origin.message_count,
                root: origin.root.to_string(),
                depth: origin.depth,
            }),
            usage_total: profile.usage_total.map(UsageJson::from),
            inherited_cost_micros: profile.inherited_cost_micros,
            incomplete_turn: profile.incomplete_turn,
            archive_time: profile.archive_time.map(|time| time.0),
            arrival: profile.arrival.map(|time| time.0),
            deletion: profile.deletion.as_ref().map(|deletion| DeletionRest {
                time: deletion.time.0,
                root: deletion.root.to_string(),
            }),
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
    fn from(json: UsageJson) -> Self {
        let UsageJson {
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            reasoning_tokens,
            cost_micros,
        } = json;
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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

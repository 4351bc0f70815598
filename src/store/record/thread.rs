//! A thread's row; its large texts are rows of their own, for every item written moves the thread.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Code, Damage, column, from_json, json, log_id, number, tally};
use crate::domain::session::Setting;
use crate::domain::thread::{Profile, SaveMark, State, Texts};
use crate::domain::time::Time;
use crate::domain::{EngineId, Log, LogId, Namespace, Seq, SessionId, Thread, ThreadId, Tip, TurnId};

/// A thread's columns but its texts and its base's path.
#[derive(Debug)]
pub(crate) struct ThreadRow<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) thread_id: &'a str,
    pub(crate) journal: &'a [u8],
    pub(crate) base_log: Option<&'a [u8]>,
    pub(crate) base_tally: Option<Cow<'a, [u8]>>,
    pub(crate) state: i64,
    pub(crate) session: Option<&'a str>,
    pub(crate) engine: Option<&'a str>,
    pub(crate) profile: Cow<'a, str>,
    pub(crate) create_time: i64,
    pub(crate) update_time: i64,
    pub(crate) epoch: i64,
    pub(crate) active_turn: Option<&'a str>,
    pub(crate) turns: i64,
    pub(crate) items: i64,
    pub(crate) open_items: i64,
    pub(crate) change: i64,
    pub(crate) marks: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct ProfileJson<'a> {
    #[serde(default, skip_serializing_if = "str::is_empty")]
    title: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    workspace: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    provider: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    endpoint: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    model: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    mode: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    task_type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct MarkJson<'a> {
    session: Cow<'a, str>,
    log: Cow<'a, str>,
    seq: u64,
    messages: u64,
    item: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turn_start: Option<u64>,
}

impl<'a> From<&'a Thread> for ThreadRow<'a> {
    fn from(thread: &'a Thread) -> Self {
        let marks: Vec<MarkJson<'_>> = thread.marks.iter().map(MarkJson::from).collect();
        Self {
            namespace: thread.namespace.as_str(),
            thread_id: thread.id.as_str(),
            journal: thread.journal.0.as_bytes(),
            base_log: thread
                .base
                .as_ref()
                .map(|base| base.log.id.0.as_bytes().as_slice()),
            base_tally: thread.base.as_ref().map(|base| tally::encode(&base.tally).into()),
            state: thread.profile.state.code(),
            session: thread.session.as_ref().map(SessionId::as_str),
            engine: thread.engine.as_ref().map(EngineId::as_str),
            profile: json(&ProfileJson::from(&*thread.profile)).into(),
            create_time: thread.create_time.0,
            update_time: thread.update_time.0,
            epoch: column(thread.epoch),
            active_turn: thread.active_turn.as_ref().map(TurnId::as_str),
            turns: column(thread.turns),
            items: column(thread.items),
            open_items: column(thread.open_items),
            change: column(thread.change),
            marks: json(&marks).into(),
        }
    }
}

impl ThreadRow<'_> {
    /// The thread of these columns, the log of its base and its texts.
    pub(crate) fn thread(&self, base_log: Option<Arc<Log>>, texts: Arc<Texts>) -> Result<Thread, Damage> {
        let base = match (base_log, &self.base_tally) {
            (None, None) => None,
            (Some(log), Some(bytes)) => Some(Tip {
                log,
                tally: tally::decode(bytes)?,
            }),
            (Some(_), None) | (None, Some(_)) => return Err(Damage::new("half a base")),
        };
        let marks: Vec<MarkJson<'_>> = from_json("marks", &self.marks)?;
        Ok(Thread {
            namespace: Namespace::parse(self.namespace)?,
            id: ThreadId::parse(self.thread_id, "thread_id")?,
            journal: log_id(self.journal)?,
            base,
            profile: Arc::new(self.full_profile(texts)?),
            session: self
                .session
                .map(|id| SessionId::parse(id, "session_id"))
                .transpose()?,
            engine: self
                .engine
                .map(|id| EngineId::parse(id, "engine_id"))
                .transpose()?,
            epoch: number(self.epoch)?,
            active_turn: self
                .active_turn
                .map(|id| TurnId::parse(id, "turn_id"))
                .transpose()?,
            turns: number(self.turns)?,
            items: number(self.items)?,
            open_items: number(self.open_items)?,
            change: number(self.change)?,
            marks: marks
                .into_iter()
                .map(SaveMark::try_from)
                .collect::<Result<_, _>>()?,
            create_time: Time(self.create_time),
            update_time: Time(self.update_time),
        })
    }

    fn full_profile(&self, texts: Arc<Texts>) -> Result<Profile, Damage> {
        let json: ProfileJson<'_> = from_json("profile", &self.profile)?;
        let labels = json
            .labels
            .into_iter()
            .map(|(key, value)| (key.into_owned(), value.into_owned()));
        Ok(Profile {
            title: json.title.into_owned(),
            setting: Setting {
                workspace: json.workspace.into_owned(),
                provider: json.provider.into_owned(),
                endpoint: json.endpoint.into_owned(),
                model: json.model.into_owned(),
                mode: json.mode.into_owned(),
                task_type: json.task_type.into_owned(),
            },
            labels: labels.collect(),
            texts,
            state: State::from_code(self.state)?,
        })
    }
}

impl<'a> From<&'a Profile> for ProfileJson<'a> {
    fn from(profile: &'a Profile) -> Self {
        let Setting {
            workspace,
            provider,
            endpoint,
            model,
            mode,
            task_type,
        } = &profile.setting;
        let labels = profile
            .labels
            .iter()
            .map(|(key, value)| (key.into(), value.into()));
        Self {
            title: (&profile.title).into(),
            workspace: workspace.into(),
            provider: provider.into(),
            endpoint: endpoint.into(),
            model: model.into(),
            mode: mode.into(),
            task_type: task_type.into(),
            labels: labels.collect(),
        }
    }
}

impl<'a> From<&'a SaveMark> for MarkJson<'a> {
    fn from(mark: &'a SaveMark) -> Self {
        Self {
            session: mark.session.as_str().into(),
            log: mark.log.to_string().into(),
            seq: mark.seq.0,
            messages: mark.messages,
            item: mark.item.0,
            turn_start: mark.turn_start.map(|seq| seq.0),
        }
    }
}

impl TryFrom<MarkJson<'_>> for SaveMark {
    type Error = Damage;

    fn try_from(json: MarkJson<'_>) -> Result<Self, Damage> {
        Ok(Self {
            session: SessionId::parse(&json.session, "session_id")?,
            log: LogId(Uuid::parse_str(&json.log).map_err(|_| Damage::new("no valid log"))?),
            seq: Seq(json.seq),
            messages: json.messages,
            item: Seq(json.item),
            turn_start: json.turn_start.map(Seq),
        })
    }
}

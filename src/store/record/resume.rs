//! A resume's row. Columns hold what lists and upkeep look for, `facts` the rest as JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Code, Damage, from_json, json, tally};
use crate::domain::resume::{Failure, State, Wish};
use crate::domain::{EngineId, Log, Namespace, Resume, ResumeId, SessionId, ThreadId, Time, Tip};

/// A resume's columns but its source's path.
#[derive(Debug)]
pub(crate) struct ResumeRow<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) resume_id: &'a str,
    pub(crate) session_id: &'a str,
    pub(crate) thread_id: &'a str,
    pub(crate) engine: Option<&'a str>,
    pub(crate) state: i64,
    /// Of one that has not ended: an ended one names no log.
    pub(crate) source_log: Option<&'a [u8]>,
    pub(crate) source_tally: Option<Cow<'a, [u8]>>,
    pub(crate) create_time: i64,
    pub(crate) end_time: Option<i64>,
    pub(crate) facts: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct Facts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wanted_engine: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    wanted_labels: BTreeMap<String, String>,
    #[serde(default)]
    require_engine: bool,
    #[serde(default)]
    reused: bool,
    written: u64,
    total: u64,
    attempt: u32,
    seed: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FailureJson {
    EngineLost { engine: Option<String> },
    Declined { status: String },
    EngineFault { rule: String },
    SessionDeleted,
    Moved,
    Damaged,
}

impl<'a> From<&'a Resume> for ResumeRow<'a> {
    fn from(resume: &'a Resume) -> Self {
        let source = resume.source.as_ref().filter(|_| !resume.state.is_end());
        Self {
            namespace: resume.namespace.as_str(),
            resume_id: resume.id.as_str(),
            session_id: resume.session.as_str(),
            thread_id: resume.thread.as_str(),
            engine: resume.engine.as_ref().map(EngineId::as_str),
            state: resume.state.code(),
            source_log: source.map(|source| source.log.id.0.as_bytes().as_slice()),
            source_tally: source.map(|source| tally::encode(&source.tally).into()),
            create_time: resume.create_time.0,
            end_time: resume.end_time.map(|time| time.0),
            facts: json(&Facts::from(resume)).into(),
        }
    }
}

impl ResumeRow<'_> {
    /// The resume of these columns and the log of its source.
    pub(crate) fn resume(&self, source_log: Option<Arc<Log>>) -> Result<Resume, Damage> {
        let facts: Facts = from_json("facts", &self.facts)?;
        let source = match (source_log, &self.source_tally) {
            (None, None) => None,
            (Some(log), Some(bytes)) => Some(Tip {
                log,
                tally: tally::decode(bytes)?,
            }),
            (Some(_), None) | (None, Some(_)) => return Err(Damage::new("half a source")),
        };
        let engine = |id: &str| EngineId::parse(id, "engine_id");
        Ok(Resume {
            namespace: Namespace::parse(self.namespace)?,
            id: ResumeId::parse(self.resume_id, "resume_id")?,
            session: SessionId::parse(self.session_id, "session_id")?,
            thread: ThreadId::parse(self.thread_id, "thread_id")?,
            wish: Wish {
                model: facts.model,
                mode: facts.mode,
                task_type: facts.task_type,
                engine: facts.wanted_engine.as_deref().map(engine).transpose()?,
                labels: facts.wanted_labels,
                require_engine: facts.require_engine,
            },
            engine: self.engine.map(engine).transpose()?,
            state: State::from_code(self.state)?,
            reused: facts.reused,
            written: facts.written,
            total: facts.total,
            attempt: facts.attempt,
            seed: facts.seed,
            source,
            failure: facts.failure.map(Failure::try_from).transpose()?,
            create_time: Time(self.create_time),
            start_time: facts.start_time.map(Time),
            end_time: self.end_time.map(Time),
        })
    }
}

impl From<&Resume> for Facts {
    fn from(resume: &Resume) -> Self {
        let Wish {
            model,
            mode,
            task_type,
            engine,
            labels,
            require_engine,
        } = resume.wish.clone();
        Self {
            model,
            mode,
            task_type,
            wanted_engine: engine.map(|engine| engine.to_string()),
            wanted_labels: labels,
            require_engine,
            reused: resume.reused,
            written: resume.written,
            total: resume.total,
            attempt: resume.attempt,
            seed: resume.seed,
            failure: resume.failure.as_ref().map(FailureJson::from),
            start_time: resume.start_time.map(|time| time.0),
        }
    }
}

impl From<&Failure> for FailureJson {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::EngineLost { engine } => Self::EngineLost {
                engine: engine.as_ref().map(ToString::to_string),
            },
            Failure::Declined(status) => Self::Declined {
                status: STANDARD.encode(status),
            },
            Failure::EngineFault { rule } => Self::EngineFault { rule: rule.clone() },
            Failure::SessionDeleted => Self::SessionDeleted,
            Failure::Moved => Self::Moved,
            Failure::Damaged => Self::Damaged,
        }
    }
}

impl TryFrom<FailureJson> for Failure {
    type Error = Damage;

    fn try_from(json: FailureJson) -> Result<Self, Damage> {
        Ok(match json {
            FailureJson::EngineLost { engine } => Self::EngineLost {
                engine: engine.map(|id| EngineId::parse(&id, "engine_id")).transpose()?,
            },
            FailureJson::Declined { status } => {
                let status = STANDARD
                    .decode(status)
                    .map_err(|_| Damage::new("no valid status"))?;
                Self::Declined(status.into())
            }
            FailureJson::EngineFault { rule } => Self::EngineFault { rule },
            FailureJson::SessionDeleted => Self::SessionDeleted,
            FailureJson::Moved => Self::Moved,
            FailureJson::Damaged => Self::Damaged,
        })
    }
}

//! A resume's row: columns for what lists and upkeep look for, JSON for what was asked and how far it is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::replica::{fence, fence_columns};
use super::{Code, Damage, from_json, json, tally};
use crate::domain::resume::{Failure, State, Wish};
use crate::domain::time::Time;
use crate::domain::{EngineId, Log, Namespace, Resume, ResumeId, SessionId, ThreadId, Tip};

/// A resume's columns but its source's path.
#[derive(Debug)]
pub(crate) struct ResumeRow<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) resume_id: &'a str,
    pub(crate) session_id: &'a str,
    pub(crate) thread_id: &'a str,
    pub(crate) engine: Option<&'a str>,
    pub(crate) driver: Option<&'a str>,
    pub(crate) driver_incarnation: Option<i64>,
    pub(crate) state: i64,
    pub(crate) source_log: Option<&'a [u8]>,
    pub(crate) source_tally: Option<Cow<'a, [u8]>>,
    pub(crate) rest: Cow<'a, str>,
    /// The status that an engine declined with; its bytes are nobody's to read here.
    pub(crate) declined: Option<&'a [u8]>,
    pub(crate) create_time: i64,
    pub(crate) end_time: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Rest<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_type: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    engine: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    require_engine: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reused: bool,
    written: u64,
    total: u64,
    attempt: u32,
    seed: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Failed<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Failed<'a> {
    EngineLost { engine: Option<Cow<'a, str>> },
    Declined,
    EngineFault { rule: Cow<'a, str> },
    SessionDeleted,
    Moved,
    Damaged,
}

impl<'a> From<&'a Resume> for ResumeRow<'a> {
    fn from(resume: &'a Resume) -> Self {
        let source = resume.source.as_ref();
        let declined = match &resume.failure {
            Some(Failure::Declined(status)) => Some(&status[..]),
            Some(
                Failure::EngineLost { .. }
                | Failure::EngineFault { .. }
                | Failure::SessionDeleted
                | Failure::Moved
                | Failure::Damaged,
            )
            | None => None,
        };
        let (driver, driver_incarnation) = fence_columns(resume.driver.as_ref());
        Self {
            namespace: resume.namespace.as_str(),
            resume_id: resume.id.as_str(),
            session_id: resume.session.as_str(),
            thread_id: resume.thread.as_str(),
            engine: resume.engine.as_ref().map(EngineId::as_str),
            driver,
            driver_incarnation,
            state: resume.state.code(),
            source_log: source.map(|tip| tip.log.id.0.as_bytes().as_slice()),
            source_tally: source.map(|tip| tally::encode(&tip.tally).into()),
            rest: json(&Rest::from(resume)).into(),
            declined,
            create_time: resume.create_time.0,
            end_time: resume.end_time.map(|time| time.0),
        }
    }
}

impl ResumeRow<'_> {
    /// The resume of these columns and the log of its source.
    pub(crate) fn resume(&self, source_log: Option<Arc<Log>>) -> Result<Resume, Damage> {
        let source = match (source_log, &self.source_tally) {
            (None, None) => None,
            (Some(log), Some(bytes)) => Some(Tip {
                log,
                tally: tally::decode(bytes)?,
            }),
            (Some(_), None) | (None, Some(_)) => return Err(Damage::new("half a source")),
        };
        let rest: Rest<'_> = from_json("rest", &self.rest)?;
        let engine = |id: &str| EngineId::parse(id, "engine_id");
        let failure = rest
            .failure
            .map(|failed| failed.failure(self.declined))
            .transpose()?;
        let labels = rest
            .labels
            .into_iter()
            .map(|(key, value)| (key.into_owned(), value.into_owned()));
        Ok(Resume {
            namespace: Namespace::parse(self.namespace)?,
            id: ResumeId::parse(self.resume_id, "resume_id")?,
            session: SessionId::parse(self.session_id, "session_id")?,
            thread: ThreadId::parse(self.thread_id, "thread_id")?,
            wish: Wish {
                model: rest.model.map(Cow::into_owned),
                mode: rest.mode.map(Cow::into_owned),
                task_type: rest.task_type.map(Cow::into_owned),
                engine: rest.engine.as_deref().map(engine).transpose()?,
                labels: labels.collect(),
                require_engine: rest.require_engine,
            },
            engine: self.engine.map(engine).transpose()?,
            driver: fence(self.driver, self.driver_incarnation)?,
            state: State::from_code(self.state)?,
            reused: rest.reused,
            written: rest.written,
            total: rest.total,
            attempt: rest.attempt,
            seed: rest.seed,
            source,
            failure,
            create_time: Time(self.create_time),
            start_time: rest.start_time.map(Time),
            end_time: self.end_time.map(Time),
        })
    }
}

impl<'a> From<&'a Resume> for Rest<'a> {
    fn from(resume: &'a Resume) -> Self {
        let wish = &resume.wish;
        let text = |text: &'a Option<String>| text.as_ref().map(Cow::from);
        let labels = wish.labels.iter().map(|(key, value)| (key.into(), value.into()));
        Self {
            model: text(&wish.model),
            mode: text(&wish.mode),
            task_type: text(&wish.task_type),
            engine: wish.engine.as_ref().map(|id| id.as_str().into()),
            labels: labels.collect(),
            require_engine: wish.require_engine,
            reused: resume.reused,
            written: resume.written,
            total: resume.total,
            attempt: resume.attempt,
            seed: resume.seed,
            failure: resume.failure.as_ref().map(Failed::from),
            start_time: resume.start_time.map(|time| time.0),
        }
    }
}

impl<'a> From<&'a Failure> for Failed<'a> {
    fn from(failure: &'a Failure) -> Self {
        match failure {
            Failure::EngineLost { engine } => Self::EngineLost {
                engine: engine.as_ref().map(|id| id.as_str().into()),
            },
            Failure::Declined(_) => Self::Declined,
            Failure::EngineFault { rule } => Self::EngineFault { rule: rule.into() },
            Failure::SessionDeleted => Self::SessionDeleted,
            Failure::Moved => Self::Moved,
            Failure::Damaged => Self::Damaged,
        }
    }
}

impl Failed<'_> {
    fn failure(self, declined: Option<&[u8]>) -> Result<Failure, Damage> {
        Ok(match self {
            Self::EngineLost { engine } => Failure::EngineLost {
                engine: engine
                    .as_deref()
                    .map(|id| EngineId::parse(id, "engine_id"))
                    .transpose()?,
            },
            Self::Declined => {
                let status = declined.ok_or_else(|| Damage::new("declined without a status"))?;
                Failure::Declined(Bytes::copy_from_slice(status))
            }
            Self::EngineFault { rule } => Failure::EngineFault {
                rule: rule.into_owned(),
            },
            Self::SessionDeleted => Failure::SessionDeleted,
            Self::Moved => Failure::Moved,
            Self::Damaged => Failure::Damaged,
        })
    }
}

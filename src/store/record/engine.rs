//! An engine's row, and that of a head that a session has left.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Damage, column, from_json, json, number, tally};
use crate::domain::engine::Profile;
use crate::domain::{Engine, EngineId, Log, Namespace, PastHead, Revision, SessionId, Time, Tip};

/// An engine's columns.
#[derive(Debug)]
pub(crate) struct EngineRow<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) engine_id: &'a str,
    pub(crate) epoch: i64,
    pub(crate) profile: Cow<'a, str>,
    pub(crate) attach_time: i64,
    pub(crate) detach_time: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct ProfileJson {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    accepts_resume: bool,
    #[serde(default)]
    replica: String,
}

impl<'a> From<&'a Engine> for EngineRow<'a> {
    fn from(engine: &'a Engine) -> Self {
        let Profile {
            labels,
            accepts_resume,
            replica,
        } = engine.profile.clone();
        let profile = ProfileJson {
            labels,
            accepts_resume,
            replica,
        };
        Self {
            namespace: engine.namespace.as_str(),
            engine_id: engine.id.as_str(),
            epoch: column(engine.epoch),
            profile: json(&profile).into(),
            attach_time: engine.attach_time.0,
            detach_time: engine.detach_time.map(|time| time.0),
        }
    }
}

impl TryFrom<EngineRow<'_>> for Engine {
    type Error = Damage;

    fn try_from(row: EngineRow<'_>) -> Result<Self, Damage> {
        let ProfileJson {
            labels,
            accepts_resume,
            replica,
        } = from_json("profile", &row.profile)?;
        Ok(Self {
            namespace: Namespace::parse(row.namespace)?,
            id: EngineId::parse(row.engine_id, "engine_id")?,
            epoch: number(row.epoch)?,
            profile: Profile {
                labels,
                accepts_resume,
                replica,
            },
            attach_time: Time(row.attach_time),
            detach_time: row.detach_time.map(Time),
        })
    }
}

/// A past head's columns but its log's path.
#[derive(Debug)]
pub(crate) struct PastHeadRow<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) session_id: &'a str,
    pub(crate) revision: i64,
    pub(crate) tally: Cow<'a, [u8]>,
    pub(crate) time: i64,
}

impl<'a> From<&'a PastHead> for PastHeadRow<'a> {
    fn from(head: &'a PastHead) -> Self {
        Self {
            namespace: head.namespace.as_str(),
            session_id: head.session.as_str(),
            revision: column(head.revision.0),
            tally: tally::encode(&head.tip.tally).into(),
            time: head.time.0,
        }
    }
}

impl PastHeadRow<'_> {
    /// The head of these columns and its log.
    pub(crate) fn past_head(&self, log: Arc<Log>) -> Result<PastHead, Damage> {
        Ok(PastHead {
            namespace: Namespace::parse(self.namespace)?,
            session: SessionId::parse(self.session_id, "session_id")?,
            revision: Revision(number(self.revision)?),
            tip: Tip {
                log,
                tally: tally::decode(&self.tally)?,
            },
            time: Time(self.time),
        })
    }
}

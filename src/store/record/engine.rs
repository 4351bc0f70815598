//! An engine's row: JSON for what it said of itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::replica::{fence, fence_columns};
use super::{Damage, column, from_json, json, number};
use crate::domain::engine::Profile;
use crate::domain::time::Time;
use crate::domain::{Engine, EngineId, Namespace};

/// An engine's columns.
#[derive(Debug)]
pub(crate) struct EngineRow<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) engine_id: &'a str,
    pub(crate) epoch: i64,
    pub(crate) profile: Cow<'a, str>,
    pub(crate) replica: Option<&'a str>,
    pub(crate) incarnation: Option<i64>,
    pub(crate) attach_time: i64,
    pub(crate) detach_time: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct ProfileJson<'a> {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    accepts_resume: bool,
}

impl<'a> From<&'a Engine> for EngineRow<'a> {
    fn from(engine: &'a Engine) -> Self {
        let profile = &engine.profile;
        let labels = profile
            .labels
            .iter()
            .map(|(key, value)| (key.into(), value.into()));
        let profile = ProfileJson {
            labels: labels.collect(),
            accepts_resume: profile.accepts_resume,
        };
        let (replica, incarnation) = fence_columns(engine.replica.as_ref());
        Self {
            namespace: engine.namespace.as_str(),
            engine_id: engine.id.as_str(),
            epoch: column(engine.epoch),
            profile: json(&profile).into(),
            replica,
            incarnation,
            attach_time: engine.attach_time.0,
            detach_time: engine.detach_time.map(|time| time.0),
        }
    }
}

impl TryFrom<EngineRow<'_>> for Engine {
    type Error = Damage;

    fn try_from(row: EngineRow<'_>) -> Result<Self, Damage> {
        let profile: ProfileJson<'_> = from_json("profile", &row.profile)?;
        let labels = profile
            .labels
            .into_iter()
            .map(|(key, value)| (key.into_owned(), value.into_owned()));
        Ok(Self {
            namespace: Namespace::parse(row.namespace)?,
            id: EngineId::parse(row.engine_id, "engine_id")?,
            epoch: number(row.epoch)?,
            profile: Profile {
                labels: labels.collect(),
                accepts_resume: profile.accepts_resume,
            },
            replica: fence(row.replica, row.incarnation)?,
            attach_time: Time(row.attach_time),
            detach_time: row.detach_time.map(Time),
        })
    }
}

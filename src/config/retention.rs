//! How long sessions are kept, by namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Error;
use super::check::{Problems as _, refused};
use crate::domain::Namespace;
use crate::domain::retention::{self, Policies};

const DAY_S: u64 = 24 * 60 * 60;

/// A hundred years.
const DAYS_MAX: u64 = 36_500;

/// How long sessions are kept: the policy of every namespace that has none of its own, and those that have. In a
/// policy 0 means never: by default nothing is pruned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Policy")]
pub struct Retention {
    pub max_age_days: u32,
    pub keep_per_workspace: u64,
    pub archive_first: bool,
    pub delete_archived_after_days: u32,
    /// How often a namespace is looked through once its policy has nothing left to do.
    pub interval_s: u64,
    /// Policies of namespaces by name; one stands whole in the place of the default.
    pub namespaces: BTreeMap<String, Policy>,
}

/// The policy of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// After so many days without an update an active session goes; with `keep_per_workspace`, both must hold.
    pub max_age_days: u32,
    /// Active sessions go but for this many of each workspace.
    pub keep_per_workspace: u64,
    /// Whether those that go are archived, not deleted.
    pub archive_first: bool,
    /// After so many days without an update an archived session is deleted.
    pub delete_archived_after_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        let Policy {
            max_age_days,
            keep_per_workspace,
            archive_first,
            delete_archived_after_days,
        } = Policy::default();
        Self {
            max_age_days,
            keep_per_workspace,
            archive_first,
            delete_archived_after_days,
            interval_s: 60 * 60,
            namespaces: BTreeMap::new(),
        }
    }
}

impl Retention {
    /// Refuses what is no policy, by key.
    pub(super) fn check(&self, found: &mut Vec<Error>) {
        found.within("retention.interval_s", self.interval_s, 1, DAY_S);
        self.default_policy().check(found);
        for (name, policy) in &self.namespaces {
            found.extend(self::namespace(name).err());
            policy.check(found);
        }
    }

    /// The policies as the rules know them.
    pub fn policies(&self) -> Result<Policies, Error> {
        let own = self
            .namespaces
            .iter()
            .map(|(name, policy)| Ok((self::namespace(name)?, policy.into())));
        Ok(Policies {
            default: (&self.default_policy()).into(),
            namespaces: own.collect::<Result<_, Error>>()?,
        })
    }

    fn default_policy(&self) -> Policy {
        Policy {
            max_age_days: self.max_age_days,
            keep_per_workspace: self.keep_per_workspace,
            archive_first: self.archive_first,
            delete_archived_after_days: self.delete_archived_after_days,
        }
    }
}

impl Policy {
    fn check(&self, found: &mut Vec<Error>) {
        found.within("retention.max_age_days", self.max_age_days.into(), 0, DAYS_MAX);
        let after = self.delete_archived_after_days.into();
        found.within("retention.delete_archived_after_days", after, 0, DAYS_MAX);
    }
}

impl From<&Policy> for retention::Policy {
    fn from(policy: &Policy) -> Self {
        let days = |days: u32| (days > 0).then(|| Duration::from_secs(u64::from(days) * DAY_S));
        Self {
            max_age: days(policy.max_age_days),
            keep_per_workspace: (policy.keep_per_workspace > 0).then_some(policy.keep_per_workspace),
            archive_first: policy.archive_first,
            delete_archived_after: days(policy.delete_archived_after_days),
        }
    }
}

fn namespace(name: &str) -> Result<Namespace, Error> {
    Namespace::parse(name).map_err(|_| {
        refused(
            "retention.namespaces",
            format!("{name:?} is no name of a namespace"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Retention, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_policy_of_its_own_stands_in_the_place_of_the_default() {
        let read =
            read("max_age_days = 30\narchive_first = true\n[namespaces.scratch]\nkeep_per_workspace = 5");
        let policies = read.expect("a table").policies().expect("policies");
        let ns = |name| Namespace::parse(name).expect("a namespace");
        assert_eq!(
            *policies.of(&ns("other")),
            retention::Policy {
                max_age: Some(Duration::from_secs(30 * DAY_S)),
                archive_first: true,
                ..Default::default()
            }
        );
        assert_eq!(
            *policies.of(&ns("scratch")),
            retention::Policy {
                keep_per_workspace: Some(5),
                ..Default::default()
            }
        );
        assert!(Retention::default().policies().expect("policies").are_off());
    }

    #[test]
    fn what_is_no_policy_is_refused_by_name() {
        for (text, key) in [
            ("max_age_days = 36501", "retention.max_age_days"),
            ("interval_s = 0", "retention.interval_s"),
            ("[namespaces.'a b']", "retention.namespaces"),
            (
                "[namespaces.a]\ndelete_archived_after_days = 99999",
                "retention.delete_archived_after_days",
            ),
        ] {
            let mut found = Vec::new();
            read(text).expect("a table").check(&mut found);
            let refused = found.first().expect("refused").to_string();
            assert!(refused.starts_with(&format!("{key}:")), "{refused}");
        }
        for (text, key) in [("max_age = 3", "max_age"), ("[namespaces.a]\nkeep = 3", "keep")] {
            assert!(read(text).expect_err("refused").message().contains(key), "{text}");
        }
    }
}

//! A replica's row: columns, every one of them.

use super::{Damage, column, number};
use crate::domain::time::Time;
use crate::domain::{Fence, Replica, ReplicaId};

/// A replica's columns.
#[derive(Debug)]
pub(crate) struct ReplicaRow<'a> {
    pub(crate) replica: &'a str,
    pub(crate) incarnation: i64,
    pub(crate) address: &'a str,
    pub(crate) lease_until: i64,
    pub(crate) join_time: i64,
}

impl<'a> From<&'a Replica> for ReplicaRow<'a> {
    fn from(replica: &'a Replica) -> Self {
        Self {
            replica: replica.id.as_str(),
            incarnation: column(replica.incarnation),
            address: &replica.address,
            lease_until: replica.lease_until.0,
            join_time: replica.join_time.0,
        }
    }
}

impl TryFrom<ReplicaRow<'_>> for Replica {
    type Error = Damage;

    fn try_from(row: ReplicaRow<'_>) -> Result<Self, Damage> {
        Ok(Self {
            id: ReplicaId::parse(row.replica, "replica")?,
            incarnation: number(row.incarnation)?,
            address: row.address.to_owned(),
            lease_until: Time(row.lease_until),
            join_time: Time(row.join_time),
        })
    }
}

/// The two columns that name a replica under one incarnation in another row.
pub(crate) fn fence_columns(fence: Option<&Fence>) -> (Option<&str>, Option<i64>) {
    let name = fence.map(|fence| fence.replica.as_str());
    (name, fence.map(|fence| column(fence.incarnation)))
}

/// The replica that two such columns name.
pub(crate) fn fence(replica: Option<&str>, incarnation: Option<i64>) -> Result<Option<Fence>, Damage> {
    match (replica, incarnation) {
        (None, None) => Ok(None),
        (Some(replica), Some(incarnation)) => Ok(Some(Fence {
            replica: ReplicaId::parse(replica, "replica")?,
            incarnation: number(incarnation)?,
        })),
        (Some(_), None) | (None, Some(_)) => Err(Damage::new("half a fence")),
    }
}

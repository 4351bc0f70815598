//! The search index: tables beside the others, derived from them and never in the way of a write.

use std::sync::Arc;

use tokio::sync::watch;

use super::pool::Pool;
use crate::domain::Time;
use crate::domain::query::Bound;
use crate::domain::search::{Found, Indexed, Place, Query};
use crate::store::{Error, Lack};

pub(super) use crate::store::hints::Hints;

pub(super) const STATEMENTS: &[&str] = &[];
pub(super) const TABLES: &str = "";

#[derive(Debug)]
pub(super) struct Index {
    pool: Arc<Pool>,
    hints: Arc<Hints>,
}

impl Index {
    pub(super) fn new(pool: Arc<Pool>, hints: Arc<Hints>) -> Self {
        Self { pool, hints }
    }
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.hints.news()
    }
    pub(super) async fn lack(&self, _bound: Bound) -> Result<Lack, Error> {
        drop(self.pool.one("x").await?);
        Err(Error::corrupt("x", "x"))
    }
    pub(super) async fn put(&self, _batch: Vec<Indexed>, _through: Option<Time>) -> Result<(), Error> {
        Err(Error::corrupt("x", "x"))
    }
    pub(super) async fn search(
        &self,
        _q: &Query,
        _after: Option<Place>,
        _bound: Bound,
    ) -> Result<Found, Error> {
        Err(Error::corrupt("x", "x"))
    }
}

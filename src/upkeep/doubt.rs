//! Whether the clock can be right. A machine that has just started may not have been told the time yet; by a clock that
//! is far ahead everything is old, and what goes for its age goes for good. So where the clock is far beyond what was
//! written last, or jumps, such work waits for some minutes: by then it is set right, or it was right all along.
//! What is written meanwhile proves nothing, for it has its time from the same clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Time;
use crate::domain::query::{Bound, Order, Sessions};
use crate::domain::session::State;
use crate::store::{Error, Store};

/// What is far. A clock that is wrong by less makes things go early by no more than that.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the clock is doubted.
const DOUBTED_FOR: Duration = Duration::from_secs(10 * 60);

/// Namespaces that are looked at for what was written last.
const NAMESPACES_MAX: usize = 1_000;

/// Whether work that goes by the age of things is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Trusted,
    Doubted,
}

/// What is known of the clock.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Until when it is doubted.
    until: Option<Instant>,
    /// What it said last, and when that was by a clock that nobody sets.
    last: (Time, Instant),
}

impl Doubt {
    /// At the start of a process, before anybody writes.
    pub(super) async fn at_start(store: &dyn Store, now: Time) -> Self {
        let is_near = match wrote_lately(store, now).await {
            Ok(is_near) => is_near,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "it is not known when was written last");
                false
            }
        };
        let mut doubt = Self {
            until: None,
            last: (now, Instant::now()),
        };
        if !is_near {
            doubt.begin();
        }
        doubt
    }

    /// What is to be thought of a clock that says `now`.
    pub(super) fn look(&mut self, now: Time) -> Trust {
        let (said, then) = self.last;
        self.last = (now, Instant::now());
        if now > said.after(then.elapsed()).after(FAR) {
            tracing::warn!("the clock has jumped: what goes by its age waits for a while");
            self.begin();
        }
        match self.until {
            Some(until) if Instant::now() < until => Trust::Doubted,
            Some(_) | None => Trust::Trusted,
        }
    }

    fn begin(&mut self) {
        self.until = Some(Instant::now() + DOUBTED_FOR);
    }
}

/// Whether some session was written not far before `now`. What lies after it says nothing: a transcript may have any time.
async fn wrote_lately(store: &dyn Store, now: Time) -> Result<bool, Error> {
    let namespaces = store.namespaces(None, NAMESPACES_MAX).await?;
    if namespaces.is_empty() {
        // Nothing is there that could go.
        return Ok(true);
    }
    for namespace in namespaces {
        let newest = Sessions {
            namespace,
            states: vec![State::Active, State::Archived, State::Deleted],
            workspace: None,
            labels: std::collections::BTreeMap::new(),
            title_contains: None,
            id_prefix: None,
            starred: None,
            has_user_interaction: None,
            origin: None,
            parent: None,
            updated_after: Some(now.before(FAR)),
            updated_before: Some(now.after(Duration::from_nanos(1))),
            order: Order::UpdateTimeDesc,
        };
        let one = Bound { rows: 1, bytes: 1 };
        if !store.sessions(&newest, None, one).await?.rows.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

//! The sessions that a prune looks at, the last updated first, active ones before archived ones.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::{PAGE, Places, Standing};
use crate::domain::Namespace;
use crate::domain::query::{Order, SessionKey, Sessions};
use crate::domain::retention::{Action, Rule};
use crate::domain::session::{Session, State};
use crate::service::{Error, Service};

/// A walk, a page at a time.
#[derive(Debug)]
pub(super) struct Walk {
    /// Lists that are still to be walked.
    queries: VecDeque<Sessions>,
    after: Option<SessionKey>,
    places: Places,
}

impl Walk {
    /// Over all that `rule` may take, and, where places are counted, over all that have one.
    ///
    /// An archived session takes a place only where active ones leave it: it was archived because it could go, and was
    /// updated by that.
    pub(super) fn over(ns: &Namespace, rule: &Rule, keep: Option<u64>) -> Self {
        let looked_at = |state: &State| match (state, rule.action) {
            (State::Active, _) | (State::Archived, Action::Delete { .. }) => rule.states.contains(state),
            (State::Archived, Action::Archive) | (State::Deleted, _) => false,
        };
        let states = [State::Active, State::Archived].into_iter().filter(looked_at);
        let query = |state| Sessions {
            namespace: ns.clone(),
            states: vec![state],
            workspace: None,
            labels: BTreeMap::new(),
            title_contains: None,
            id_prefix: None,
            starred: (keep.is_none() && !rule.takes_starred).then_some(false),
            has_user_interaction: None,
            origin: None,
            parent: None,
            updated_after: None,
            updated_before: rule.before.filter(|_| keep.is_none()),
            order: Order::UpdateTimeDesc,
        };
        Self {
            queries: states.map(query).collect(),
            after: None,
            places: Places {
                keep,
                taken: HashMap::new(),
            },
        }
    }

    /// The next page, which may be empty; `None` at the end.
    pub(super) async fn next(
        &mut self,
        service: &Service,
    ) -> Result<Option<Vec<(Arc<Session>, Standing)>>, Error> {
        let Some(query) = self.queries.front() else {
            return Ok(None);
        };
        let page = service.store.sessions(query, self.after.as_ref(), PAGE).await?;
        self.after = page.next;
        if self.after.is_none() {
            self.queries.pop_front();
        }
        let places = &mut self.places;
        let stand = |session: Arc<Session>| {
            let standing = places.standing(&session);
            (session, standing)
        };
        Ok(Some(page.rows.into_iter().map(stand).collect()))
    }
}

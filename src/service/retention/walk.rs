//! The sessions that a prune looks at, the last updated first, active ones before archived ones.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::pruning::{PAGE, Places, Standing};
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
    /// Sessions up to this one are counted, and not shown.
    behind: Option<SessionKey>,
    places: Places,
}

/// A session, where it stands among those of its workspace, and where in the walk.
pub(super) type Met = (Arc<Session>, Standing, SessionKey);

impl Walk {
    /// Over all that `rule` may take, and, where places are counted, over all that have one.
    ///
    /// An archived session takes a place only where active ones leave it: it was archived because it could go, and was
    /// updated by that. A walk over one state may begin behind a session; places are counted from the first all the same.
    pub(super) fn over(ns: &Namespace, rule: &Rule, keep: Option<u64>, behind: Option<SessionKey>) -> Self {
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
            after: behind.clone().filter(|_| keep.is_none()),
            behind,
            places: Places {
                keep,
                taken: HashMap::new(),
            },
        }
    }

    /// The next page, which may be empty; `None` at the end.
    pub(super) async fn next(&mut self, service: &Service) -> Result<Option<Vec<Met>>, Error> {
        let Some(query) = self.queries.front() else {
            return Ok(None);
        };
        let page = service.store.sessions(query, self.after.as_ref(), PAGE).await?;
        let places = &mut self.places;
        let met = page.rows.into_iter().map(|session| {
            let (standing, key) = (places.standing(&session), query.key(&session));
            (session, standing, key)
        });
        let (order, behind) = (query.order, self.behind.as_ref());
        let is_shown = |(_, _, key): &Met| behind.is_none_or(|behind| order.compare(key, behind).is_gt());
        let met = met.filter(is_shown).collect();
        self.after = page.next;
        if self.after.is_none() {
            self.queries.pop_front();
        }
        Ok(Some(met))
    }
}

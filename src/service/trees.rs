//! The tree that a session stands in: what it was forked from or is a part of, and what was forked from it or is a part
//! of it. A page is as dear as the nodes on it and the depth at which it begins.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::domain::limits::ANCESTORS_MAX;
use crate::domain::query::{Bound, Page};
use crate::domain::session::Profile;
use crate::domain::{Namespace, Session, SessionId};

use super::{Error, Service};

/// A session of a tree.
#[derive(Clone, Debug)]
pub enum Node {
    /// One that is there, its large texts left empty.
    There(Arc<Session>),
    /// An ancestor that was purged: its name is all that is known.
    Purged(SessionId),
}

impl Node {
    /// Its id.
    pub fn id(&self) -> &SessionId {
        match self {
            Self::There(session) => &session.id,
            Self::Purged(id) => id,
        }
    }
}

/// What is known when a page goes down: who stands above, and what is open.
struct Known {
    above: HashSet<SessionId>,
    branches: Vec<Branch>,
}

/// The children of a node that are still to be shown.
struct Branch {
    parent: SessionId,
    after: Option<SessionId>,
    read: VecDeque<(Arc<Session>, bool)>,
}

impl Service {
    /// A page of a session's tree after `after`: ancestors from the root on, the session, then what is below it, each
    /// before what is below it in turn, by id. `None`: nothing is there any more by which the page could begin.
    pub async fn session_tree(
        &self,
        ns: &Namespace,
        id: &SessionId,
        after: Option<&SessionId>,
        bound: Bound,
    ) -> Result<Option<Page<Node, SessionId>>, Error> {
        let session = self.found(ns, id).await?;
        let mut lineage = self.ancestors(ns, &session).await?;
        lineage.push(there(&session));
        // A session may be made again under the name of one that it was forked from: no way leads up again.
        let above: HashSet<SessionId> = lineage.iter().map(|node| node.id().clone()).collect();
        let start = match after {
            None => 0,
            Some(after) => match lineage.iter().position(|node| node.id() == after) {
                Some(at) => at + 1,
                None => lineage.len(),
            },
        };
        let mut rows: Vec<Node> = lineage
            .drain(start.min(lineage.len())..)
            .take(bound.rows + 1)
            .collect();
        if rows.len() <= bound.rows {
            let branches = match after {
                Some(after) if rows.is_empty() => self.branches_at(ns, id, after).await?,
                Some(_) | None => Some(vec![Branch::below(id)]),
            };
            let Some(branches) = branches else {
                return Ok(None);
            };
            let known = Known { above, branches };
            self.descend(ns, known, &mut rows, bound.rows + 1).await?;
        }
        let has_more = rows.len() > bound.rows;
        rows.truncate(bound.rows);
        let next = rows.last().filter(|_| has_more).map(|node| node.id().clone());
        Ok(Some(Page { rows, next }))
    }

    /// Where a session hangs, from the root on. Above one that was purged nothing is known but the root of its forks.
    async fn ancestors(&self, ns: &Namespace, session: &Session) -> Result<Vec<Node>, Error> {
        let (mut ancestors, mut names) = (Vec::new(), HashSet::from([session.id.clone()]));
        let mut above = session.above().cloned();
        let mut root = session.profile.origin.as_ref().map(|origin| origin.root.clone());
        while let Some(id) = above.take().filter(|_| ancestors.len() < ANCESTORS_MAX) {
            if !names.insert(id.clone()) {
                break;
            }
            match self.store.session(ns, &id).await? {
                Some(found) => {
                    above = found.above().cloned();
                    let origin = found.profile.origin.as_ref();
                    root = origin.map(|origin| origin.root.clone());
                    ancestors.push(there(&found));
                }
                None => {
                    above = root.take().filter(|root| *root != id);
                    ancestors.push(Node::Purged(id));
                }
            }
        }
        ancestors.reverse();
        Ok(ancestors)
    }

    /// The branches that are open right after a node below `id` was shown.
    async fn branches_at(
        &self,
        ns: &Namespace,
        id: &SessionId,
        shown: &SessionId,
    ) -> Result<Option<Vec<Branch>>, Error> {
        let mut branches = vec![Branch::below(shown)];
        let mut at = shown.clone();
        while at != *id {
            let above = match self.store.session(ns, &at).await? {
                Some(session) if branches.len() <= ANCESTORS_MAX => session.above().cloned(),
                Some(_) | None => None,
            };
            let Some(above) = above else {
                return Ok(None);
            };
            branches.push(Branch {
                after: Some(at),
                ..Branch::below(&above)
            });
            at = above;
        }
        branches.reverse();
        Ok(Some(branches))
    }

    /// Shows what is below, depth first, until there are `rows_max` rows.
    async fn descend(
        &self,
        ns: &Namespace,
        Known { above, mut branches }: Known,
        rows: &mut Vec<Node>,
        rows_max: usize,
    ) -> Result<(), Error> {
        while rows.len() < rows_max
            && let Some(branch) = branches.last_mut()
        {
            if branch.read.is_empty() {
                let wanted = rows_max - rows.len();
                let after = branch.after.as_ref();
                let children = self.store.children(ns, &branch.parent, after, wanted).await?;
                branch.read = children
                    .into_iter()
                    .map(|child| (child.session, child.has_children))
                    .collect();
            }
            let Some((session, has_children)) = branch.read.pop_front() else {
                branches.pop();
                continue;
            };
            branch.after = Some(session.id.clone());
            if above.contains(&session.id) {
                continue;
            }
            if has_children {
                branches.push(Branch::below(&session.id));
            }
            rows.push(Node::There(session));
        }
        Ok(())
    }
}

/// A node without its large texts: there may be thousands.
fn there(session: &Session) -> Node {
    let profile = Profile {
        texts: Arc::default(),
        ..Profile::clone(&session.profile)
    };
    Node::There(Arc::new(Session {
        profile: Arc::new(profile),
        ..session.clone()
    }))
}

impl Branch {
    fn below(parent: &SessionId) -> Self {
        Self {
            parent: parent.clone(),
            after: None,
            read: VecDeque::new(),
        }
    }
}

//! The tree that a session stands in: what it was forked from or is a part of, and what was forked from it or is a part
//! of it. A page is as dear as the nodes on it and the depth at which it begins.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::domain::limits::{ANCESTORS_MAX, PAGE_ROWS_MAX};
use crate::domain::query::{Bound, Page};
use crate::domain::session::Profile;
use crate::domain::{Namespace, Session, SessionId};
use crate::store::{self, Child};

use super::{Error, Service};

/// A session of a tree.
#[derive(Clone, Debug)]
pub enum Node {
    /// One that is there, its large texts left empty.
    There(Arc<Session>),
    /// An ancestor that was purged: its name is all that is known.
    Purged(SessionId),
    /// One that cannot be read: its name is all that can be told, and those beside, above and below it are shown.
    Unread(SessionId),
}

impl Node {
    /// Its id.
    pub fn id(&self) -> &SessionId {
        match self {
            Self::There(session) => &session.id,
            Self::Purged(id) | Self::Unread(id) => id,
        }
    }
}

/// A way down a tree, depth first.
struct Descent {
    /// Who stands above: a session may be made again under the name of one that it comes from.
    above: HashSet<SessionId>,
    /// What is open, the deepest last.
    branches: Vec<Branch>,
}

/// The children of a node that are still to be shown.
struct Branch {
    parent: SessionId,
    after: Option<SessionId>,
    read: VecDeque<Child>,
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
            let mut descent = Descent::from(id, above);
            if let Some(after) = after.filter(|_| rows.is_empty())
                && !descent.go_on_after(self, ns, after).await?
            {
                return Ok(None);
            }
            while rows.len() <= bound.rows
                && let Some(node) = descent.next(self, ns, bound.rows + 1 - rows.len()).await?
            {
                rows.push(node);
            }
        }
        let has_more = rows.len() > bound.rows;
        rows.truncate(bound.rows);
        let next = rows.last().filter(|_| has_more).map(|node| node.id().clone());
        Ok(Some(Page { rows, next }))
    }

    /// Where a session hangs, from the root on. Above one that was purged, or that cannot be read, nothing is known but
    /// the root of its forks.
    async fn ancestors(&self, ns: &Namespace, session: &Session) -> Result<Vec<Node>, Error> {
        let (mut ancestors, mut names) = (Vec::new(), HashSet::from([session.id.clone()]));
        let mut above = session.above().cloned();
        let mut root = session.profile.origin.as_ref().map(|origin| origin.root.clone());
        while let Some(id) = above.take().filter(|_| ancestors.len() < ANCESTORS_MAX) {
            if !names.insert(id.clone()) {
                break;
            }
            let node = match self.store.session(ns, &id).await {
                Ok(Some(found)) => {
                    above = found.above().cloned();
                    let origin = found.profile.origin.as_ref();
                    root = origin.map(|origin| origin.root.clone());
                    there(&found)
                }
                Ok(None) => {
                    above = root.take().filter(|root| *root != id);
                    Node::Purged(id)
                }
                Err(store::Error::Corrupt { row, reason }) => {
                    tracing::error!(row, reason, "a damaged session is an id alone in a tree");
                    above = root.take().filter(|root| *root != id);
                    Node::Unread(id)
                }
                Err(error) => return Err(error.into()),
            };
            ancestors.push(node);
        }
        ancestors.reverse();
        Ok(ancestors)
    }
}

impl Descent {
    /// From `id` down, which was shown.
    fn from(id: &SessionId, above: HashSet<SessionId>) -> Self {
        let branches = vec![Branch::below(id)];
        Self { above, branches }
    }

    /// Comes to where `shown` was shown, which is `id` or below it; whether it is still there.
    async fn go_on_after(
        &mut self,
        service: &Service,
        ns: &Namespace,
        shown: &SessionId,
    ) -> Result<bool, Error> {
        let [Branch { parent: id, .. }] = &self.branches[..] else {
            return Ok(false);
        };
        match branches_at(service, ns, id, shown).await {
            Ok(Some(branches)) => {
                self.branches = branches;
                return Ok(true);
            }
            Ok(None) => return Ok(false),
            // No way leads up from what cannot be read: the one down is gone again.
            Err(store::Error::Corrupt { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(node) = self.next(service, ns, PAGE_ROWS_MAX).await? {
            if node.id() == shown {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next node; `wanted` are likely to be asked for.
    async fn next(
        &mut self,
        service: &Service,
        ns: &Namespace,
        wanted: usize,
    ) -> Result<Option<Node>, Error> {
        while let Some(branch) = self.branches.last_mut() {
            if branch.read.is_empty() {
                let after = branch.after.as_ref();
                let children = service.store.children(ns, &branch.parent, after, wanted).await?;
                branch.read = children.into();
            }
            let Some(child) = branch.read.pop_front() else {
                self.branches.pop();
                continue;
            };
            branch.after = Some(child.id.clone());
            // Of one that cannot be read it is not known whether it hangs in two places.
            let is_open = |id: &SessionId| self.branches.iter().any(|branch| branch.parent == *id);
            if self.above.contains(&child.id) || child.session.is_none() && is_open(&child.id) {
                continue;
            }
            if child.has_children {
                self.branches.push(Branch::below(&child.id));
            }
            return Ok(Some(child.session.map_or(Node::Unread(child.id), Node::There)));
        }
        Ok(None)
    }
}

/// The branches that are open right after a node below `id` was shown.
async fn branches_at(
    service: &Service,
    ns: &Namespace,
    id: &SessionId,
    shown: &SessionId,
) -> Result<Option<Vec<Branch>>, store::Error> {
    let mut branches = vec![Branch::below(shown)];
    let mut at = shown.clone();
    while at != *id {
        let above = match service.store.session(ns, &at).await? {
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

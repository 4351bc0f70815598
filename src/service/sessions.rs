//! Sessions as resources: made, read, listed, changed, deleted and restored.

use std::sync::Arc;

use crate::domain::id::Revision;
use crate::domain::proposal::{Deletion, SessionCommand};
use crate::domain::query::{self, Bound, Page, SessionKey};
use crate::domain::session::{Change, Draft, Etag};
use crate::domain::{Command, Namespace, Noun, Outcome, Refusal, Session, SessionId};

use super::{Call, Error, Service, mismatched};

impl Service {
    /// Makes a session with an empty log.
    pub async fn create_session(
        &self,
        call: Call,
        id: Option<SessionId>,
        draft: Draft,
    ) -> Result<Arc<Session>, Error> {
        let id = id.unwrap_or_else(|| SessionId::from_uuid(self.fresh_id()));
        let draft = Box::new(draft);
        self.change(
            call,
            SessionCommand::Create {
                id,
                log: self.fresh_log(),
                draft,
            },
        )
        .await
    }

    /// A session, deleted ones included, at its present revision.
    pub async fn session(
        &self,
        ns: &Namespace,
        id: &SessionId,
        revision: Option<Revision>,
    ) -> Result<Arc<Session>, Error> {
        let session = self.found(ns, id).await?;
        at_revision(&session, revision)?;
        Ok(session)
    }

    /// A page of sessions.
    pub async fn sessions(
        &self,
        query: &query::Sessions,
        after: Option<&SessionKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Session>, SessionKey>, Error> {
        Ok(self.store.sessions(query, after, bound).await?)
    }

    /// Sets facts of a session.
    pub async fn update_session(
        &self,
        call: Call,
        id: SessionId,
        change: Change,
        etag: Option<Etag>,
    ) -> Result<Arc<Session>, Error> {
        self.change(
            call,
            SessionCommand::Update {
                id,
                change: Box::new(change),
                etag,
            },
        )
        .await
    }

    /// Deletes a session and its sub-sessions; `None` where it is gone.
    pub async fn delete_session(
        &self,
        call: Call,
        id: SessionId,
        mode: Deletion,
        etag: Option<Etag>,
    ) -> Result<Option<Arc<Session>>, Error> {
        let committed = self
            .commit(call, Command::Session(SessionCommand::Delete { id, mode, etag }))
            .await?;
        Ok(committed.session)
    }

    /// Restores a session and what the same deletion took.
    pub async fn undelete_session(&self, call: Call, id: SessionId) -> Result<Arc<Session>, Error> {
        self.change(call, SessionCommand::Undelete { id }).await
    }

    async fn change(&self, call: Call, command: SessionCommand) -> Result<Arc<Session>, Error> {
        let committed = self.commit(call, Command::Session(command)).await?;
        match committed.outcome {
            Outcome::Session { session } => standing(committed.session, &session),
            outcome => Err(mismatched(&outcome)),
        }
    }
}

/// The session an outcome names; a retry may come when it is purged already.
pub(super) fn standing(session: Option<Arc<Session>>, id: &SessionId) -> Result<Arc<Session>, Error> {
    session.ok_or_else(|| Refusal::no_session(id).into())
}

/// Past heads are not kept yet: only the present revision is there.
pub(super) fn at_revision(session: &Session, revision: Option<Revision>) -> Result<(), Error> {
    match revision {
        Some(revision) if revision != session.revision => Err(Refusal::NotFound {
            noun: Noun::Revision,
            id: format!("{}@{revision}", session.id),
        }
        .into()),
        Some(_) | None => Ok(()),
    }
}

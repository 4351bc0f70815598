//! Sessions as resources: made, read, listed, changed, deleted and restored.

use std::sync::Arc;

use crate::domain::id::Revision;
use crate::domain::proposal::{Deletion, SessionCommand};
use crate::domain::query::{self, Bound, Page, SessionKey};
use crate::domain::session::{Change, Draft, Etag, Profile};
use crate::domain::{Command, Namespace, Outcome, Refusal, Session, SessionId};

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

    /// A session, deleted ones included, as it is or as it was at a revision that is kept.
    pub async fn session(
        &self,
        ns: &Namespace,
        id: &SessionId,
        revision: Option<Revision>,
    ) -> Result<Arc<Session>, Error> {
        let session = self.found(ns, id).await?;
        self.as_of(session, revision).await
    }

    /// The session with the head that it had at a revision; its other facts are present.
    pub(super) async fn as_of(
        &self,
        session: Arc<Session>,
        revision: Option<Revision>,
    ) -> Result<Arc<Session>, Error> {
        let Some(revision) = revision.filter(|revision| *revision != session.revision) else {
            return Ok(session);
        };
        let head = self
            .store
            .past_head(&session.namespace, &session.id, revision)
            .await?;
        let head = head.ok_or_else(|| Refusal::no_revision(&session.id, revision))?;
        let profile = Profile {
            usage_total: None,
            incomplete_turn: head.incomplete_turn,
            ..Profile::clone(&session.profile)
        };
        Ok(Arc::new(Session {
            profile: Arc::new(profile),
            tip: head.tip.clone(),
            revision,
            preview: self.preview_at(&head.tip, &head.tip.tally).await?,
            ..Session::clone(&session)
        }))
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

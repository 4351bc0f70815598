//! Forks: the point is found on a reader, the cut is two rows.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::fork::{self, Count, Point};
use crate::domain::id::{EntryId, Revision};
use crate::domain::limits::MOVED_RETRIES_MAX;
use crate::domain::proposal::{self, SessionCommand};
use crate::domain::session::Removed;
use crate::domain::title::Title;
use crate::domain::{Command, Entry, Noun, Outcome, Refusal, Seq, Session, SessionId, Tally, Tip};
use crate::store;

use super::sessions::standing;
use super::{Call, Error, Service, mismatched};

/// What a caller wants forked.
#[derive(Clone, Debug)]
pub struct Fork {
    /// The session.
    pub source: SessionId,
    /// Where it is cut.
    pub point: Point,
    /// As of this revision.
    pub revision: Option<Revision>,
    /// The fork's title; else the source's, numbered.
    pub title: Option<Title>,
    /// The fork's id; else a new one.
    pub id: Option<SessionId>,
}

/// A fork that was made.
#[derive(Clone, Debug)]
pub struct Forked {
    /// The fork.
    pub session: Arc<Session>,
    /// The message it was cut before, for a client to offer for editing.
    pub removed: Option<Bytes>,
}

/// A point found.
struct Cut {
    tally: Tally,
    removed: Option<Entry>,
}

impl Service {
    /// Makes a session that shares everything before a point with another one.
    pub async fn fork_session(&self, call: Call, fork: Fork) -> Result<Forked, Error> {
        if let Some(outcome) = self.replayed(&call).await? {
            return self.forked_before(&call, outcome).await;
        }
        let id = fork
            .id
            .clone()
            .unwrap_or_else(|| SessionId::from_uuid(self.fresh_id()));
        for _ in 0..MOVED_RETRIES_MAX {
            let (command, removed) = match self.resolved(&call, &fork, &id).await {
                Ok(resolved) => resolved,
                Err(error) => match self.replayed(&call).await? {
                    Some(outcome) => return self.forked_before(&call, outcome).await,
                    None => return Err(error),
                },
            };
            let committed = match self.commit(call.clone(), command).await {
                Err(Error::Store(store::Error::Refused(Refusal::Moved { .. }))) => continue,
                committed => committed?,
            };
            if committed.replayed {
                return self.forked_before(&call, committed.outcome).await;
            }
            return Ok(Forked {
                session: standing(committed.session, &id)?,
                removed,
            });
        }
        Err(Refusal::Moved { session: fork.source }.into())
    }

    async fn resolved(
        &self,
        call: &Call,
        fork: &Fork,
        id: &SessionId,
    ) -> Result<(Command, Option<Bytes>), Error> {
        let present = self.found(&call.namespace, &fork.source).await?;
        let is_past = fork.revision.is_some_and(|revision| revision != present.revision);
        let source = self.as_of(present, fork.revision).await?;
        let Cut { tally, removed } = self.cut(&source, &fork.point).await?;
        let preview = self.preview_at(&source.tip, &tally).await?;
        let command = proposal::Fork {
            source: source.id.clone(),
            revision: fork.revision.filter(|_| is_past),
            source_log: source.tip.log.id,
            cut: tally,
            preview,
            removed: removed.as_ref().map(|entry| Removed {
                entry: entry.meta.id.clone(),
                seq: entry.meta.seq,
            }),
            title: fork.title.clone(),
            id: id.clone(),
            log: self.fresh_log(),
        };
        let command = Command::Session(SessionCommand::Fork(Box::new(command)));
        Ok((command, removed.map(|entry| entry.body)))
    }

    async fn cut(&self, source: &Session, point: &Point) -> Result<Cut, Error> {
        let end = &source.tip.tally;
        let message = match point {
            Point::MessageIndex(index) => {
                self.counted(source, Count::Visible, Count::Visible.number(*index, end)?)
                    .await?
            }
            Point::UserMessageIndex(index) => {
                self.counted(source, Count::Users, Count::Users.number(*index, end)?)
                    .await?
            }
            Point::TurnsFromEnd(turns) => {
                let back = Count::MainUsers.number(*turns, end)?;
                self.counted(source, Count::MainUsers, end.main_users - 1 - back)
                    .await?
            }
            Point::BeforeMessage(id) => self.named(source, id).await?,
            Point::ThroughMessage(id) => {
                let message = self.named(source, id).await?;
                fork::after(&message.meta)?;
                return Ok(Cut {
                    tally: message.meta.tally,
                    removed: None,
                });
            }
        };
        fork::before(&message.meta)?;
        let tally = self.tally_at(&source.tip, Seq(message.meta.seq.0 - 1)).await?;
        Ok(Cut {
            tally,
            removed: Some(message),
        })
    }

    async fn counted(&self, source: &Session, count: Count, number: u64) -> Result<Entry, Error> {
        let entry = self.store.seek(&source.tip, count, number).await?;
        let off = || store::Error::corrupt(format!("log {}", source.tip.log.id), "a tally is off");
        Ok(entry.ok_or_else(off)?)
    }

    async fn named(&self, source: &Session, id: &EntryId) -> Result<Entry, Error> {
        let entry = self.store.entry_by_id(&source.tip, id).await?;
        let message = entry.filter(|entry| entry.meta.mark.role.is_some());
        message.ok_or_else(|| {
            Refusal::NotFound {
                noun: Noun::Message,
                id: id.to_string(),
            }
            .into()
        })
    }

    /// The preview of a session that ends at a cut: of the last user text before it.
    pub(super) async fn preview_at(&self, tip: &Tip, cut: &Tally) -> Result<String, Error> {
        if cut.last_user_text == Seq::ZERO {
            return Ok(String::new());
        }
        let meta = self.store.entry_meta(&tip.log, cut.last_user_text).await?;
        Ok(meta.and_then(|meta| meta.mark.preview).unwrap_or_default())
    }

    /// What an earlier call under the same request_id answered; the removed message is read again where
    /// its session still has it.
    async fn forked_before(&self, call: &Call, outcome: Outcome) -> Result<Forked, Error> {
        let Outcome::Forked {
            session: id,
            source,
            removed,
        } = outcome
        else {
            return Err(mismatched(&outcome));
        };
        let session = self.found(&call.namespace, &id).await?;
        let source = self.store.session(&call.namespace, &source).await?;
        let removed = match (source, removed) {
            (Some(source), Some(removed)) => self.store.entry_by_id(&source.tip, &removed.entry).await?,
            (Some(_) | None, Some(_) | None) => None,
        };
        Ok(Forked {
            session,
            removed: removed.map(|entry| entry.body),
        })
    }
}

//! Saves: a thread's new items become messages, and these go to its session. The cost is that of what is
//! new, whatever the length of the conversation.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::body;
use crate::domain::id::{EntryId, Revision};
use crate::domain::limits::{MOVED_RETRIES_MAX, PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::domain::proposal::{self, Cut, SessionCommand, Written};
use crate::domain::query::{self, Bound};
use crate::domain::save::{Plan, plan, target};
use crate::domain::title::Title;
use crate::domain::{
    Command, Item, Outcome, Refusal, Seq, Session, SessionId, Thread, ThreadId, Tip, TurnId, Usage,
};
use crate::store;

use rebuild::Rebuild;

use super::sessions::standing;
use super::staging::Staging;
use super::{Call, Error, Service, mismatched};

mod rebuild;

/// What a caller wants saved.
#[derive(Clone, Debug)]
pub struct Save {
    /// The thread.
    pub thread: ThreadId,
    /// The session to save to; else the thread's own, or a new one.
    pub session: Option<SessionId>,
    /// A title; it renames.
    pub title: Option<Title>,
    /// The revision the caller last saw.
    pub expected: Option<Revision>,
}

/// A save that was made.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The session after it.
    pub session: Arc<Session>,
    /// Visible messages in it then.
    pub message_count: u64,
    /// Whether the save made it.
    pub created: bool,
}

impl Service {
    /// Writes what a thread said since the last save to its session.
    pub async fn save_session(&self, call: Call, save: Save) -> Result<Saved, Error> {
        if let Some(saved) = self.saved_before(&call).await? {
            return Ok(saved);
        }
        let fresh = SessionId::from_uuid(self.fresh_id());
        for _ in 0..MOVED_RETRIES_MAX {
            let command = match self.rebuilt(&call, &save, &fresh).await {
                Ok(command) => command,
                Err(error) => return self.saved_before(&call).await?.ok_or(error),
            };
            let committed = match self.commit(call.clone(), command).await {
                Err(Error::Store(store::Error::Refused(Refusal::Moved { .. }))) => continue,
                committed => committed?,
            };
            return match committed.outcome {
                Outcome::Saved {
                    session,
                    message_count,
                    created,
                } => Ok(Saved {
                    session: standing(committed.session, &session)?,
                    message_count,
                    created,
                }),
                outcome => Err(mismatched(&outcome)),
            };
        }
        Err(Refusal::Moved {
            session: save.session.unwrap_or(fresh),
        }
        .into())
    }

    /// What an earlier call under the same request_id did, or one that ran beside this one and won.
    async fn saved_before(&self, call: &Call) -> Result<Option<Saved>, Error> {
        match self.replayed(call).await? {
            Some(Outcome::Saved {
                session,
                message_count,
                created,
            }) => {
                let session = self.found(&call.namespace, &session).await?;
                Ok(Some(Saved {
                    session,
                    message_count,
                    created,
                }))
            }
            Some(outcome) => Err(mismatched(&outcome)),
            None => Ok(None),
        }
    }

    /// The command that saves the thread as it is now.
    async fn rebuilt(&self, call: &Call, save: &Save, fresh: &SessionId) -> Result<Command, Error> {
        let ns = &call.namespace;
        let thread = self.thread(ns, &save.thread).await?;
        let id = target(&thread, save.session.as_ref(), fresh);
        let session = self.store.session(ns, id).await?;
        let Plan {
            after,
            from,
            base,
            back_to,
        } = plan(&thread, session.as_deref())?;
        let cut = match (back_to, &from) {
            (Some(seq), Some(from)) => Some(self.cut_at(from, seq).await?),
            (None, _) | (Some(_), None) => None,
        };
        let onto = match (&cut, &from) {
            (Some(cut), Some(from)) => Some(Tip {
                log: from.log.clone(),
                tally: cut.tally.clone(),
            }),
            (None, from) => from.clone().or(base),
            (Some(_), None) => None,
        };
        let mut staging = Staging::onto(self, ns.clone(), onto.as_ref());
        self.messages_of(&thread, after, onto.as_ref(), &mut staging)
            .await?;
        let written = staging.finish().await?;
        let cut = cut.filter(|_| !is_empty(&written));
        let command = proposal::Save {
            thread: thread.id.clone(),
            journal: thread.journal,
            change: thread.change,
            requested: save.session.clone(),
            fresh: fresh.clone(),
            title: save.title.clone(),
            expected: save.expected,
            from,
            cut,
            written,
        };
        Ok(Command::Session(SessionCommand::Save(Box::new(command))))
    }

    /// A place that a session goes back to: what a snapshot in mid-turn left after it is written anew.
    pub(super) async fn cut_at(&self, from: &Tip, seq: Seq) -> Result<Cut, Error> {
        let tally = self.tally_at(from, seq).await?;
        let preview = self.preview_at(from, &tally).await?;
        Ok(Cut { tally, preview })
    }

    /// Rebuilds messages from the thread's items after `after`, a page a read.
    async fn messages_of(
        &self,
        thread: &Thread,
        after: Seq,
        onto: Option<&Tip>,
        staging: &mut Staging<'_>,
    ) -> Result<(), Error> {
        let mut rebuild = Rebuild::new(
            thread.profile.setting.model.clone(),
            self.limits.message_bytes_max,
        );
        let mut taken = HashSet::new();
        let mut query = query::Items { turn: None, after };
        let bound = Bound {
            rows: PAGE_ROWS_MAX,
            bytes: PAGE_BYTES_MAX,
        };
        while query.after < Seq(thread.items) {
            let items = self.store.items(thread.journal, &query, bound).await?;
            let Some(last) = items.last() else {
                return Err(store::Error::corrupt(
                    format!("journal {}", thread.journal),
                    "items are missing",
                )
                .into());
            };
            query.after = last.seq;
            let usage = self.usage_of(thread, &items).await?;
            let known = self.taken_ids(onto, &items).await?;
            taken.extend(known);
            for item in &items {
                let blocks = body::item_blocks(&item.body, item.kind).map_err(|error| {
                    store::Error::corrupt(format!("item {} of {}", item.seq, thread.journal), error)
                })?;
                let turn_usage = usage.get(&item.turn).copied().flatten();
                for message in rebuild.push(item, blocks, turn_usage) {
                    staging.push(self.entry(message, &mut taken)).await?;
                }
            }
        }
        for message in rebuild.finish() {
            staging.push(self.entry(message, &mut taken)).await?;
        }
        Ok(())
    }

    /// A message's entry. It is named after its first item where no other entry is: item ids are unique in
    /// their turn only.
    fn entry(&self, mut message: body::Composed, taken: &mut HashSet<EntryId>) -> crate::domain::NewEntry {
        if !taken.insert(message.id.clone()) {
            message.id = EntryId::from_uuid(self.fresh_id());
        }
        body::compose(&message)
    }

    async fn usage_of(
        &self,
        thread: &Thread,
        items: &[Item],
    ) -> Result<HashMap<TurnId, Option<Usage>>, Error> {
        let named: HashSet<TurnId> = items.iter().map(|item| item.turn.clone()).collect();
        let named: Vec<TurnId> = named.into_iter().collect();
        let turns = self.store.turns(thread.journal, &named).await?;
        Ok(turns.into_iter().map(|turn| (turn.id, turn.usage)).collect())
    }

    /// Which of the items' ids are entries of the session already.
    async fn taken_ids(&self, onto: Option<&Tip>, items: &[Item]) -> Result<HashSet<EntryId>, Error> {
        let Some(tip) = onto else {
            return Ok(HashSet::new());
        };
        let ids: Vec<EntryId> = items.iter().map(|item| EntryId::from(&item.id)).collect();
        Ok(self.store.known_entries(tip, &ids).await?)
    }
}

fn is_empty(written: &Written) -> bool {
    match written {
        Written::Inline { entries, .. } => entries.is_empty(),
        Written::Staged { .. } => false,
    }
}

//! Live conversations: threads, turns, items.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::proposal::ThreadCommand;
use crate::domain::query::{self, Bound, Page, ThreadKey};
use crate::domain::thread::{Change, Draft};
use crate::domain::turn::{NewItem, Status};
use crate::domain::{
    Command, Item, Namespace, Noun, Outcome, Refusal, Seq, Thread, ThreadId, Turn, TurnId, Usage,
};
use crate::store::Committed;

use super::{Call, Error, Service, mismatched};

/// Items, the turns they belong to, and where the next page starts.
#[derive(Clone, Debug)]
pub struct ItemsPage {
    /// In ascending order.
    pub items: Vec<Item>,
    /// In ascending order.
    pub turns: Vec<Turn>,
    /// The item that the next page follows; `None`: there is no more.
    pub next: Option<Seq>,
}

impl Service {
    /// Makes a thread.
    pub async fn create_thread(
        &self,
        call: Call,
        id: Option<ThreadId>,
        draft: Draft,
        epoch: Option<u64>,
    ) -> Result<Arc<Thread>, Error> {
        let id = id.unwrap_or_else(|| ThreadId::from_uuid(self.fresh_id()));
        let journal = self.fresh_log();
        let command = ThreadCommand::Create {
            id,
            journal,
            draft: Box::new(draft),
            epoch,
        };
        self.standing_thread(call, command).await
    }

    /// A thread.
    pub async fn thread(&self, ns: &Namespace, id: &ThreadId) -> Result<Arc<Thread>, Error> {
        let thread = self.store.thread(ns, id).await?;
        thread.ok_or_else(|| Refusal::no_thread(id).into())
    }

    /// A page of threads.
    pub async fn threads(
        &self,
        query: &query::Threads,
        after: Option<&ThreadKey>,
        bound: Bound,
    ) -> Result<Page<Arc<Thread>, ThreadKey>, Error> {
        Ok(self.store.threads(query, after, bound).await?)
    }

    /// Sets facts of a thread.
    pub async fn update_thread(
        &self,
        call: Call,
        id: ThreadId,
        change: Change,
        epoch: Option<u64>,
    ) -> Result<Arc<Thread>, Error> {
        let command = ThreadCommand::Update {
            id,
            change: Box::new(change),
            epoch,
        };
        self.standing_thread(call, command).await
    }

    /// Deletes a thread with its turns and items and returns it as it was; `None` where a retry finds it
    /// gone.
    pub async fn delete_thread(
        &self,
        call: Call,
        id: ThreadId,
        epoch: Option<u64>,
    ) -> Result<Option<Arc<Thread>>, Error> {
        let before = self.store.thread(&call.namespace, &id).await?;
        let committed = self
            .commit(call, Command::Thread(ThreadCommand::Delete { id, epoch }))
            .await?;
        Ok(committed.thread.or(before))
    }

    /// Starts a turn.
    pub async fn start_turn(
        &self,
        call: Call,
        id: ThreadId,
        turn: Option<TurnId>,
        epoch: Option<u64>,
    ) -> Result<Turn, Error> {
        let turn = turn.unwrap_or_else(|| TurnId::from_uuid(self.fresh_id()));
        self.turn(call, ThreadCommand::StartTurn { id, turn, epoch })
            .await
    }

    /// Adds or replaces items of a running turn; the seqs they span.
    pub async fn append_items(
        &self,
        call: Call,
        id: ThreadId,
        turn: TurnId,
        items: Vec<NewItem>,
        epoch: Option<u64>,
    ) -> Result<(Seq, Seq), Error> {
        let command = ThreadCommand::AppendItems {
            id,
            turn,
            items,
            epoch,
        };
        let Committed { outcome, .. } = self.commit(call, Command::Thread(command)).await?;
        match outcome {
            Outcome::Items { first, last, .. } => Ok((first, last)),
            outcome => Err(mismatched(&outcome)),
        }
    }

    /// Ends a turn.
    #[expect(clippy::too_many_arguments, reason = "one for each field of the request")]
    pub async fn finish_turn(
        &self,
        call: Call,
        id: ThreadId,
        turn: TurnId,
        status: Status,
        usage: Option<Usage>,
        error: String,
        epoch: Option<u64>,
    ) -> Result<Turn, Error> {
        self.turn(
            call,
            ThreadCommand::FinishTurn {
                id,
                turn,
                status,
                usage,
                error,
                epoch,
            },
        )
        .await
    }

    /// A page of a thread's own items, with the turns they belong to.
    pub async fn list_items(
        &self,
        ns: &Namespace,
        id: &ThreadId,
        turn: Option<TurnId>,
        after: Option<Seq>,
        bound: Bound,
    ) -> Result<ItemsPage, Error> {
        let thread = self.thread(ns, id).await?;
        if let Some(turn) = &turn
            && self.store.turn(thread.journal, turn).await?.is_none()
        {
            return Err(no_turn(turn));
        }
        let query = query::Items {
            turn,
            after: after.unwrap_or(Seq::ZERO),
        };
        let items = self.store.items(thread.journal, &query, bound).await?;
        let next = self.more_items(&thread, &query, items.last()).await?;
        let named: BTreeSet<TurnId> = items
            .iter()
            .map(|item| item.turn.clone())
            .chain(query.turn)
            .collect();
        let named: Vec<TurnId> = named.into_iter().collect();
        let turns = self.store.turns(thread.journal, &named).await?;
        Ok(ItemsPage { items, turns, next })
    }

    /// The seq that the next page follows. Where a page ends is the store's affair, so it is asked whether
    /// anything comes after.
    async fn more_items(
        &self,
        thread: &Thread,
        query: &query::Items,
        last: Option<&Item>,
    ) -> Result<Option<Seq>, Error> {
        let Some(last) = last.map(|item| item.seq).filter(|seq| seq.0 < thread.items) else {
            return Ok(None);
        };
        let rest = query::Items {
            after: last,
            turn: query.turn.clone(),
        };
        let more = self
            .store
            .items(thread.journal, &rest, Bound { rows: 1, bytes: 0 })
            .await?;
        Ok((!more.is_empty()).then_some(last))
    }

    async fn standing_thread(&self, call: Call, command: ThreadCommand) -> Result<Arc<Thread>, Error> {
        let committed = self.commit(call, Command::Thread(command)).await?;
        match committed.outcome {
            Outcome::Thread { thread } => committed.thread.ok_or_else(|| Refusal::no_thread(&thread).into()),
            outcome => Err(mismatched(&outcome)),
        }
    }

    async fn turn(&self, call: Call, command: ThreadCommand) -> Result<Turn, Error> {
        let ns = call.namespace.clone();
        let committed = self.commit(call, Command::Thread(command)).await?;
        let Outcome::Turn {
            thread: id,
            turn: turn_id,
        } = committed.outcome
        else {
            return Err(mismatched(&committed.outcome));
        };
        if let Some(turn) = committed.turn {
            return Ok(Turn::clone(&turn));
        }
        let thread = match committed.thread {
            Some(thread) => thread,
            None => self.thread(&ns, &id).await?,
        };
        let turn = self.store.turn(thread.journal, &turn_id).await?;
        turn.ok_or_else(|| no_turn(&turn_id))
    }
}

fn no_turn(id: &TurnId) -> Error {
    Refusal::NotFound {
        noun: Noun::Turn,
        id: id.to_string(),
    }
    .into()
}

//! Live conversations: threads, turns, items.

use std::sync::Arc;

use crate::domain::proposal::ThreadCommand;
use crate::domain::query::{self, Bound, Page, ThreadKey};
use crate::domain::thread::{Change, Draft};
use crate::domain::turn::{NewItem, Status};
use crate::domain::{Command, Namespace, Outcome, Refusal, Seq, Thread, ThreadId, Turn, TurnId, Usage};
use crate::store::Committed;

use super::items::no_turn;
use super::{Call, Error, Service, mismatched};

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

//! One transaction: takes keys, reads, decides one proposal after another on top of each other, writes, commits.
//!
//! What all proposals ask for first goes out in one piece, behind their keys: one round trip for a batch of appends, one
//! more where they name entries, one for all that is written, one to commit. A need that only the database can answer
//! once what is pending is written has that written first, in the same transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join, join4};

use super::{Pending, Shared};
use crate::domain::facts::Answer;
use crate::domain::{Decision, Effect, Facts, LogId, Need, Time, decide};
use crate::store::batch::{ROUNDS_MAX, open_needs, settled};
use crate::store::postgres::answers::{Asked, answers, once};
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;
use crate::store::postgres::keys::{self, Held, Key, MEMBERS_MAX};
use crate::store::postgres::{effects, past_heads};
use crate::store::{Changes, Committed, Error, stored};

/// Rounds of asking: needs follow from facts, and members are looked for until there is none more.
const ASKED_MAX: usize = 2 * ROUNDS_MAX;

/// Rows that are remembered while one transaction writes several times.
const FACTS_MAX: usize = 20_000;

/// Keys that are tried at once. The database has room for some thousand, and other lanes have theirs.
const KEYS_MAX: usize = 2 * MEMBERS_MAX;

/// What was stored.
#[derive(Debug)]
pub(super) struct Stored {
    /// In the order of the batch; `None`: it could not have its keys, and was not decided.
    pub(super) answers: Vec<Option<Result<Committed, Error>>>,
}

/// Why nothing was stored.
#[derive(Debug)]
pub(super) enum Stop {
    /// The first proposal needs these keys, and others have some of them.
    Keys(BTreeSet<Key>),
    /// Something failed before the commit.
    Fault(Fault),
    /// The commit failed: it may be stored.
    Commit(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Ends the transaction. A commit takes the time it takes: one that is broken off while it waits for a standby is
/// answered as if it were there, too.
const COMMIT: &str = "SET LOCAL statement_timeout = 0; COMMIT";

/// Decides and stores a batch: how the first takes its keys, and how long a statement may take, where that is less than
/// any may.
pub(super) async fn store(
    conn: &Conn,
    shared: &Shared,
    batch: &[Pending],
    (first, patience): (First, Option<Duration>),
) -> Result<Stored, Stop> {
    let mut transaction = Transaction {
        conn,
        shared,
        batch,
        first,
        begin: beginning(patience),
        seats: batch.iter().map(Seat::of).collect(),
        held: Held::default(),
        facts: Facts::default(),
        stored: stored::Stored::default(),
        effects: Vec::new(),
        heads: Vec::new(),
        lost: Vec::new(),
        oldest: None,
    };
    transaction.begin().await?;
    for at in 0..batch.len() {
        transaction.judge(at).await?;
    }
    transaction.flush().await?;
    transaction.commit().await
}

/// What begins a transaction, in one message.
fn beginning(patience: Option<Duration>) -> String {
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
    match patience {
        Some(patience) => {
            // Zero would be for ever.
            let millis = patience.as_millis().max(1);
            format!("{begin}; SET LOCAL statement_timeout = {millis}")
        }
        None => begin.to_owned(),
    }
}

/// Where a proposal stands.
struct Seat {
    /// The keys that it is known to need.
    keys: BTreeSet<Key>,
    state: State,
}

enum State {
    /// It is to be decided.
    Open,
    /// Others have a key that it needs.
    Out,
    Answered(Box<Result<Committed, Error>>),
}

impl Seat {
    fn of(pending: &Pending) -> Self {
        Self {
            keys: pending.keys.clone(),
            state: State::Open,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }
}

/// How the keys of the first proposal are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// They are waited for before anything is held.
    Waits,
    /// They are tried, as all others are: nobody waits for what the others can have.
    Tries,
}

/// Which round of asking it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// The transaction begins with it; nothing is held yet.
    First,
    Further,
}

struct Transaction<'a> {
    conn: &'a Conn,
    shared: &'a Shared,
    batch: &'a [Pending],
    first: First,
    begin: String,
    seats: Vec<Seat>,
    held: Held,
    facts: Facts,
    /// Rows as they were read, or written by this transaction.
    stored: stored::Stored,
    /// Decided, and not written yet.
    effects: Vec<Effect>,
    /// What was written.
    heads: Vec<effects::Heads>,
    /// Logs that have lost entries.
    lost: Vec<LogId>,
    /// The time of the oldest that was decided.
    oldest: Option<Time>,
}

impl Transaction<'_> {
    /// Begins, and asks for what all proposals need, as far as that goes before one of them is decided.
    async fn begin(&mut self) -> Result<(), Stop> {
        let all: Vec<usize> = (0..self.batch.len()).collect();
        let mut round = Round::First;
        for _ in 0..ASKED_MAX {
            if !self.ask(&all, round).await? {
                break;
            }
            round = Round::Further;
        }
        Ok(())
    }

    /// Takes the keys of what these proposals need next, and asks for it, in one round trip. Whether anything was open.
    async fn ask(&mut self, seats: &[usize], round: Round) -> Result<bool, Stop> {
        let mut open = Vec::new();
        for at in seats.iter().copied() {
            if !self.seats[at].is_open() {
                continue;
            }
            for need in open_needs(&self.facts, &self.batch[at].proposal) {
                let proposal = &self.batch[at].proposal;
                let salt = self.shared.salt;
                salt.of_need(proposal, &need, &mut self.seats[at].keys);
                open.push((at, need));
            }
        }
        if open.is_empty() && round == Round::Further {
            return Ok(false);
        }
        let is_open = !open.is_empty();
        let asking: BTreeSet<usize> = open.iter().map(|(at, _)| *at).collect();
        let asked = once(open);
        let conn = self.conn;
        let needs: Vec<Need> = asked.iter().map(|asked| asked.need.clone()).collect();
        let found = match round {
            Round::First => {
                let own = match self.first {
                    First::Waits => self.held.lacks(&self.seats[0].keys),
                    First::Tries => BTreeSet::new(),
                };
                self.held.extend(own.iter().copied());
                let others = self.lacking(&asking);
                let begun = join4(
                    conn.batch("beginning a transaction", &self.begin),
                    keys::wait(conn, &own),
                    keys::take(conn, &others),
                    answers(conn, &needs),
                );
                let (begun, waited, taken, found) = begun.await;
                begun?;
                waited?;
                self.held.extend(taken?);
                found?
            }
            Round::Further => {
                let lacking = self.lacking(&asking);
                let (taken, found) = join(keys::take(conn, &lacking), answers(conn, &needs)).await;
                self.held.extend(taken?);
                found?
            }
        };
        for at in asking {
            if self.seats[at].is_open() {
                self.has_keys(at)?;
            }
        }
        for (asked, answered) in asked.into_iter().zip(found) {
            self.learn(asked, answered);
        }
        Ok(is_open)
    }

    /// The keys that these proposals lack, as far as there is room for them; the others are out. Those of each are folded
    /// by themselves: who needs a whole namespace must not have those fail who need a little of it.
    fn lacking(&mut self, asking: &BTreeSet<usize>) -> BTreeSet<Key> {
        let mut lacking = BTreeSet::new();
        for at in asking.iter().copied() {
            let own = self.held.lacks(&self.seats[at].keys);
            if !lacking.is_empty() && lacking.len() + own.len() > KEYS_MAX {
                self.seats[at].state = State::Out;
                continue;
            }
            lacking.extend(own);
        }
        lacking
    }

    /// Whether a proposal has the keys that it is known to need; if not it is out.
    fn has_keys(&mut self, at: usize) -> Result<bool, Stop> {
        let lacking = self.held.lacks(&self.seats[at].keys);
        if lacking.is_empty() {
            return Ok(true);
        }
        self.out(at)?;
        Ok(false)
    }

    /// A proposal cannot be decided now. The first one, if it waits, stops the whole transaction, to wait for all that it
    /// is known to need in the next.
    fn out(&mut self, at: usize) -> Result<(), Stop> {
        if at == 0 && self.first == First::Waits {
            return Err(Stop::Keys(self.seats[at].keys.clone()));
        }
        self.seats[at].state = State::Out;
        Ok(())
    }

    /// Takes an answer, if somebody who asked has the keys of the need and of what the answer names; else the latter
    /// are taken, and it is asked again.
    fn learn(&mut self, asked: Asked, answered: Result<Answer, Fault>) {
        let Asked { need, seats } = asked;
        let askers: Vec<usize> = seats.into_iter().filter(|at| self.seats[*at].is_open()).collect();
        if askers.is_empty() {
            return;
        }
        let answer = match answered {
            Ok(answer) => answer,
            Err(fault) => {
                let error = Error::from(fault);
                for at in askers {
                    self.seats[at].state = State::Answered(Box::new(Err(again(&error))));
                }
                return;
            }
        };
        let mut follow = BTreeSet::new();
        self.shared.salt.of_answer(&need, &answer, &mut follow);
        // Held or not: the commit is told of in the order of all its keys.
        for at in askers {
            self.seats[at].keys.extend(&follow);
        }
        if !self.held.has_all(&follow) {
            return;
        }
        if let Answer::Session(Some(session)) = &answer {
            self.stored.has_session(session);
        } else if let Answer::Thread(Some(thread)) = &answer {
            self.stored.has_thread(thread);
        }
        self.facts.learn(need, answer);
    }

    /// Decides a proposal on top of those before it.
    async fn judge(&mut self, at: usize) -> Result<(), Stop> {
        let pending = &self.batch[at];
        for _ in 0..ASKED_MAX {
            let open = open_needs(&self.facts, &pending.proposal);
            if open.is_empty() || !self.seats[at].is_open() {
                break;
            }
            if open.iter().any(|need| !self.facts.store_can_answer(need)) {
                self.flush().await?;
            }
            self.ask(&[at], Round::Further).await?;
        }
        if self.seats[at].is_open() && !open_needs(&self.facts, &pending.proposal).is_empty() {
            // What is not known must not count as nothing.
            self.out(at)?;
        }
        if !self.seats[at].is_open() {
            return Ok(());
        }
        let decision = match decide(&self.facts, &pending.proposal, pending.now) {
            Ok(decision) => decision,
            Err(refusal) => {
                self.seats[at].state = State::Answered(Box::new(Err(refusal.into())));
                return Ok(());
            }
        };
        let Some(loose) = self.may_write(at, &decision).await? else {
            return Ok(());
        };
        let (effects, committed) = settled(&mut self.facts, &pending.proposal, decision);
        for effect in &effects {
            if let Effect::DropRows { log, .. } | Effect::RemoveLog(log) = effect {
                self.lost.push(*log);
            }
        }
        if !effects.is_empty() {
            self.oldest = self.oldest.into_iter().chain([pending.now]).min();
        }
        self.effects.extend(effects);
        self.effects.extend(loose);
        self.seats[at].state = State::Answered(Box::new(Ok(committed)));
        Ok(())
    }

    /// Takes the keys that what is to be written has to be written under. `None`: they cannot be had. Says which logs
    /// become loose with heads that are dropped.
    async fn may_write(&mut self, at: usize, decision: &Decision) -> Result<Option<Vec<Effect>>, Stop> {
        for effect in &decision.effects {
            self.shared.salt.of_effect(effect, &mut self.seats[at].keys);
        }
        if !self.take(at).await? {
            return Ok(None);
        }
        let (mut left, mut times, mut loose) = (Vec::new(), Vec::new(), Vec::new());
        for effect in &decision.effects {
            if let Effect::DropPastHeads {
                namespace,
                session,
                revision,
                time,
            } = effect
            {
                left.push((namespace, session, *revision));
                times.push(*time);
            }
        }
        if !left.is_empty() {
            // Heads that are left in this transaction are among them.
            self.flush().await?;
            for (place, log) in past_heads::logs(self.conn, &left).await? {
                self.shared.salt.of_log(log, &mut self.seats[at].keys);
                loose.push(Effect::Loosen(log, times[place]));
            }
        }
        Ok(self.take(at).await?.then_some(loose))
    }

    async fn take(&mut self, at: usize) -> Result<bool, Stop> {
        let lacking = self.held.lacks(&self.seats[at].keys);
        if !lacking.is_empty() {
            let taken = keys::take(self.conn, &lacking).await?;
            self.held.extend(taken);
        }
        self.has_keys(at)
    }

    /// Writes what is decided. What is known after that is what is likely to be asked for again.
    async fn flush(&mut self) -> Result<(), Stop> {
        if self.effects.is_empty() {
            return Ok(());
        }
        let heads = effects::write(self.conn, &self.effects, &self.stored).await?;
        heads.settle(&mut self.stored);
        self.heads.push(heads);
        self.effects.clear();
        self.facts.settle(FACTS_MAX);
        Ok(())
    }

    /// Commits, and tells whoever has to know before anybody is answered.
    async fn commit(self) -> Result<Stored, Stop> {
        let operation = "committing";
        if self.heads.is_empty() {
            self.conn.batch(operation, COMMIT).await?;
            return Ok(self.answered());
        }
        // Not what is held: where that is a whole namespace, it is these keys that others have.
        let keys = self.seats.iter().flat_map(|seat| &seat.keys);
        let turn = self.shared.order.take(keys.filter_map(Key::alone).collect());
        let committed = self.conn.batch(operation, COMMIT).await;
        if let Err(fault) = committed {
            // Whether it is stored nobody knows: whoever has to know of it looks.
            self.note();
            self.changes().for_each(|changes| self.shared.news.doubt(changes));
            return Err(Stop::Commit(fault));
        }
        turn.comes().await;
        self.note();
        for changes in self.changes() {
            self.shared.observers.tell(changes);
            self.shared.news.tell(changes);
        }
        drop(turn);
        Ok(self.answered())
    }

    /// Tells the search index where to look.
    fn note(&self) {
        if let Some(oldest) = self.oldest {
            let written = self.heads.iter().flat_map(effects::Heads::sessions);
            self.shared.hints.note(written, self.lost.iter().copied(), oldest);
        }
    }

    /// What was changed, in the order of the batch.
    fn changes(&self) -> impl Iterator<Item = &Changes> {
        self.seats.iter().filter_map(|seat| match &seat.state {
            State::Answered(answer) => answer.as_ref().as_ref().map(|committed| &committed.changes).ok(),
            State::Open | State::Out => None,
        })
    }

    fn answered(self) -> Stored {
        let answer = |seat: Seat| match seat.state {
            State::Open | State::Out => None,
            State::Answered(answer) => Some(*answer),
        };
        Stored {
            answers: self.seats.into_iter().map(answer).collect(),
        }
    }
}

/// The same to another one who asked.
fn again(error: &Error) -> Error {
    match error {
        Error::Corrupt { row, reason } => Error::corrupt(row.clone(), reason),
        Error::Refused(refusal) => Error::Refused(refusal.clone()),
        Error::Unavailable { operation, source } => Error::unavailable(operation, source.to_string()),
    }
}

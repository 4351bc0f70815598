//! Deciding proposals one after another on top of each other, for any backend.

use crate::domain::facts::Answer;
use crate::domain::need::{Need, needs};
use crate::domain::{Decision, Effect, Facts, Outcome, Proposal, Refusal, Time, decide};

use super::{Changes, Committed, Error};

mod weight;

pub(in crate::store) use weight::weight;

/// Rounds of asking: needs may follow from facts, three times. A prune goes that far: the family of a session, its
/// threads, their engines.
pub(in crate::store) const ROUNDS_MAX: usize = 4;

/// A backend that answers needs from what is stored.
pub trait Answers {
    /// Answers one need, as if nothing were pending.
    fn answer(&mut self, need: &Need) -> Result<Answer, Error>;
}

/// What became of a proposal.
#[derive(Debug)]
pub enum Verdict {
    /// Its effects are applied to the facts and have to be stored before it is acknowledged.
    Decided(Vec<Effect>, Committed),
    /// A rule said no.
    Refused(Refusal),
    /// It depends on what is pending in a way that only the store can tell: store that first.
    StoreFirst,
}

/// What a commit of `proposal` would do, were it made now.
pub fn consider(backend: &mut impl Answers, proposal: &Proposal, now: Time) -> Result<Outcome, Error> {
    match judge(&mut Facts::default(), backend, proposal, now)? {
        Verdict::Decided(_, committed) => Ok(committed.outcome),
        Verdict::Refused(refusal) => Err(refusal.into()),
        Verdict::StoreFirst => unreachable!("nothing is pending before the first proposal"),
    }
}

/// Answers the needs of `proposal`, decides it, and applies its effects to `facts`.
pub fn judge(
    facts: &mut Facts,
    backend: &mut impl Answers,
    proposal: &Proposal,
    now: Time,
) -> Result<Verdict, Error> {
    for _ in 0..ROUNDS_MAX {
        let open = open_needs(facts, proposal);
        if open.is_empty() {
            break;
        }
        for need in open {
            if !facts.store_can_answer(&need) {
                return Ok(Verdict::StoreFirst);
            }
            let answer = backend.answer(&need)?;
            facts.learn(need, answer);
        }
    }
    Ok(match decide(facts, proposal, now) {
        Ok(decision) => {
            let (effects, committed) = settled(facts, proposal, decision);
            Verdict::Decided(effects, committed)
        }
        Err(refusal) => Verdict::Refused(refusal),
    })
}

/// The needs of `proposal` that are not answered yet.
pub(in crate::store) fn open_needs(facts: &Facts, proposal: &Proposal) -> Vec<Need> {
    let needs = needs(proposal, facts).into_iter();
    needs.filter(|need| !facts.knows(need)).collect()
}

/// Puts a decision on top of the facts: its effects, and what is said of it once they are stored.
pub(in crate::store) fn settled(
    facts: &mut Facts,
    proposal: &Proposal,
    decision: Decision,
) -> (Vec<Effect>, Committed) {
    let Decision {
        effects,
        outcome,
        replayed,
    } = decision;
    for effect in &effects {
        facts.apply(effect);
    }
    let mut committed = committed(facts, proposal, outcome, replayed);
    committed.changes = Changes::of(&effects);
    (effects, committed)
}

fn committed(facts: &Facts, proposal: &Proposal, outcome: Outcome, replayed: bool) -> Committed {
    let ns = &proposal.namespace;
    let (mut session, mut thread, mut turn, mut resume) = (None, None, None, None);
    match &outcome {
        Outcome::Session { session: id }
        | Outcome::Appended { session: id, .. }
        | Outcome::Saved { session: id, .. }
        | Outcome::Snapshot { session: id, .. }
        | Outcome::Rewound { session: id, .. }
        | Outcome::Forked { session: id, .. } => session = facts.session(ns, id).flatten().cloned(),
        Outcome::Thread { thread: id } | Outcome::Items { thread: id, .. } => {
            thread = facts.thread(ns, id).flatten().cloned();
        }
        Outcome::Turn {
            thread: id,
            turn: turn_id,
        } => {
            thread = facts.thread(ns, id).flatten().cloned();
            turn = thread
                .as_ref()
                .and_then(|thread| facts.turn(thread.journal, turn_id).flatten().cloned());
        }
        Outcome::Resume { resume: id } => resume = facts.resume(ns, id).flatten().cloned(),
        Outcome::Imported(_)
        | Outcome::Pruned { .. }
        | Outcome::Engine { .. }
        | Outcome::Replica { .. }
        | Outcome::Kept { .. } => {}
    }
    Committed {
        outcome,
        replayed,
        session,
        thread,
        turn,
        resume,
        changes: Changes::default(),
    }
}

impl Changes {
    /// What of these effects can be watched.
    fn of(effects: &[Effect]) -> Self {
        let mut changes = Self::default();
        for effect in effects {
            match effect {
                Effect::PutSession(session) | Effect::MoveHead(session) => {
                    changes.sessions.push(session.clone());
                }
                Effect::RemoveSession(ns, id) => changes.removed_sessions.push((ns.clone(), id.clone())),
                Effect::Append(entries) => changes.entries.push(entries.clone()),
                Effect::PutThread(thread) => changes.threads.push(thread.clone()),
                Effect::RemoveThread(ns, id) => changes.removed_threads.push((ns.clone(), id.clone())),
                Effect::PutResume(resume) => changes.resumes.push(resume.clone()),
                Effect::PutReceipt(..)
                | Effect::DropReceipts { .. }
                | Effect::OpenLog(_)
                | Effect::DropRows { .. }
                | Effect::RemoveLog(_)
                | Effect::ReleasePath(_)
                | Effect::PutCopy(..)
                | Effect::Loosen(..)
                | Effect::Fasten(_)
                | Effect::PutPastHead(_)
                | Effect::DropPastHeads { .. }
                | Effect::PutEpoch(..)
                | Effect::PutEngine(_)
                | Effect::RemoveEngine(..)
                | Effect::PutReplica(_)
                | Effect::RemoveReplica(_)
                | Effect::DropResumes { .. }
                | Effect::PutTurn(_)
                | Effect::PutItems(_)
                | Effect::EndItems { .. } => {}
            }
        }
        changes
    }
}

//! The one match through which every mutation goes: facts and a proposal in, a decision out.
//!
//! Pure. The rules of each noun are in `decide/<noun>.rs`; a rule found anywhere else is in the wrong
//! place.

use super::effect::Effect;
use super::error::Refusal;
use super::facts::Facts;
use super::outcome::{Outcome, Receipt};
use super::proposal::{Command, Proposal};
use super::time::Time;

mod append;
mod deletion;
mod engine;
mod fork;
mod import;
mod replica;
mod resume;
mod retention;
mod rewind;
mod save;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod thread;
mod turn;
mod upkeep;

/// What is to be written, and what to answer once it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// In order.
    pub effects: Vec<Effect>,
    /// What was done.
    pub outcome: Outcome,
    /// Whether a receipt answered, and nothing is to be written.
    pub replayed: bool,
}

/// Decides `proposal` on facts that answer all its needs.
pub fn decide(facts: &Facts, proposal: &Proposal, now: Time) -> Result<Decision, Refusal> {
    let ns = &proposal.namespace;
    if let Some(request) = &proposal.request
        && let Some(Some(receipt)) = facts.receipt(ns, &request.id)
    {
        if receipt.fingerprint != request.fingerprint {
            return Err(Refusal::RequestIdReused);
        }
        return Ok(Decision {
            effects: Vec::new(),
            outcome: receipt.outcome.clone(),
            replayed: true,
        });
    }
    let fence = proposal.fence.as_ref();
    if let Some(fence) = fence {
        replica::living(facts, fence, now)?;
    }
    let (mut effects, outcome) = match &proposal.command {
        Command::Session(command) => session::decide(facts, ns, command, now)?,
        Command::Thread(command) => thread::decide(facts, ns, command, now)?,
        Command::Engine(command) => engine::decide(facts, ns, command, fence, now)?,
        Command::Resume(command) => resume::decide(facts, ns, command, fence, now)?,
        Command::Replica(command) => replica::decide(facts, ns, command, now)?,
        Command::Upkeep(command) => upkeep::decide(facts, ns, command, now)?,
    };
    if let Some(request) = &proposal.request {
        let receipt = Receipt {
            fingerprint: request.fingerprint,
            outcome: outcome.for_receipt(),
            time: now,
        };
        effects.push(Effect::PutReceipt(ns.clone(), request.id.clone(), receipt));
    }
    Ok(Decision {
        effects,
        outcome,
        replayed: false,
    })
}

/// What a noun's rules return.
type Ruling = Result<(Vec<Effect>, Outcome), Refusal>;

//! Which stored facts the rules of a command read. A store answers these and nothing else.

use std::sync::Arc;

use super::facts::Facts;
use super::id::{EntryId, ItemId, LogId, Namespace, RequestId, Seq, SessionId, ThreadId, TurnId};
use super::outcome::Outcome;
use super::path::Log;
use super::proposal::{Command, Deletion, Proposal, SessionCommand, ThreadCommand, UpkeepCommand};
use super::save;
use super::title::ForkName;

/// One question to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The record of a request_id.
    Receipt(Namespace, RequestId),
    /// A session.
    Session(Namespace, SessionId),
    /// All descendants of a session by parent_session_id, at most `CASCADE_SESSIONS_MAX` + 1.
    Family(Namespace, SessionId),
    /// The highest fork number among titles of a base, named by its key; `None` where there is no such title.
    HighestFork(Namespace, String),
    /// Where these entries lie among those of a log up to a seq, inherited ones included.
    Entries(Arc<Log>, Seq, Vec<EntryId>),
    /// A log.
    Log(LogId),
    /// Who names a log, and how far it reaches.
    References(LogId),
    /// A thread.
    Thread(Namespace, ThreadId),
    /// A turn of a journal.
    Turn(LogId, TurnId),
    /// These items of a turn.
    Items(LogId, TurnId, Vec<ItemId>),
}

/// Everything the rules of `proposal` read, as far as the facts so far tell; the store answers what is
/// not known yet and asks again, at most three times in all.
pub fn needs(proposal: &Proposal, facts: &Facts) -> Vec<Need> {
    let ns = &proposal.namespace;
    let mut needs = Vec::new();
    if let Some(request) = &proposal.request {
        needs.push(Need::Receipt(ns.clone(), request.id.clone()));
        if let Some(Some(receipt)) = facts.receipt(ns, &request.id) {
            needs.extend(of_outcome(ns, &receipt.outcome));
            return needs;
        }
    }
    match &proposal.command {
        Command::Session(command) => of_session(ns, command, facts, &mut needs),
        Command::Thread(command) => of_thread(ns, command, facts, &mut needs),
        Command::Upkeep(command) => of_upkeep(ns, command, facts, &mut needs),
    }
    needs
}

/// The resource that an answer shows as it stands now.
fn of_outcome(ns: &Namespace, outcome: &Outcome) -> Option<Need> {
    match outcome {
        Outcome::Session { session }
        | Outcome::Appended { session, .. }
        | Outcome::Saved { session, .. }
        | Outcome::Forked { session, .. } => Some(Need::Session(ns.clone(), session.clone())),
        Outcome::Thread { thread } | Outcome::Turn { thread, .. } | Outcome::Items { thread, .. } => {
            Some(Need::Thread(ns.clone(), thread.clone()))
        }
        Outcome::Kept { .. } => None,
    }
}

fn of_session(ns: &Namespace, command: &SessionCommand, facts: &Facts, needs: &mut Vec<Need>) {
    let session = |id: &SessionId| Need::Session(ns.clone(), id.clone());
    match command {
        SessionCommand::Create { id, draft, .. } => {
            needs.push(session(id));
            needs.extend(draft.parent.as_ref().map(session));
        }
        SessionCommand::Update { id, .. } => needs.push(session(id)),
        SessionCommand::Delete { id, mode, .. } => {
            needs.push(session(id));
            family(ns, id, facts, needs);
            if *mode == Deletion::Force {
                of_purged(ns, id, facts, needs);
            }
        }
        SessionCommand::Undelete { id } => {
            needs.push(session(id));
            family(ns, id, facts, needs);
        }
        SessionCommand::Append { id, entries, .. } => {
            needs.push(session(id));
            if let Some(Some(session)) = facts.session(ns, id) {
                let ids: Vec<EntryId> = entries
                    .iter()
                    .filter(|e| !e.id_is_fresh)
                    .map(|e| e.id.clone())
                    .collect();
                if !ids.is_empty() {
                    needs.push(Need::Entries(session.tip.log.clone(), session.tip.seq(), ids));
                }
            }
        }
        SessionCommand::Save(command) => {
            needs.push(Need::Thread(ns.clone(), command.thread.clone()));
            if let Some(Some(thread)) = facts.thread(ns, &command.thread) {
                let target = save::target(thread, command.requested.as_ref(), &command.fresh);
                needs.push(session(target));
            }
            if let super::proposal::Written::Staged { tip, .. } = &command.written {
                needs.push(Need::Log(tip.log.id));
                needs.push(Need::References(tip.log.id));
            }
        }
        SessionCommand::Fork(fork) => {
            needs.push(session(&fork.source));
            needs.push(session(&fork.id));
            if let (Some(Some(source)), None) = (facts.session(ns, &fork.source), &fork.title) {
                let key = ForkName::of(&source.profile.title).key().to_owned();
                needs.push(Need::HighestFork(ns.clone(), key));
            }
        }
    }
}

fn family(ns: &Namespace, id: &SessionId, facts: &Facts, needs: &mut Vec<Need>) {
    needs.push(Need::Family(ns.clone(), id.clone()));
    let members = facts.family(ns, id).into_iter().flatten();
    needs.extend(members.map(|member| Need::Session(ns.clone(), member.clone())));
}

/// The threads that name sessions which are to go.
fn of_purged(ns: &Namespace, id: &SessionId, facts: &Facts, needs: &mut Vec<Need>) {
    let family = facts.family(ns, id).into_iter().flatten();
    for id in family.chain([id]) {
        if let Some(Some(session)) = facts.session(ns, id) {
            needs.extend(
                session
                    .profile
                    .thread
                    .iter()
                    .map(|thread| Need::Thread(ns.clone(), thread.clone())),
            );
        }
    }
}

fn of_thread(ns: &Namespace, command: &ThreadCommand, facts: &Facts, needs: &mut Vec<Need>) {
    let (ThreadCommand::Create { id, .. }
    | ThreadCommand::Update { id, .. }
    | ThreadCommand::Delete { id, .. }
    | ThreadCommand::StartTurn { id, .. }
    | ThreadCommand::AppendItems { id, .. }
    | ThreadCommand::FinishTurn { id, .. }) = command;
    needs.push(Need::Thread(ns.clone(), id.clone()));
    let Some(Some(thread)) = facts.thread(ns, id) else {
        return;
    };
    match command {
        ThreadCommand::Create { .. } | ThreadCommand::Update { .. } => {}
        ThreadCommand::Delete { .. } => {
            let named = thread
                .marks
                .iter()
                .map(|mark| &mark.session)
                .chain(&thread.session);
            needs.extend(named.map(|session| Need::Session(ns.clone(), session.clone())));
        }
        ThreadCommand::StartTurn { turn, .. } | ThreadCommand::FinishTurn { turn, .. } => {
            needs.push(Need::Turn(thread.journal, turn.clone()));
        }
        ThreadCommand::AppendItems { turn, items, .. } => {
            needs.push(Need::Turn(thread.journal, turn.clone()));
            let ids = items.iter().map(|item| item.id.clone()).collect();
            needs.push(Need::Items(thread.journal, turn.clone(), ids));
        }
    }
}

fn of_upkeep(ns: &Namespace, command: &UpkeepCommand, facts: &Facts, needs: &mut Vec<Need>) {
    match command {
        UpkeepCommand::ExpireReceipts { .. } => {}
        UpkeepCommand::Purge { session } => {
            needs.push(Need::Session(ns.clone(), session.clone()));
            of_purged(ns, session, facts, needs);
        }
        UpkeepCommand::Compact { session, to, .. } => {
            needs.push(Need::Session(ns.clone(), session.clone()));
            needs.extend(to.path.parts().iter().map(|part| Need::Log(part.log)));
            if let Some(Some(session)) = facts.session(ns, session) {
                let thread = session.profile.thread.iter();
                needs.extend(thread.map(|thread| Need::Thread(ns.clone(), thread.clone())));
                let copied = session.tip.log.strange_parts(to);
                needs.extend(copied.map(|part| Need::References(part.log)));
            }
        }
        UpkeepCommand::Stage { log, .. } => {
            needs.push(Need::Log(log.id));
            needs.push(Need::References(log.id));
        }
        UpkeepCommand::Sweep { log } => {
            needs.push(Need::Log(*log));
            needs.push(Need::References(*log));
        }
    }
}

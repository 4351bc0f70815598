//! Which stored facts the rules of a command read. A store answers these and nothing else.

use std::sync::Arc;

use super::facts::Facts;
use super::id::{
    EngineId, EntryId, ItemId, LogId, Namespace, ReplicaId, RequestId, ResumeId, Revision, Seq, SessionId,
    Source, ThreadId, TurnId,
};
use super::limits::CASCADE_SESSIONS_MAX;
use super::outcome::Outcome;
use super::path::Log;
use super::proposal::{
    Command, Deletion, EngineCommand, Found, Imported, Place, Proposal, Prune, ReplicaCommand, ResumeCommand,
    SessionCommand, ThreadCommand, UpkeepCommand, Written,
};
use super::retention::Action;
use super::save;
use super::thread::Thread;
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
    /// The sessions that were imported from a source, by id, at most `IMPORT_BRANCHES_MAX` + 1.
    Imported(Namespace, Source),
    /// The highest fork number among titles of a base, named by its key; `None` where there is no such title.
    HighestFork(Namespace, String),
    /// Where these entries lie among those of a log up to a seq, inherited ones included.
    Entries(Arc<Log>, Seq, Vec<EntryId>),
    /// A log.
    Log(LogId),
    /// Who names a log, and how far it reaches.
    References(LogId),
    /// Where the entries of a log were first, if they are copies.
    Originals(LogId),
    /// A thread.
    Thread(Namespace, ThreadId),
    /// A turn of a journal.
    Turn(LogId, TurnId),
    /// These items of a turn.
    Items(LogId, TurnId, Vec<ItemId>),
    /// The last epoch that a namespace gave.
    Epoch(Namespace),
    /// An engine.
    Engine(Namespace, EngineId),
    /// A replica, and the time by the store's clock.
    Replica(ReplicaId),
    /// A resume.
    Resume(Namespace, ResumeId),
    /// The resume of a session that has not ended.
    OpenResume(Namespace, SessionId),
    /// A head that a session has left.
    PastHead(Namespace, SessionId, Revision),
}

/// Everything the rules of `proposal` read, as far as the facts so far tell; the store answers what is
/// not known yet and asks again, at most four times in all.
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
    needs.extend(
        proposal
            .fence
            .iter()
            .map(|fence| Need::Replica(fence.replica.clone())),
    );
    match &proposal.command {
        Command::Session(command) => of_session(ns, command, facts, &mut needs),
        Command::Thread(command) => of_thread(ns, command, facts, &mut needs),
        Command::Engine(command) => of_engine(ns, command, facts, &mut needs),
        Command::Resume(command) => of_resume(ns, command, facts, &mut needs),
        Command::Replica(command) => of_replica(ns, command, &mut needs),
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
        | Outcome::Snapshot { session, .. }
        | Outcome::Rewound { session, .. }
        | Outcome::Forked { session, .. } => Some(Need::Session(ns.clone(), session.clone())),
        Outcome::Thread { thread } | Outcome::Turn { thread, .. } | Outcome::Items { thread, .. } => {
            Some(Need::Thread(ns.clone(), thread.clone()))
        }
        Outcome::Engine { engine, .. } => Some(Need::Engine(ns.clone(), engine.clone())),
        Outcome::Resume { resume } => Some(Need::Resume(ns.clone(), resume.clone())),
        // The sessions of an import are read when it is answered.
        Outcome::Imported(_) | Outcome::Pruned { .. } | Outcome::Replica { .. } | Outcome::Kept { .. } => {
            None
        }
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
            of_ended(ns, id, facts, needs);
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
            of_target(
                ns,
                &command.thread,
                command.requested.as_ref(),
                &command.fresh,
                facts,
                needs,
            );
            of_written(&command.written, needs);
        }
        SessionCommand::Snapshot(command) => {
            of_target(
                ns,
                &command.thread,
                command.requested.as_ref(),
                &command.fresh,
                facts,
                needs,
            );
            of_written(&command.written, needs);
        }
        SessionCommand::Fork(fork) => {
            needs.push(session(&fork.source));
            needs.push(session(&fork.id));
            needs.extend(past_head(ns, &fork.source, fork.revision));
            if let (Some(Some(source)), None) = (facts.session(ns, &fork.source), &fork.title) {
                let key = ForkName::of(&source.profile.title).key().to_owned();
                needs.push(Need::HighestFork(ns.clone(), key));
            }
        }
        SessionCommand::Rewind(rewind) => {
            needs.push(session(&rewind.session));
            needs.extend(past_head(ns, &rewind.session, rewind.to));
        }
        SessionCommand::Prune(prune) => of_prune(ns, prune, facts, needs),
        SessionCommand::Pruned { .. } => {}
        SessionCommand::Import(import) => {
            let sessions = import.sessions.iter();
            sessions.for_each(|imported| of_imported(ns, imported, needs));
        }
    }
}

/// The sessions found, those that would go with them, and who uses any of them.
fn of_prune(ns: &Namespace, prune: &Prune, facts: &Facts, needs: &mut Vec<Need>) {
    let is_archived = prune.rule.action == Action::Archive;
    for found in &prune.found {
        needs.push(Need::Session(ns.clone(), found.id.clone()));
        needs.extend((!is_archived).then(|| Need::Family(ns.clone(), found.id.clone())));
    }
    // How much a commit looks at depends on how many would go.
    if !is_archived && needs.iter().any(|need| !facts.knows(need)) {
        return;
    }
    let (reached, _) = prune.reach(|id| facts.family(ns, id).map_or(0, Vec::len));
    // What is too many is not taken.
    let is_bounded = |found: &&Found| {
        facts
            .family(ns, &found.id)
            .is_none_or(|family| family.len() <= CASCADE_SESSIONS_MAX)
    };
    for found in reached.into_iter().filter(is_bounded) {
        if !is_archived {
            family(ns, &found.id, facts, needs);
        }
        of_ended(ns, &found.id, facts, needs);
        of_purged(ns, &found.id, facts, needs);
        of_owners(ns, &found.id, facts, needs);
    }
}

/// The engines of the threads that a session and its sub-sessions name.
fn of_owners(ns: &Namespace, id: &SessionId, facts: &Facts, needs: &mut Vec<Need>) {
    let family = facts.family(ns, id).into_iter().flatten();
    for id in family.chain([id]) {
        let thread = facts
            .session(ns, id)
            .flatten()
            .and_then(|session| session.profile.thread.as_ref());
        let thread = thread.and_then(|thread| facts.thread(ns, thread).flatten());
        let engine = thread.and_then(|thread| thread.engine.clone());
        needs.extend(engine.map(|engine| Need::Engine(ns.clone(), engine)));
    }
}

fn of_imported(ns: &Namespace, imported: &Imported, needs: &mut Vec<Need>) {
    let session = |id: &SessionId| Need::Session(ns.clone(), id.clone());
    let source = imported.source.iter();
    needs.extend(source.map(|source| Need::Imported(ns.clone(), source.clone())));
    of_written(&imported.written, needs);
    match &imported.place {
        Place::New { id } => needs.push(session(id)),
        Place::After { session: id, .. } => needs.push(session(id)),
        Place::Branch {
            session: source, id, ..
        } => {
            needs.extend([source, id].map(session));
            if let Some((title, _)) = &imported.restored.title {
                let key = ForkName::of(title).key().to_owned();
                needs.push(Need::HighestFork(ns.clone(), key));
            }
        }
    }
}

fn past_head(ns: &Namespace, session: &SessionId, revision: Option<Revision>) -> Option<Need> {
    revision.map(|revision| Need::PastHead(ns.clone(), session.clone(), revision))
}

/// A thread and the session that it is saved to.
fn of_target(
    ns: &Namespace,
    thread: &ThreadId,
    requested: Option<&SessionId>,
    fresh: &SessionId,
    facts: &Facts,
    needs: &mut Vec<Need>,
) {
    needs.push(Need::Thread(ns.clone(), thread.clone()));
    if let Some(Some(thread)) = facts.thread(ns, thread) {
        needs.push(Need::Session(
            ns.clone(),
            save::target(thread, requested, fresh).clone(),
        ));
    }
}

fn of_written(written: &Written, needs: &mut Vec<Need>) {
    match written {
        Written::Inline { .. } => {}
        Written::Staged { tip, .. } => {
            needs.push(Need::Log(tip.log.id));
            needs.push(Need::References(tip.log.id));
        }
    }
}

/// The resumes that a deletion ends.
fn of_ended(ns: &Namespace, id: &SessionId, facts: &Facts, needs: &mut Vec<Need>) {
    let family = facts.family(ns, id).into_iter().flatten();
    needs.extend(
        family
            .chain([id])
            .map(|member| Need::OpenResume(ns.clone(), member.clone())),
    );
}

fn family(ns: &Namespace, id: &SessionId, facts: &Facts, needs: &mut Vec<Need>) {
    needs.push(Need::Family(ns.clone(), id.clone()));
    let members = facts.family(ns, id).into_iter().flatten();
    needs.extend(members.map(|member| Need::Session(ns.clone(), member.clone())));
}

/// The threads of sessions which are to go.
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
    needs.extend(
        thread
            .engine
            .clone()
            .map(|engine| Need::Engine(ns.clone(), engine)),
    );
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

fn of_engine(ns: &Namespace, command: &EngineCommand, facts: &Facts, needs: &mut Vec<Need>) {
    let (EngineCommand::Attach { id, .. }
    | EngineCommand::Detach { id, .. }
    | EngineCommand::OpenThread { id, .. }
    | EngineCommand::CloseThread { id, .. }
    | EngineCommand::Interrupt { id, .. }
    | EngineCommand::Forget { id }) = command;
    needs.push(Need::Engine(ns.clone(), id.clone()));
    match command {
        EngineCommand::Attach { .. } => needs.push(Need::Epoch(ns.clone())),
        EngineCommand::Detach { .. } => {
            let engine = facts.engine(ns, id).flatten();
            let replica = engine.and_then(|engine| engine.replica.as_ref());
            needs.extend(replica.map(|fence| Need::Replica(fence.replica.clone())));
        }
        EngineCommand::Forget { .. } => {}
        EngineCommand::OpenThread { thread, .. }
        | EngineCommand::CloseThread { thread, .. }
        | EngineCommand::Interrupt { thread, .. } => {
            needs.push(Need::Thread(ns.clone(), thread.clone()));
            if let Some(Some(thread)) = facts.thread(ns, thread) {
                needs.extend(thread.engine.clone().map(|owner| Need::Engine(ns.clone(), owner)));
                let turn = thread.active_turn.clone();
                needs.extend(turn.map(|turn| Need::Turn(thread.journal, turn)));
            }
        }
    }
}

fn of_resume(ns: &Namespace, command: &ResumeCommand, facts: &Facts, needs: &mut Vec<Need>) {
    let id = match command {
        ResumeCommand::Open(open) => {
            needs.push(Need::OpenResume(ns.clone(), open.session.clone()));
            let thread = of_linked(ns, &open.session, facts, needs);
            let owner = thread.and_then(|thread| thread.engine.clone());
            needs.extend(owner.map(|engine| Need::Engine(ns.clone(), engine)));
            return;
        }
        ResumeCommand::Start(start) => &start.id,
        ResumeCommand::Seat(seat) => &seat.id,
        ResumeCommand::Take { id }
        | ResumeCommand::Hand { id, .. }
        | ResumeCommand::Progress { id, .. }
        | ResumeCommand::Fail { id, .. }
        | ResumeCommand::Cancel { id } => id,
    };
    needs.push(Need::Resume(ns.clone(), id.clone()));
    let Some(Some(resume)) = facts.resume(ns, id) else {
        return;
    };
    match command {
        ResumeCommand::Open(_)
        | ResumeCommand::Progress { .. }
        | ResumeCommand::Fail { .. }
        | ResumeCommand::Cancel { .. } => {}
        ResumeCommand::Take { .. } => {
            let driver = resume.driver.iter();
            needs.extend(driver.map(|driver| Need::Replica(driver.replica.clone())));
        }
        ResumeCommand::Hand { to, .. } => needs.push(Need::Replica(to.replica.clone())),
        ResumeCommand::Start(start) => {
            of_linked(ns, &resume.session, facts, needs);
            needs.push(Need::Thread(ns.clone(), start.thread.clone()));
        }
        ResumeCommand::Seat(_) => {
            of_linked(ns, &resume.session, facts, needs);
            needs.push(Need::Thread(ns.clone(), resume.thread.clone()));
            match &resume.engine {
                Some(engine) => needs.push(Need::Engine(ns.clone(), engine.clone())),
                None => needs.push(Need::Epoch(ns.clone())),
            }
        }
    }
}

fn of_replica(ns: &Namespace, command: &ReplicaCommand, needs: &mut Vec<Need>) {
    match command {
        ReplicaCommand::Join { id, .. } => {
            needs.push(Need::Epoch(ns.clone()));
            needs.push(Need::Replica(id.clone()));
        }
        ReplicaCommand::Renew { fence, .. }
        | ReplicaCommand::Leave { fence }
        | ReplicaCommand::Expire { fence } => needs.push(Need::Replica(fence.replica.clone())),
    }
}

/// A session and its thread, which is returned where it is known.
fn of_linked<'a>(
    ns: &Namespace,
    session: &SessionId,
    facts: &'a Facts,
    needs: &mut Vec<Need>,
) -> Option<&'a Arc<Thread>> {
    needs.push(Need::Session(ns.clone(), session.clone()));
    let session = facts.session(ns, session).flatten()?;
    let thread = session.profile.thread.as_ref()?;
    needs.push(Need::Thread(ns.clone(), thread.clone()));
    facts.thread(ns, thread).flatten()
}

fn of_upkeep(ns: &Namespace, command: &UpkeepCommand, facts: &Facts, needs: &mut Vec<Need>) {
    match command {
        UpkeepCommand::ExpireReceipts { .. } | UpkeepCommand::ExpireResumes { .. } => {}
        UpkeepCommand::ExpireHead { session, revision } => {
            needs.extend(past_head(ns, session, Some(*revision)));
        }
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
                let copied = session.tip.log.copied(to).into_iter();
                let spans = copied.flat_map(|(_, spans)| spans);
                needs.extend(spans.map(|span| Need::Originals(span.log)));
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

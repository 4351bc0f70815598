//! Which lane a proposal goes to, and what it is called in the logs.

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::proposal::{
    EngineCommand, ReplicaCommand, ResumeCommand, SessionCommand, ThreadCommand, UpkeepCommand,
};
use crate::domain::{Command, Proposal};

/// The lane of a proposal, of at least two. The last is that of a replica's own lease, which has to be renewed in time
/// whatever the others wait for; else it is the lane of its main name: the thread that it writes to, else the session,
/// else what it is of.
pub(super) fn lane_of(proposal: &Proposal, lanes: usize) -> usize {
    let last = lanes.saturating_sub(1);
    let log;
    let name = match &proposal.command {
        Command::Session(command) => match command {
            SessionCommand::Create { id, .. }
            | SessionCommand::Update { id, .. }
            | SessionCommand::Delete { id, .. }
            | SessionCommand::Undelete { id }
            | SessionCommand::Append { id, .. } => id.as_str(),
            SessionCommand::Save(save) => save.thread.as_str(),
            SessionCommand::Snapshot(snapshot) => snapshot.thread.as_str(),
            SessionCommand::Fork(fork) => fork.source.as_str(),
            SessionCommand::Rewind(rewind) => rewind.session.as_str(),
            SessionCommand::Prune(_) | SessionCommand::Pruned { .. } | SessionCommand::Import(_) => "",
        },
        Command::Thread(command) => match command {
            ThreadCommand::Create { id, .. }
            | ThreadCommand::Update { id, .. }
            | ThreadCommand::Delete { id, .. }
            | ThreadCommand::StartTurn { id, .. }
            | ThreadCommand::AppendItems { id, .. }
            | ThreadCommand::FinishTurn { id, .. } => id.as_str(),
        },
        Command::Engine(command) => match command {
            EngineCommand::OpenThread { thread, .. }
            | EngineCommand::CloseThread { thread, .. }
            | EngineCommand::Interrupt { thread, .. } => thread.as_str(),
            EngineCommand::Attach { id, .. }
            | EngineCommand::Detach { id, .. }
            | EngineCommand::Forget { id } => id.as_str(),
        },
        Command::Resume(command) => match command {
            ResumeCommand::Open(open) => open.session.as_str(),
            ResumeCommand::Start(start) => start.id.as_str(),
            ResumeCommand::Seat(seat) => seat.id.as_str(),
            ResumeCommand::Progress { id, .. }
            | ResumeCommand::Fail { id, .. }
            | ResumeCommand::Take { id }
            | ResumeCommand::Hand { id, .. }
            | ResumeCommand::Cancel { id } => id.as_str(),
        },
        // It may wait for what the replica that is gone still holds, and no renewal is to wait behind it.
        Command::Replica(ReplicaCommand::Expire { fence }) => fence.replica.as_str(),
        Command::Replica(_) => return last,
        Command::Upkeep(command) => match command {
            UpkeepCommand::ExpireReceipts { .. } | UpkeepCommand::ExpireResumes { .. } => "",
            UpkeepCommand::ExpireHead { session, .. }
            | UpkeepCommand::Purge { session }
            | UpkeepCommand::Compact { session, .. } => session.as_str(),
            UpkeepCommand::Stage { log: staged, .. } => {
                log = staged.id.to_string();
                log.as_str()
            }
            UpkeepCommand::Sweep { log: swept } => {
                log = swept.to_string();
                log.as_str()
            }
        },
    };
    let hash = xxh3_64(format!("{}/{name}", proposal.namespace).as_bytes());
    usize::try_from(hash % last.max(1) as u64).unwrap_or_default()
}

/// What a transaction is called that begins with this.
pub(super) fn name_of(command: &Command) -> &'static str {
    match command {
        Command::Session(command) => match command {
            SessionCommand::Create { .. } => "session create",
            SessionCommand::Update { .. } => "session update",
            SessionCommand::Delete { .. } => "session delete",
            SessionCommand::Undelete { .. } => "session undelete",
            SessionCommand::Append { .. } => "session append",
            SessionCommand::Save(_) => "session save",
            SessionCommand::Snapshot(_) => "session snapshot",
            SessionCommand::Fork(_) => "session fork",
            SessionCommand::Rewind(_) => "session rewind",
            SessionCommand::Prune(_) => "session prune",
            SessionCommand::Pruned { .. } => "session pruned",
            SessionCommand::Import(_) => "session import",
        },
        Command::Thread(command) => match command {
            ThreadCommand::Create { .. } => "thread create",
            ThreadCommand::Update { .. } => "thread update",
            ThreadCommand::Delete { .. } => "thread delete",
            ThreadCommand::StartTurn { .. } => "thread start_turn",
            ThreadCommand::AppendItems { .. } => "thread append_items",
            ThreadCommand::FinishTurn { .. } => "thread finish_turn",
        },
        Command::Engine(command) => match command {
            EngineCommand::OpenThread { .. } => "engine open_thread",
            EngineCommand::CloseThread { .. } => "engine close_thread",
            EngineCommand::Interrupt { .. } => "engine interrupt",
            EngineCommand::Attach { .. } => "engine attach",
            EngineCommand::Detach { .. } => "engine detach",
            EngineCommand::Forget { .. } => "engine forget",
        },
        Command::Resume(command) => match command {
            ResumeCommand::Open(_) => "resume open",
            ResumeCommand::Start(_) => "resume start",
            ResumeCommand::Seat(_) => "resume seat",
            ResumeCommand::Progress { .. } => "resume progress",
            ResumeCommand::Fail { .. } => "resume fail",
            ResumeCommand::Take { .. } => "resume take",
            ResumeCommand::Hand { .. } => "resume hand",
            ResumeCommand::Cancel { .. } => "resume cancel",
        },
        Command::Replica(command) => match command {
            ReplicaCommand::Join { .. } => "replica join",
            ReplicaCommand::Renew { .. } => "replica renew",
            ReplicaCommand::Leave { .. } => "replica leave",
            ReplicaCommand::Expire { .. } => "replica expire",
        },
        Command::Upkeep(command) => match command {
            UpkeepCommand::ExpireReceipts { .. } => "upkeep expire_receipts",
            UpkeepCommand::ExpireResumes { .. } => "upkeep expire_resumes",
            UpkeepCommand::ExpireHead { .. } => "upkeep expire_head",
            UpkeepCommand::Purge { .. } => "upkeep purge",
            UpkeepCommand::Compact { .. } => "upkeep compact",
            UpkeepCommand::Stage { .. } => "upkeep stage",
            UpkeepCommand::Sweep { .. } => "upkeep sweep",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture as f;

    #[test]
    fn leases_have_a_lane_of_their_own() {
        let renew = f::to_replica(ReplicaCommand::Leave {
            fence: f::fence("a", 1),
        });
        assert_eq!((lane_of(&renew, 2), lane_of(&renew, 4)), (1, 3));
        let expire = f::to_replica(ReplicaCommand::Expire {
            fence: f::fence("a", 1),
        });
        assert!(lane_of(&expire, 4) < 3, "what is gone may hold what it waits for");
        let of = |id: String| {
            let undelete = SessionCommand::Undelete { id: f::session(&id) };
            lane_of(&f::to_session(undelete), 4)
        };
        let all: std::collections::BTreeSet<usize> = (0..100).map(|at| of(format!("s{at}"))).collect();
        assert!(all.into_iter().eq(0..3));
    }
}

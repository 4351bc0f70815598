//! Which lane a proposal goes to: what has one name meets in one.

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::proposal::{
    EngineCommand, ReplicaCommand, ResumeCommand, SessionCommand, ThreadCommand, UpkeepCommand,
};
use crate::domain::{Command, Proposal};

/// The lane of the main name of a proposal: the thread that it writes to, else the session, else what it is of.
pub(super) fn lane_of(proposal: &Proposal, lanes: usize) -> usize {
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
        Command::Replica(command) => match command {
            ReplicaCommand::Join { id, .. } => id.as_str(),
            ReplicaCommand::Renew { fence, .. }
            | ReplicaCommand::Leave { fence }
            | ReplicaCommand::Expire { fence } => fence.replica.as_str(),
        },
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
    usize::try_from(hash % lanes.max(1) as u64).unwrap_or_default()
}

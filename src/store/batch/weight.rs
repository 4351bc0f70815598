//! How much of a batch a proposal takes.

use crate::domain::proposal::{Command, Proposal, SessionCommand, ThreadCommand, UpkeepCommand, Written};

/// Bytes of the bodies of a proposal.
pub(in crate::store) fn weight(proposal: &Proposal) -> usize {
    match &proposal.command {
        Command::Session(command) => match command {
            SessionCommand::Append { entries, .. } => entries.iter().map(|entry| entry.body.len()).sum(),
            SessionCommand::Save(save) => written(&save.written),
            SessionCommand::Snapshot(snapshot) => written(&snapshot.written),
            SessionCommand::Import(import) => {
                let sessions = import.sessions.iter();
                sessions.map(|imported| written(&imported.written)).sum()
            }
            SessionCommand::Create { .. }
            | SessionCommand::Update { .. }
            | SessionCommand::Delete { .. }
            | SessionCommand::Undelete { .. }
            | SessionCommand::Fork(_)
            | SessionCommand::Rewind(_)
            | SessionCommand::Prune(_)
            | SessionCommand::Pruned { .. } => 0,
        },
        Command::Thread(command) => match command {
            ThreadCommand::AppendItems { items, .. } => items.iter().map(|item| item.body.len()).sum(),
            ThreadCommand::Create { .. }
            | ThreadCommand::Update { .. }
            | ThreadCommand::Delete { .. }
            | ThreadCommand::StartTurn { .. }
            | ThreadCommand::FinishTurn { .. } => 0,
        },
        Command::Engine(_) | Command::Resume(_) | Command::Replica(_) => 0,
        Command::Upkeep(command) => match command {
            UpkeepCommand::Stage { entries, .. } => entries.iter().map(|entry| entry.body.len()).sum(),
            UpkeepCommand::ExpireReceipts { .. }
            | UpkeepCommand::ExpireResumes { .. }
            | UpkeepCommand::ExpireHead { .. }
            | UpkeepCommand::Purge { .. }
            | UpkeepCommand::Compact { .. }
            | UpkeepCommand::Sweep { .. } => 0,
        },
    }
}

fn written(written: &Written) -> usize {
    match written {
        Written::Inline { entries, .. } => entries.iter().map(|entry| entry.body.len()).sum(),
        Written::Staged { .. } => 0,
    }
}

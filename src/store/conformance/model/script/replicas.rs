//! What replicas of a random script do, and which of them propose what. Replicas are in no namespace: those of a script
//! bear the name of its own, so that scripts which run at the same time cannot meet.

use std::time::Duration;

use super::Script;
use crate::domain::fixture as f;
use crate::domain::proposal::{Over, ReplicaCommand, ResumeCommand};
use crate::domain::{Command, Fence, Resume, Time};
use crate::store::Store;
use crate::store::memory::Memory;

const REPLICAS: u64 = 3;

/// A lease that some of the steps of time outlast.
const LIFE: Duration = Duration::from_secs(60);

impl Script {
    /// Something about a replica.
    pub(super) async fn replica(&mut self, memory: &Memory) -> Command {
        let fence = self.any_fence(memory).await;
        let id = f::replica(&self.dice.name(&format!("{}-r", self.ns), REPLICAS));
        Command::Replica(match (self.dice.below(8), fence) {
            (0..3, own) | (_, own @ None) => ReplicaCommand::Join {
                id,
                address: self.words(),
                life: if self.dice.one_in(6) { None } else { Some(LIFE) },
                over: match own.filter(|_| self.dice.one_in(2)) {
                    Some(own) => Over::Own(own),
                    None => Over::Anyone,
                },
            },
            (3..6, Some(fence)) => ReplicaCommand::Renew { fence, life: LIFE },
            (6, Some(fence)) => ReplicaCommand::Leave { fence },
            (_, Some(fence)) => ReplicaCommand::Expire { fence },
        })
    }

    /// Who proposes this: of a resume mostly the one that drives it.
    pub(super) async fn fence(&mut self, memory: &Memory, command: &Command) -> Option<Fence> {
        match command {
            Command::Engine(_) if self.dice.one_in(3) => self.any_fence(memory).await,
            Command::Resume(_) if self.dice.one_in(6) => self.any_fence(memory).await,
            Command::Resume(command) => {
                let id = match command {
                    ResumeCommand::Open(open) => &open.id,
                    ResumeCommand::Start(start) => &start.id,
                    ResumeCommand::Seat(seat) => &seat.id,
                    ResumeCommand::Take { id }
                    | ResumeCommand::Hand { id, .. }
                    | ResumeCommand::Progress { id, .. }
                    | ResumeCommand::Fail { id, .. }
                    | ResumeCommand::Cancel { id } => id,
                };
                let known = memory.resume(&self.ns, id).await.expect("memory answers");
                known.and_then(|resume| resume.driver.clone())
            }
            Command::Session(_)
            | Command::Thread(_)
            | Command::Engine(_)
            | Command::Replica(_)
            | Command::Upkeep(_) => None,
        }
    }

    /// A resume that passes from one replica to another.
    pub(super) async fn passing(&mut self, memory: &Memory, known: &Resume) -> Command {
        let id = known.id.clone();
        Command::Resume(match self.any_fence(memory).await {
            Some(to) if self.dice.one_in(2) => ResumeCommand::Hand {
                id,
                to,
                engine: f::engine(&self.dice.name("engine", 3)),
                attempt: known.attempt + 1,
                thread: known.thread.clone(),
            },
            Some(_) | None => ResumeCommand::Take { id },
        })
    }

    /// A replica that has joined, at times under an incarnation that is not its own.
    async fn any_fence(&mut self, memory: &Memory) -> Option<Fence> {
        let members = memory.members(Time(0)).await.expect("memory answers");
        let own = members.replicas.iter();
        let own = own.filter(|replica| replica.id.as_str().starts_with(self.ns.as_str()));
        let fences: Vec<Fence> = own.map(|replica| replica.fence()).collect();
        let mut fence = self.dice.pick(&fences)?.clone();
        fence.incarnation -= u64::from(self.dice.one_in(8));
        Some(fence)
    }
}

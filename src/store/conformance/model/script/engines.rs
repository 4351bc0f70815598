//! What engines, resumes and snapshots of a random script do.

use super::Script;
use crate::domain::engine::Profile;
use crate::domain::fixture as f;
use crate::domain::proposal::{
    Cut, EngineCommand, Offer, Open, ResumeCommand, Said, Seat, Seed, SessionCommand, Snapshot, Start,
    Written,
};
use crate::domain::resume::{Failure, Wish};
use crate::domain::save::target;
use crate::domain::{Command, EngineId, Seq, Session, SessionId, Tally, ThreadId, thread};
use crate::store::Store;
use crate::store::memory::Memory;

const ENGINES: u64 = 3;
const RESUMES: u64 = 30;

impl Script {
    /// Something about an engine: mostly under its last epoch.
    pub(super) async fn engine(&mut self, memory: &Memory, threads: u64) -> Command {
        let id = f::engine(&self.dice.name("engine", ENGINES));
        let epoch = self.epoch_of(memory, &id).await;
        let thread = f::thread(&self.dice.name("t", threads));
        let known = memory.thread(&self.ns, &thread).await.expect("memory answers");
        let active = known.and_then(|thread| thread.active_turn.clone());
        Command::Engine(match self.dice.below(20) {
            0..4 => EngineCommand::Attach {
                id,
                profile: Box::new(Profile {
                    labels: self.labels(),
                    accepts_resume: self.dice.one_in(2),
                }),
            },
            4..7 => EngineCommand::Detach { id, epoch },
            7..13 => EngineCommand::OpenThread {
                id,
                epoch,
                thread,
                journal: self.log(),
                draft: Box::new(thread::Draft::default()),
                active_turn: active.filter(|_| self.dice.one_in(2)),
            },
            13..15 => EngineCommand::CloseThread { id, epoch, thread },
            15..19 => EngineCommand::Interrupt { id, epoch, thread },
            _ => EngineCommand::Forget { id },
        })
    }

    async fn epoch_of(&mut self, memory: &Memory, id: &EngineId) -> u64 {
        let engine = memory.engine(&self.ns, id).await.expect("memory answers");
        let epoch = engine.map_or(1, |engine| engine.epoch);
        epoch - u64::from(self.dice.one_in(8))
    }

    /// Something about a resume: of those that are there, mostly one that runs.
    pub(super) async fn resume(&mut self, memory: &Memory, session: &SessionId) -> Command {
        let id = f::resume(&self.dice.name("resume", RESUMES));
        let known = memory.resume(&self.ns, &id).await.expect("memory answers");
        let Some(known) = known else {
            return Command::Resume(ResumeCommand::Open(Box::new(Open {
                thread: f::thread(&format!("of-{id}")),
                id,
                session: session.clone(),
                wish: Wish {
                    model: self.maybe(Self::words),
                    require_engine: self.dice.one_in(4),
                    ..Wish::default()
                },
                offer: if self.dice.one_in(5) {
                    Offer::None
                } else {
                    Offer::Some
                },
            })));
        };
        let source = memory.session(&self.ns, &known.session).await;
        let engine = self.maybe(|it| f::engine(&it.dice.name("engine", ENGINES)));
        if self.dice.one_in(8) {
            return self.passing(memory, &known).await;
        }
        Command::Resume(match (self.dice.below(12), source.expect("memory answers")) {
            (0..4, Some(source)) => ResumeCommand::Start(Box::new(Start {
                id,
                engine,
                source: source.tip.clone(),
                total: source.tip.tally.visible,
                attempt: known.attempt + 1,
                seed: if self.dice.one_in(2) {
                    Seed::Fresh
                } else {
                    Seed::Continued
                },
                thread: known.thread.clone(),
            })),
            (4..6, _) => ResumeCommand::Progress {
                id,
                seed: known.seed,
                written: self.dice.below(known.total + 2),
            },
            (6..10, _) => {
                let epoch = match &known.engine {
                    Some(engine) => Some(self.epoch_of(memory, engine).await),
                    None => None,
                };
                ResumeCommand::Seat(Box::new(Seat {
                    id,
                    epoch,
                    journal: self.log(),
                    system_prompt: self.words(),
                }))
            }
            (10, _) => ResumeCommand::Cancel { id },
            _ => ResumeCommand::Fail {
                id,
                failure: Failure::EngineLost { engine },
            },
        })
    }

    /// What an engine holds of a thread, at the end of its session or cut somewhere.
    pub(super) async fn snapshot(&mut self, memory: &Memory, id: ThreadId) -> Option<Command> {
        let thread = memory.thread(&self.ns, &id).await.expect("memory answers")?;
        let fresh = f::session(&format!("of-{id}"));
        let session = memory.session(&self.ns, target(&thread, None, &fresh)).await;
        let session = session.expect("memory answers");
        let cut = match &session {
            Some(session) if self.dice.one_in(2) => Some(self.cut(memory, session).await),
            Some(_) | None => None,
        };
        let count = self.dice.below(4);
        let entries = (0..count).map(|_| {
            let name = format!("held{}", self.fresh());
            let text = self.words();
            f::user(&name, &text)
        });
        let entries = entries.collect();
        let snapshot = Snapshot {
            thread: id,
            journal: thread.journal,
            epoch: thread.epoch,
            items: Seq(thread.items),
            requested: None,
            fresh: fresh.clone(),
            title: None,
            expected: None,
            from: session.as_ref().map(|session| session.tip.clone()),
            turn_start: cut.as_ref().map(|cut| Seq(cut.tally.entries)),
            cut,
            written: Written::Inline {
                log: self.log(),
                entries,
            },
            said: Said {
                model: self.words(),
                incomplete_turn: self.dice.one_in(2),
                ..Said::default()
            },
            delta: self.dice.one_in(2),
        };
        Some(Command::Session(SessionCommand::Snapshot(Box::new(snapshot))))
    }

    async fn cut(&mut self, memory: &Memory, session: &Session) -> Cut {
        let seq = Seq(self.dice.below(session.tip.seq().0 + 1));
        let meta = memory
            .entry_meta(&session.tip.log, seq)
            .await
            .expect("memory answers");
        Cut {
            tally: meta.map_or_else(Tally::default, |meta| meta.tally),
            preview: self.words(),
        }
    }
}

//! What random clients of one namespace do next: mostly what makes sense by what the memory store has,
//! sometimes on stale knowledge, sometimes nonsense.

mod engines;
mod history;
mod replicas;
mod values;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::entry::Payload;
use crate::domain::fixture as f;
use crate::domain::path::PARTS_SOFT_MAX;
use crate::domain::proposal::{
    Deletion, EngineCommand, Save, SessionCommand, ThreadCommand, UpkeepCommand, Written,
};
use crate::domain::query::Items;
use crate::domain::save::{plan, target};
use crate::domain::session::{Archived, Change, Draft, Etag, Setting, Texts};
use crate::domain::turn::{NewItem, Status};
use crate::domain::{
    CallKey, Command, EntryId, Log, LogId, MessageFacts, Namespace, NewEntry, Proposal, RequestId, Revision,
    Role, Seq, Session, Thread, Time, Tip, TurnId, Usage, thread,
};
use crate::store::conformance::desk::{ALL, staging};
use crate::store::conformance::upkeep::compacting;
use crate::store::memory::Memory;
use crate::store::{Chore, Store};

use super::dice::Dice;

const SESSIONS: u64 = 12;
const THREADS: u64 = 4;
const ENTRIES: u64 = 40;
const FORKS: u64 = 20;
const TURNS: u64 = 30;
const REQUESTS: u64 = 60;

#[derive(Debug)]
pub(super) struct Script {
    ns: Namespace,
    pub(super) dice: Dice,
    names: u64,
    /// Commands that belong together and come one by one, others between them.
    next: VecDeque<Command>,
    /// Named proposals that may be sent again.
    sent: Vec<Proposal>,
}

/// What is looked up in a session.
pub(super) struct Lookup {
    pub(super) number: u64,
    pub(super) ids: Vec<EntryId>,
    pub(super) seq: Seq,
}

pub(super) fn lookup(dice: &mut Dice) -> Lookup {
    Lookup {
        number: dice.below(12),
        ids: (0..5)
            .map(|_| f::entry_id(&dice.name("e", ENTRIES + 3)))
            .collect(),
        seq: Seq(dice.below(30)),
    }
}

pub(super) fn turns() -> Vec<TurnId> {
    (0..TURNS).map(|at| f::turn(&format!("u{at}"))).collect()
}

pub(super) fn requests() -> Vec<RequestId> {
    let names = (0..REQUESTS).map(|at| RequestId::parse(&format!("r{at}")));
    names.map(|name| name.expect("valid")).collect()
}

/// The command of a chore.
pub(in crate::store::conformance) fn doing(chore: &Chore, now: Time) -> Proposal {
    let (ns, command) = match chore.clone() {
        Chore::ForgetEngine(namespace, id) => {
            return Proposal {
                namespace,
                ..f::to_engine(EngineCommand::Forget { id })
            };
        }
        Chore::ExpireHead(ns, session, revision) => (ns, UpkeepCommand::ExpireHead { session, revision }),
        Chore::ExpireResumes => {
            let before = now.before(crate::domain::limits::RESUME_LIFE);
            (f::namespace(), UpkeepCommand::ExpireResumes { before })
        }
        Chore::Purge(ns, session) => (ns, UpkeepCommand::Purge { session }),
        Chore::Sweep(log) => (f::namespace(), UpkeepCommand::Sweep { log }),
        Chore::ExpireReceipts => {
            let before = now.before(crate::domain::limits::RECEIPT_LIFE);
            (f::namespace(), UpkeepCommand::ExpireReceipts { before })
        }
        Chore::Compact(_, session) => panic!("{session} has more than {PARTS_SOFT_MAX} parts"),
    };
    Proposal {
        namespace: ns,
        ..f::to_upkeep(command)
    }
}

impl Script {
    pub(super) fn new(ns: Namespace, dice: Dice) -> Self {
        Self {
            ns,
            dice,
            names: 0,
            next: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    pub(super) fn ns(&self) -> Namespace {
        self.ns.clone()
    }

    /// Whether a proposal may be sent again: a caller that retries after its receipt is gone gets fresh names for logs.
    async fn is_remembered(&self, memory: &Memory, proposal: &Proposal) -> bool {
        let request = proposal.request.as_ref().expect("only named ones are sent again");
        let receipt = memory.receipt(&self.ns, &request.id).await;
        receipt.expect("memory answers").is_some()
    }

    /// The next proposal.
    pub(super) async fn next(&mut self, memory: &Memory) -> Proposal {
        if self.dice.one_in(12)
            && let Some(again) = self.dice.pick(&self.sent).cloned()
            && self.is_remembered(memory, &again).await
        {
            return again;
        }
        let command = match self.next.pop_front() {
            Some(command) if !self.dice.one_in(4) => command,
            later => {
                if let Some(later) = later {
                    self.next.push_front(later);
                }
                self.command(memory).await
            }
        };
        let fence = self.fence(memory, &command).await;
        let name = self.dice.one_in(5).then(|| self.dice.name("r", REQUESTS));
        let request = name.map(|name| f::request(&name, &format!("{command:?}")));
        let proposal = Proposal {
            namespace: self.ns.clone(),
            request,
            fence,
            command,
        };
        if proposal.request.is_some() {
            self.sent.push(proposal.clone());
            let excess = self.sent.len().saturating_sub(16);
            self.sent.drain(..excess);
        }
        proposal
    }

    async fn command(&mut self, memory: &Memory) -> Command {
        let session = self.session();
        let known = memory.session(&self.ns, &f::session(&session)).await;
        let known = known.expect("memory answers");
        match self.dice.below(100) {
            0..12 => Command::Session(self.create(&session)),
            12..20 => Command::Session(self.update(&session, known.as_deref())),
            20..25 => Command::Session(self.delete(&session, known.as_deref())),
            25..29 => Command::Session(SessionCommand::Undelete {
                id: f::session(&session),
            }),
            29..50 => Command::Session(self.append(&session, known.as_deref())),
            50..60 => match known {
                Some(known) => self.fork(memory, &known).await,
                None => Command::Session(self.create(&session)),
            },
            60..64 => match known {
                Some(known) => self.rewind(memory, &known).await,
                None => Command::Session(self.create(&session)),
            },
            64..70 => self.save(memory).await,
            70..73 => {
                let staged = known.map(|known| known.tip.clone());
                self.abandon(staged.as_ref())
            }
            73..76 => match known.filter(|known| known.tip.seq() > Seq(1)) {
                Some(known) => self.compact(memory, &known).await,
                None => Command::Session(self.append(&session, None)),
            },
            76..78 => self.replica(memory).await,
            78..81 => self.engine(memory, THREADS).await,
            81..88 => self.resume(memory, &f::session(&session)).await,
            88..91 => {
                let id = f::thread(&self.dice.name("t", THREADS));
                match self.snapshot(memory, id).await {
                    Some(command) => command,
                    None => self.thread_command(memory).await,
                }
            }
            _ => self.thread_command(memory).await,
        }
    }

    /// The name of some session, made or forked.
    fn session(&mut self) -> String {
        if self.dice.one_in(3) {
            self.dice.name("fork", FORKS)
        } else {
            self.dice.name("s", SESSIONS)
        }
    }

    fn fresh(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn log(&mut self) -> LogId {
        let name = self.fresh();
        let name = format!("{}/{name}", self.ns);
        LogId(Uuid::from_bytes(f::digest(name.as_bytes()).0))
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.dice.one_in(3).then(|| value(self))
    }

    fn create(&mut self, id: &str) -> SessionCommand {
        let draft = Draft {
            title: self.maybe(Self::title),
            setting: Setting {
                workspace: self.words(),
                model: self.words(),
                ..Setting::default()
            },
            labels: self.labels(),
            texts: Texts {
                system_prompt: self.words(),
                settings_json: self.words(),
                metadata_json: self.words(),
            },
            starred: self.dice.one_in(3),
            archived: if self.dice.one_in(4) {
                Archived::Yes
            } else {
                Archived::No
            },
            parent: self.maybe(|it| f::session(&it.dice.name("s", SESSIONS))),
        };
        SessionCommand::Create {
            id: f::session(id),
            log: self.log(),
            draft: Box::new(draft),
        }
    }

    fn etag(&mut self, known: Option<&Session>) -> Option<Etag> {
        let stale = self.dice.one_in(4);
        let now = known.map(Session::etag).filter(|_| !stale);
        self.maybe(|_| now.unwrap_or_else(|| Etag("0-0".to_owned())))
    }

    fn update(&mut self, id: &str, known: Option<&Session>) -> SessionCommand {
        let change = Change {
            title: self.maybe(|it| it.maybe(Self::title)),
            labels: self.maybe(Self::labels),
            starred: self.maybe(|it| it.dice.one_in(2)),
            workspace: self.maybe(Self::words),
            system_prompt: self.maybe(Self::words),
            metadata_json: self.maybe(Self::words),
            archived: self.maybe(|it| {
                if it.dice.one_in(2) {
                    Archived::Yes
                } else {
                    Archived::No
                }
            }),
            ..Change::default()
        };
        SessionCommand::Update {
            id: f::session(id),
            change: Box::new(change),
            etag: self.etag(known),
        }
    }

    fn delete(&mut self, id: &str, known: Option<&Session>) -> SessionCommand {
        let purge_after = Duration::from_secs(3_600 * self.dice.below(100));
        SessionCommand::Delete {
            id: f::session(id),
            mode: if self.dice.one_in(4) {
                Deletion::Force
            } else {
                Deletion::Soft { purge_after }
            },
            etag: self.etag(known),
        }
    }

    fn expected(&mut self, known: Option<&Session>) -> Option<Revision> {
        let stale = self.dice.below(2);
        let revision = known.map_or(1, |known| known.revision.0.saturating_sub(stale));
        self.maybe(|_| Revision(revision))
    }

    fn append(&mut self, id: &str, known: Option<&Session>) -> SessionCommand {
        let count = 1 + self.dice.below(5);
        SessionCommand::Append {
            id: f::session(id),
            entries: (0..count).map(|_| self.entry()).collect(),
            expected: self.expected(known),
        }
    }

    /// A save of some thread, staged first in some cases.
    async fn save(&mut self, memory: &Memory) -> Command {
        let id = f::thread(&self.dice.name("t", THREADS));
        let Some(thread) = memory.thread(&self.ns, &id).await.expect("memory answers") else {
            return self.thread_command(memory).await;
        };
        if let Some(active) = thread.active_turn.clone().filter(|_| !self.dice.one_in(4)) {
            return Command::Thread(ThreadCommand::FinishTurn {
                id,
                turn: active,
                status: Status::Failed,
                usage: None,
                error: self.words(),
                epoch: None,
            });
        }
        let requested = self.dice.one_in(6).then(|| f::session(&self.session()));
        let fresh = f::session(&format!("of-{id}"));
        let target = target(&thread, requested.as_ref(), &fresh);
        let session = memory.session(&self.ns, target).await.expect("memory answers");
        let plan = plan(&thread, session.as_deref()).ok();
        let from = plan.as_ref().and_then(|plan| plan.from.clone());
        let after = plan.as_ref().map_or(Seq::ZERO, |plan| plan.after);
        let entries = self.rebuilt(memory, &thread, after).await;
        let stale = self.dice.one_in(12);
        let mut save = Save {
            thread: id,
            journal: thread.journal,
            change: thread.change - u64::from(stale),
            requested,
            fresh,
            title: self.dice.one_in(5).then(|| self.title()),
            expected: self.expected(session.as_deref()),
            from: from.clone(),
            cut: None,
            written: Written::Inline {
                log: self.log(),
                entries: Vec::new(),
            },
        };
        if !self.dice.one_in(3) {
            save.written = Written::Inline {
                log: self.log(),
                entries,
            };
            return Command::Session(SessionCommand::Save(Box::new(save)));
        }
        let (mut stages, tip) = self.staged(from.as_ref(), &entries);
        save.written = Written::Staged {
            tip,
            preview: self.maybe(Self::words),
            title: self.maybe(|_| "staged".to_owned()),
        };
        let publish = Command::Session(SessionCommand::Save(Box::new(save)));
        if stages.is_empty() {
            return publish;
        }
        let first = stages.remove(0);
        self.next.extend(stages);
        self.next.push_back(publish);
        first
    }

    /// Messages for a thread's items after `after`; their ids are new, as the service sees to.
    async fn rebuilt(&mut self, memory: &Memory, thread: &Thread, after: Seq) -> Vec<NewEntry> {
        let query = Items { turn: None, after };
        let items = memory.items(thread.journal, &query, ALL).await;
        let items = items.expect("memory answers");
        let messages = items.iter().map(|_| {
            let id = format!("m{}", self.fresh());
            let text = self.words();
            f::user(&id, &text)
        });
        messages.collect()
    }

    /// The commands that stage `entries`, two at a time, and the end of the staged log.
    fn staged(&mut self, from: Option<&Tip>, entries: &[NewEntry]) -> (Vec<Command>, Tip) {
        let id = self.log();
        let log = from.map_or_else(|| Log::root(id), |tip| tip.log.child(id, &tip.tally));
        let mut tip = Tip::start_of(Arc::new(log));
        let mut commands = Vec::new();
        for chunk in entries.chunks(2) {
            let (next, command) = staging(&tip, chunk);
            commands.push(Command::Upkeep(command));
            tip = next;
        }
        (commands, tip)
    }

    /// A log that is staged and never published.
    fn abandon(&mut self, from: Option<&Tip>) -> Command {
        let entries: Vec<NewEntry> = (0..3).map(|_| self.entry()).collect();
        let (mut commands, _) = self.staged(from, &entries);
        self.next.extend(commands.drain(1..));
        commands.remove(0)
    }

    /// Copies a stretch of a session's path together.
    async fn compact(&mut self, memory: &Memory, session: &Session) -> Command {
        let names = [self.log(), self.log()];
        let whole = session.tip.log.child(names[0], &session.tip.tally);
        let parts = whole.path.parts().len() as u64;
        let first = self.dice.below(parts);
        let end = first + 1 + self.dice.below(parts - first);
        let at = |at: u64| usize::try_from(at).expect("small");
        let [copy, publish] = compacting(memory, session, at(first)..at(end), names).await;
        self.next.push_back(Command::Upkeep(publish));
        Command::Upkeep(copy)
    }

    async fn thread_command(&mut self, memory: &Memory) -> Command {
        let id = f::thread(&self.dice.name("t", THREADS));
        let known = memory.thread(&self.ns, &id).await.expect("memory answers");
        let active = known.as_ref().and_then(|thread| thread.active_turn.clone());
        let turn = match active {
            Some(active) if !self.dice.one_in(8) => active,
            Some(_) | None => f::turn(&self.dice.name("u", TURNS)),
        };
        let epochs = [None, None, None, Some(0), Some(0), Some(1)];
        let epoch = *self.dice.pick(&epochs).expect("there are some");
        let verb = match &known {
            None if !self.dice.one_in(6) => 0,
            Some(thread) if thread.active_turn.is_none() && self.dice.one_in(2) => 5,
            Some(_) | None => self.dice.below(20),
        };
        Command::Thread(match verb {
            0..2 => ThreadCommand::Create {
                id,
                journal: self.log(),
                draft: Box::new(thread::Draft {
                    title: self.words(),
                    labels: self.labels(),
                    ..thread::Draft::default()
                }),
                epoch,
            },
            2..4 => ThreadCommand::Update {
                id,
                change: Box::new(self.thread_change()),
                epoch,
            },
            4 => ThreadCommand::Delete { id, epoch },
            5..10 => ThreadCommand::StartTurn { id, turn, epoch },
            10..16 => {
                let count = 1 + self.dice.below(3);
                let items = (0..count).map(|_| self.item()).collect();
                ThreadCommand::AppendItems {
                    id,
                    turn,
                    items,
                    epoch,
                }
            }
            _ => ThreadCommand::FinishTurn {
                id,
                turn,
                status: self.status(),
                usage: self.maybe(|it| Usage {
                    output_tokens: it.dice.below(u64::MAX),
                    ..Usage::default()
                }),
                error: self.words(),
                epoch,
            },
        })
    }
}

//! Keys: what a transaction holds while it decides, so that commits of one thing are serial, whoever makes them.
//!
//! A key is an advisory lock of the database, taken for the transaction, on a hash of a kind and a name. Two names that
//! have one hash wait for each other without need; nothing else comes of it. The hash begins with the store's own
//! identity, so that stores which share a database do not meet.
//!
//! # The rule
//!
//! A need is read in a statement that begins after its key is held. **Whoever changes what a need reads holds its key**,
//! until his transaction is over. So what was read is what is there when the decision is stored, and all transactions
//! have the effect of some serial order. Need by need:
//!
//! | need | key | who changes it, and why he holds the key |
//! |---|---|---|
//! | Receipt | receipt | whoever writes one was asked for it. What expires is older than any retry may come: either order of the two is a serial one |
//! | Session | session | every command that writes a session reads it first |
//! | Family | the session, and every member | a member comes by a Create, which reads its parent, and goes by commands that read it. The family is read again until no new member appears. An import names a parent that it does not read: it is after any deletion that does not see it |
//! | Imported | source | imports, which read it. A removal takes a session from the answer: an import that has not seen that was before it |
//! | HighestFork | title base | forks, which read it. A title that somebody gives is no fork's number: a fork that has not seen it was before it |
//! | Entries | that of the session, or of the staged log | entries come behind a head that is held; what a path inherits never changes |
//! | Log, References, Originals | log | see below |
//! | Thread, Turn, Items | thread | turns and items are written by commands that read their thread; those of a journal that no thread names are nobody's |
//! | Epoch | epoch | an attachment and a seat without an engine, which read it |
//! | Engine | engine, shared | attach, detach and forget hold it alone; all others read it |
//! | Replica | replica, shared | join, renew, leave and expire hold it alone; what a fence guards reads it, so a lease does not end under a write that it lets through |
//! | Resume | resume | every command that writes one reads it, or finds it as a session's open one |
//! | OpenResume | session, and the resume that is found | one is opened by a command that reads the session; it ends by its own key, which whoever has found it holds as well. It is read again after that |
//! | PastHead | session | heads are left by commands that read the session; whoever drops them takes the session's key for that |
//!
//! **Who names a log.** A decision that rests on `References` is one to sweep, to stage, to publish or to compact; all of
//! them hold the log's key. Others make and end references without looking:
//!
//! - A new reference comes out of one that is held: a fork's path out of a head, a resume's source or a thread's base out
//!   of a session, a past head out of the head before it. The old one stands until the new one is there, in one commit;
//!   a sweep sees one of the two.
//! - What ends a reference notes the log as loose, and takes the log's key for that: else a sweep that still saw the
//!   reference could take the new note away, and nobody would look again. So every effect on that note has the key.
//! - A log that is opened has a name that nobody else knows.
//!
//! # Order
//!
//! Locks that may be waited for are taken at the beginning of a transaction, all at once, in the order of the keys:
//! a transaction that waits holds none that comes later. What turns out to be needed after that is only tried. If it
//! cannot be had, the transaction ends, and its first proposal begins another one with all keys that are known by then;
//! the others are put back. So nobody waits in a circle, but for two hashes that are one, or a row: the database finds
//! that, and the batch is tried again.
//!
//! A deletion may have ten thousand members, and the database room for fewer locks. So every transaction that holds a
//! key of a namespace holds the namespace as well, shared; one that needs very many keys of it holds it alone instead.
//! Logs are of no namespace: in the same way whoever holds the key of one holds that of all logs, shared or alone.

use std::collections::BTreeSet;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::facts::Answer;
use crate::domain::proposal::EngineCommand;
use crate::domain::{Command, Effect, LogId, Namespace, Need, Proposal, ResumeId, SessionId, ThreadId};

pub(super) const STATEMENTS: &[&str] = &[WAIT, TRY];

/// Keys of one namespace, or of logs, that a proposal takes one by one; with more they are taken as a whole.
pub(super) const MEMBERS_MAX: usize = 500;

/// What a store's keys begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt(u64);

/// A key. They are ordered by their kind first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    kind: Kind,
    hash: i64,
    hold: Hold,
    /// The hash of the key of all among which it is, the namespace or all logs; 0 where there is none.
    within: i64,
}

/// How a key is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Hold {
    Alone,
    Shared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Namespace,
    Receipt,
    Thread,
    Session,
    Source,
    Title,
    Resume,
    Epoch,
    Engine,
    Replica,
    Logs,
    Log,
}

impl Key {
    /// Its hash, if it is held alone.
    pub(super) fn alone(&self) -> Option<i64> {
        (self.hold == Hold::Alone).then_some(self.hash)
    }

    /// The key of all among which it is, held alone.
    fn whole(&self) -> Option<Self> {
        let kind = match self.kind {
            Kind::Log => Kind::Logs,
            Kind::Namespace
            | Kind::Receipt
            | Kind::Thread
            | Kind::Session
            | Kind::Source
            | Kind::Title
            | Kind::Resume
            | Kind::Epoch
            | Kind::Engine
            | Kind::Replica
            | Kind::Logs => Kind::Namespace,
        };
        (self.within != 0).then_some(Self {
            kind,
            hash: self.within,
            hold: Hold::Alone,
            within: 0,
        })
    }
}

impl Salt {
    pub(super) fn of(identity: Uuid) -> Self {
        let (high, low) = identity.as_u64_pair();
        Self(high ^ low)
    }

    fn key(self, kind: Kind, hold: Hold, parts: &[&[u8]]) -> Key {
        let mut name = vec![kind as u8];
        for part in parts {
            name.extend(part.len().to_be_bytes());
            name.extend_from_slice(part);
        }
        let hash = xxh3_64_with_seed(&name, self.0).cast_signed();
        let within = 0;
        Key {
            kind,
            hash,
            hold,
            within,
        }
    }

    fn named(self, kind: Kind, hold: Hold, ns: &Namespace, name: &str, keys: &mut BTreeSet<Key>) {
        let ns = ns.as_str().as_bytes();
        let whole = self.key(Kind::Namespace, Hold::Shared, &[ns]);
        keys.insert(Key {
            within: whole.hash,
            ..self.key(kind, hold, &[ns, name.as_bytes()])
        });
        keys.insert(whole);
    }

    /// Adds the keys of a need of `proposal`.
    pub(super) fn of_need(self, proposal: &Proposal, need: &Need, keys: &mut BTreeSet<Key>) {
        let alone = Hold::Alone;
        match need {
            Need::Receipt(ns, id) => self.named(Kind::Receipt, alone, ns, id.as_str(), keys),
            Need::Session(ns, id) | Need::Family(ns, id) | Need::OpenResume(ns, id) => {
                self.named(Kind::Session, alone, ns, id.as_str(), keys);
            }
            Need::PastHead(ns, id, _) => self.named(Kind::Session, alone, ns, id.as_str(), keys),
            Need::Imported(ns, source) => self.named(Kind::Source, alone, ns, source.as_str(), keys),
            Need::HighestFork(ns, base) => self.named(Kind::Title, alone, ns, base, keys),
            // Those of a session or thread whose key is held.
            Need::Entries(..) | Need::Turn(..) | Need::Items(..) => {}
            Need::Log(id) | Need::References(id) | Need::Originals(id) => {
                self.of_log(*id, keys);
            }
            Need::Thread(ns, id) => self.named(Kind::Thread, alone, ns, id.as_str(), keys),
            Need::Epoch(ns) => self.named(Kind::Epoch, alone, ns, "", keys),
            Need::Engine(ns, id) => {
                let hold = if changes_engines(proposal) {
                    alone
                } else {
                    Hold::Shared
                };
                self.named(Kind::Engine, hold, ns, id.as_str(), keys);
            }
            Need::Replica(id) => {
                let is_its_own = matches!(proposal.command, Command::Replica(_));
                let hold = if is_its_own { alone } else { Hold::Shared };
                keys.insert(self.key(Kind::Replica, hold, &[id.as_str().as_bytes()]));
            }
            Need::Resume(ns, id) => self.named(Kind::Resume, alone, ns, id.as_str(), keys),
        }
    }

    /// Adds the keys of what the answer to a need names.
    pub(super) fn of_answer(self, need: &Need, answer: &Answer, keys: &mut BTreeSet<Key>) {
        match need {
            Need::Family(ns, _) => {
                if let Answer::Family(members) = answer {
                    for member in members {
                        self.named(Kind::Session, Hold::Alone, ns, member.as_str(), keys);
                    }
                }
            }
            Need::OpenResume(ns, _) => {
                if let Answer::Resume(Some(resume)) = answer {
                    self.named(Kind::Resume, Hold::Alone, ns, resume.id.as_str(), keys);
                }
            }
            // Whatever these bring is under the key of the need itself.
            Need::Receipt(..)
            | Need::Session(..)
            | Need::Imported(..)
            | Need::HighestFork(..)
            | Need::Entries(..)
            | Need::Log(_)
            | Need::References(_)
            | Need::Originals(_)
            | Need::Thread(..)
            | Need::Turn(..)
            | Need::Items(..)
            | Need::Epoch(_)
            | Need::Engine(..)
            | Need::Replica(_)
            | Need::Resume(..)
            | Need::PastHead(..) => {}
        }
    }

    /// Adds the keys that an effect has to be written under.
    pub(super) fn of_effect(self, effect: &Effect, keys: &mut BTreeSet<Key>) {
        match effect {
            Effect::Loosen(id, _) | Effect::Fasten(id) => {
                self.of_log(*id, keys);
            }
            Effect::DropPastHeads {
                namespace, session, ..
            } => self.named(Kind::Session, Hold::Alone, namespace, session.as_str(), keys),
            // Who writes these has read them, or they are new, or nobody's.
            Effect::PutReceipt(..)
            | Effect::DropReceipts { .. }
            | Effect::PutSession(_)
            | Effect::MoveHead(_)
            | Effect::RemoveSession(..)
            | Effect::OpenLog(_)
            | Effect::PutCopy(..)
            | Effect::Append(_)
            | Effect::DropRows { .. }
            | Effect::RemoveLog(_)
            | Effect::ReleasePath(_)
            | Effect::PutThread(_)
            | Effect::RemoveThread(..)
            | Effect::PutPastHead(_)
            | Effect::PutEpoch(..)
            | Effect::PutEngine(_)
            | Effect::RemoveEngine(..)
            | Effect::PutReplica(_)
            | Effect::RemoveReplica(_)
            | Effect::PutResume(_)
            | Effect::DropResumes { .. }
            | Effect::PutTurn(_)
            | Effect::PutItems(_)
            | Effect::EndItems { .. } => {}
        }
    }

    /// The hash of a session's key.
    pub(super) fn of_session(self, ns: &Namespace, id: &SessionId) -> i64 {
        self.hash_of(Kind::Session, ns, id.as_str())
    }

    /// The hash of a thread's key.
    pub(super) fn of_thread(self, ns: &Namespace, id: &ThreadId) -> i64 {
        self.hash_of(Kind::Thread, ns, id.as_str())
    }

    /// The hash of a resume's key.
    pub(super) fn of_resume(self, ns: &Namespace, id: &ResumeId) -> i64 {
        self.hash_of(Kind::Resume, ns, id.as_str())
    }

    fn hash_of(self, kind: Kind, ns: &Namespace, name: &str) -> i64 {
        let parts = [ns.as_str().as_bytes(), name.as_bytes()];
        self.key(kind, Hold::Alone, &parts).hash
    }

    /// What tells the news of a store from those of others in its database.
    pub(super) fn of_news(self) -> u64 {
        xxh3_64_with_seed(b"news", self.0)
    }

    /// Adds the keys of a log.
    pub(super) fn of_log(self, id: LogId, keys: &mut BTreeSet<Key>) {
        let whole = self.key(Kind::Logs, Hold::Shared, &[]);
        keys.insert(Key {
            within: whole.hash,
            ..self.key(Kind::Log, Hold::Alone, &[id.0.as_bytes()])
        });
        keys.insert(whole);
    }
}

/// Whether the engine that a proposal names is changed by it.
fn changes_engines(proposal: &Proposal) -> bool {
    match &proposal.command {
        Command::Engine(command) => match command {
            EngineCommand::Attach { .. } | EngineCommand::Detach { .. } | EngineCommand::Forget { .. } => {
                true
            }
            EngineCommand::OpenThread { .. }
            | EngineCommand::CloseThread { .. }
            | EngineCommand::Interrupt { .. } => false,
        },
        Command::Session(_)
        | Command::Thread(_)
        | Command::Replica(_)
        | Command::Resume(_)
        | Command::Upkeep(_) => false,
    }
}

/// The keys that a transaction holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    keys: BTreeSet<Key>,
}

impl Held {
    /// Whether all of these are held.
    pub(super) fn has_all(&self, keys: &BTreeSet<Key>) -> bool {
        keys.iter().all(|key| self.has(key))
    }

    /// Those of one proposal that are not; where they are very many of one namespace, the namespace, and so with logs.
    pub(super) fn lacks(&self, keys: &BTreeSet<Key>) -> BTreeSet<Key> {
        let mut lacking: BTreeSet<Key> = keys.iter().filter(|key| !self.has(key)).copied().collect();
        let wholes: BTreeSet<Key> = lacking.iter().filter_map(Key::whole).collect();
        for whole in wholes {
            if lacking.iter().filter(|key| key.within == whole.hash).count() > MEMBERS_MAX {
                lacking.retain(|key| key.within != whole.hash);
                lacking.insert(whole);
            }
        }
        lacking
    }

    /// These are held from now on.
    pub(super) fn extend(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.keys.extend(keys);
    }

    fn has(&self, key: &Key) -> bool {
        let alone = Key {
            hold: Hold::Alone,
            ..*key
        };
        let has_whole = key.whole().is_some_and(|whole| self.keys.contains(&whole));
        self.keys.contains(&alone) || self.keys.contains(key) || has_whole
    }
}

/// What is locked: one key at most for each hash, in order. A key that is wanted both ways is wanted alone.
fn wanted(keys: &BTreeSet<Key>) -> (Vec<i64>, Vec<bool>) {
    let (mut hashes, mut shared): (Vec<i64>, Vec<bool>) = Default::default();
    for key in keys {
        // Alone comes before shared.
        if hashes.last() != Some(&key.hash) {
            hashes.push(key.hash);
            shared.push(key.hold == Hold::Shared);
        }
    }
    (hashes, shared)
}

/// The operation at which a transaction waits for keys.
pub(super) const WAITING: &str = "waiting for keys";

const WAIT: &str = "SELECT count(held) FROM (SELECT CASE WHEN shared THEN pg_advisory_xact_lock_shared(key)::text \
        ELSE pg_advisory_xact_lock(key)::text END AS held \
    FROM unnest($1::bigint[], $2::boolean[]) AS k (key, shared) OFFSET 0) AS locked";

/// Takes keys, waiting for each.
pub(super) async fn wait(conn: &Conn, keys: &BTreeSet<Key>) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let (hashes, shared) = wanted(keys);
    conn.run(WAITING, WAIT, &[&hashes, &shared]).await.map(drop)
}

const TRY: &str = "SELECT CASE WHEN shared THEN pg_try_advisory_xact_lock_shared(key) \
        ELSE pg_try_advisory_xact_lock(key) END, key, shared \
    FROM unnest($1::bigint[], $2::boolean[]) AS k (key, shared)";

/// Takes those keys that nobody else has. One that is wanted both ways is tried both ways: who wants it alone must not
/// take it from those who would share it.
pub(super) async fn take(conn: &Conn, keys: &BTreeSet<Key>) -> Result<BTreeSet<Key>, Fault> {
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let shared = |key: &Key| key.hold == Hold::Shared;
    let (hashes, shared): (Vec<i64>, Vec<bool>) = keys.iter().map(|key| (key.hash, shared(key))).unzip();
    let rows = conn.rows("taking keys", TRY, &[&hashes, &shared]).await?;
    let mut taken = BTreeSet::new();
    for row in &rows {
        let columns = Columns(row);
        if columns.flag(0) == Ok(true) {
            taken.extend(columns.integer(1).ok().zip(columns.flag(2).ok()));
        }
    }
    Ok(keys
        .iter()
        .filter(|key| taken.contains(&(key.hash, key.hold == Hold::Shared)))
        .copied()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(7);

    fn sessions(count: usize) -> BTreeSet<Key> {
        let ns = Namespace::parse("team").expect("valid");
        let mut keys = BTreeSet::new();
        for at in 0..count {
            SALT.named(Kind::Session, Hold::Alone, &ns, &at.to_string(), &mut keys);
        }
        keys
    }

    fn logs(count: u128) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        (0..count).for_each(|at| SALT.of_log(LogId(Uuid::from_u128(at)), &mut keys));
        keys
    }

    #[test]
    fn very_many_keys_are_taken_as_one() {
        let all = |lacking: &BTreeSet<Key>| {
            let kinds = lacking.iter().map(|key| (key.kind, key.hold));
            kinds.collect::<BTreeSet<_>>()
        };
        let mut held = Held::default();
        let few = held.lacks(&sessions(MEMBERS_MAX));
        assert_eq!(few.len(), MEMBERS_MAX + 1, "each of them, and the namespace");
        let (many, many_logs) = (sessions(MEMBERS_MAX + 1), logs(10_000));
        let both: BTreeSet<Key> = many.union(&many_logs).copied().collect();
        let lacking = held.lacks(&both);
        let alone = Hold::Alone;
        let shared = Hold::Shared;
        assert_eq!(
            all(&lacking),
            BTreeSet::from([
                (Kind::Namespace, alone),
                (Kind::Namespace, shared),
                (Kind::Logs, alone),
                (Kind::Logs, shared)
            ])
        );
        held.extend(lacking);
        assert!(held.has_all(&both) && held.has_all(&logs(20_000)));
        assert!(held.lacks(&sessions(2 * MEMBERS_MAX)).is_empty());
    }

    #[test]
    fn what_is_waited_for_is_locked_once() {
        let mut keys = sessions(2);
        keys.extend(keys.clone().iter().filter_map(Key::whole));
        let (hashes, shared) = wanted(&keys);
        assert_eq!(hashes.len(), 3);
        assert_eq!(shared, [false; 3]);
    }
}

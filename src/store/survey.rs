//! All that a store has, read row by row as the effects that would make it, and the door for putting it into another.
//!
//! # Contract
//!
//! - [`Survey::survey`] goes through every row of the truth once, in an order that is the same for every backend: table
//!   by table as in [`Table`], in each by key, text by its bytes. What the rows say of others (a session of its log,
//!   a thread of its session) comes after these. The search index is derived and not among them.
//! - Pages are of one state if nothing is written between them: whoever surveys for a copy has closed the source, or
//!   reads it in one snapshot.
//! - A row that cannot be read is [`Error::Corrupt`]: what is copied is whole.
//! - A [`Fill`] is a place that was empty when it was opened to be filled. From then on until [`Fill::finish`] has
//!   returned it is marked, durably, and opens for nothing but being filled: half a copy is never taken for a whole one.
//! - [`Fill::adopt`] stores a page and how far it goes in one commit, so that a copy which broke off goes on there.
//!
//! A store that is open for serving has no such door: [`super::Store::commit`] is the only way to change it.

use async_trait::async_trait;
use uuid::Uuid;

use super::Error;
use super::record::Damage;
use crate::domain::query::Bound;
use crate::domain::{
    Effect, EngineId, Entry, Item, LogId, Namespace, RequestId, ResumeId, Revision, Seq, SessionId, ThreadId,
    TurnId,
};

/// What can be read whole.
#[async_trait]
pub trait Survey: Send + Sync + std::fmt::Debug {
    /// The rows after `after`, as many as the bound lets, all of one table.
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error>;
}

/// An empty place while it is filled. The module's page is its contract.
#[async_trait]
pub trait Fill: Survey {
    /// The last row that a copy which broke off has brought; `None`: there is none yet.
    async fn reached(&self) -> Result<Option<Key>, Error>;

    /// Stores these rows, which go up to `through`.
    async fn adopt(&self, effects: Vec<Effect>, through: Key) -> Result<(), Error>;

    /// Takes the mark away: what is here is whole, and may be served.
    async fn finish(&self) -> Result<(), Error>;
}

/// Rows in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stretch {
    /// What makes them.
    pub effects: Vec<Effect>,
    /// The last of them; `None`: there are none, nothing is left.
    pub through: Option<Key>,
}

/// The tables, in the order in which they are surveyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Logs, whether their paths are released, and what they are copies of.
    Logs,
    /// Entries.
    Entries,
    /// Sessions.
    Sessions,
    /// Heads that sessions have left.
    PastHeads,
    /// The last epochs of namespaces.
    Epochs,
    /// Engines.
    Engines,
    /// Threads.
    Threads,
    /// Turns.
    Turns,
    /// Items.
    Items,
    /// Resumes.
    Resumes,
    /// Notes that a log or journal may be named by nobody.
    Loose,
    /// Records of request_ids.
    Receipts,
}

impl Table {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Logs,
        Self::Entries,
        Self::Sessions,
        Self::PastHeads,
        Self::Epochs,
        Self::Engines,
        Self::Threads,
        Self::Turns,
        Self::Items,
        Self::Resumes,
        Self::Loose,
        Self::Receipts,
    ];

    /// What its rows are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Entries => "entries",
            Self::Sessions => "sessions",
            Self::PastHeads => "past_heads",
            Self::Epochs => "epochs",
            Self::Engines => "engines",
            Self::Threads => "threads",
            Self::Turns => "turns",
            Self::Items => "items",
            Self::Resumes => "resumes",
            Self::Loose => "loose",
            Self::Receipts => "receipts",
        }
    }
}

/// The place of a row among all; in the order of a survey, as [`Table`] is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "a table and its key")]
pub enum Key {
    Log(LogId),
    Entry(LogId, Seq),
    Session(Namespace, SessionId),
    PastHead(Namespace, SessionId, Revision),
    Epoch(Namespace),
    Engine(Namespace, EngineId),
    Thread(Namespace, ThreadId),
    Turn(LogId, TurnId),
    Item(LogId, Seq),
    Resume(Namespace, ResumeId),
    Loose(LogId),
    Receipt(Namespace, RequestId),
}

impl Key {
    /// Where the row is.
    pub fn table(&self) -> Table {
        match self {
            Self::Log(_) => Table::Logs,
            Self::Entry(..) => Table::Entries,
            Self::Session(..) => Table::Sessions,
            Self::PastHead(..) => Table::PastHeads,
            Self::Epoch(_) => Table::Epochs,
            Self::Engine(..) => Table::Engines,
            Self::Thread(..) => Table::Threads,
            Self::Turn(..) => Table::Turns,
            Self::Item(..) => Table::Items,
            Self::Resume(..) => Table::Resumes,
            Self::Loose(_) => Table::Loose,
            Self::Receipt(..) => Table::Receipts,
        }
    }

    /// The key as text that [`Key::decode`] reads, for the mark of a place that is filled.
    pub(crate) fn encode(&self) -> String {
        let parts: Vec<String> = match self {
            Self::Log(log) | Self::Loose(log) => vec![log.to_string()],
            Self::Entry(log, seq) | Self::Item(log, seq) => vec![log.to_string(), seq.to_string()],
            Self::Session(ns, id) => vec![ns.to_string(), id.to_string()],
            Self::PastHead(ns, id, revision) => vec![ns.to_string(), id.to_string(), revision.to_string()],
            Self::Epoch(ns) => vec![ns.to_string()],
            Self::Engine(ns, id) => vec![ns.to_string(), id.to_string()],
            Self::Thread(ns, id) => vec![ns.to_string(), id.to_string()],
            Self::Turn(journal, id) => vec![journal.to_string(), id.to_string()],
            Self::Resume(ns, id) => vec![ns.to_string(), id.to_string()],
            Self::Receipt(ns, id) => vec![ns.to_string(), id.as_str().to_owned()],
        };
        serde_json::json!([self.table().name(), parts]).to_string()
    }

    /// The key of a text.
    pub(crate) fn decode(text: &str) -> Result<Self, Damage> {
        let wrong = || Damage::new("a mark that is no key");
        let (table, parts): (String, Vec<String>) = serde_json::from_str(text).map_err(|_| wrong())?;
        let table = Table::ALL.into_iter().find(|known| known.name() == table);
        let part = |at: usize| parts.get(at).map(String::as_str).ok_or_else(wrong);
        let log = || Ok::<_, Damage>(LogId(Uuid::parse_str(part(0)?).map_err(|_| wrong())?));
        let number = |at| part(at)?.parse().map_err(|_| wrong());
        let ns = || Ok::<_, Damage>(Namespace::parse(part(0)?)?);
        Ok(match table.ok_or_else(wrong)? {
            Table::Logs => Self::Log(log()?),
            Table::Entries => Self::Entry(log()?, Seq(number(1)?)),
            Table::Sessions => Self::Session(ns()?, SessionId::parse(part(1)?, "session_id")?),
            Table::PastHeads => Self::PastHead(
                ns()?,
                SessionId::parse(part(1)?, "session_id")?,
                Revision(number(2)?),
            ),
            Table::Epochs => Self::Epoch(ns()?),
            Table::Engines => Self::Engine(ns()?, EngineId::parse(part(1)?, "engine_id")?),
            Table::Threads => Self::Thread(ns()?, ThreadId::parse(part(1)?, "thread_id")?),
            Table::Turns => Self::Turn(log()?, TurnId::parse(part(1)?, "turn_id")?),
            Table::Items => Self::Item(log()?, Seq(number(1)?)),
            Table::Resumes => Self::Resume(ns()?, ResumeId::parse(part(1)?, "resume_id")?),
            Table::Loose => Self::Loose(log()?),
            Table::Receipts => Self::Receipt(ns()?, RequestId::parse(part(1)?)?),
        })
    }
}

/// Reads the first table from that of `after` on that has rows: `read` is asked for rows of a table after a key.
pub(crate) fn first_stretch(
    after: Option<&Key>,
    mut read: impl FnMut(Table, Option<&Key>) -> Result<Stretch, Error>,
) -> Result<Stretch, Error> {
    let first = after.map_or(Table::Logs, Key::table);
    for table in Table::ALL.into_iter().filter(|table| *table >= first) {
        let stretch = read(table, after.filter(|key| key.table() == table))?;
        if stretch.through.is_some() {
            return Ok(stretch);
        }
    }
    Ok(Stretch::default())
}

/// One row, as what makes it.
#[derive(Debug, PartialEq)]
pub(crate) enum Row {
    /// An entry.
    Entry(Entry),
    /// An item.
    Item(Item),
    /// A row that effects of its own make.
    Made(Vec<Effect>),
}

/// Rows with their keys as a stretch; entries and items that lie together are one effect.
pub(crate) fn stretch(rows: impl IntoIterator<Item = (Key, Row)>) -> Stretch {
    let (mut effects, mut through) = (Vec::new(), None);
    let mut entries: Vec<Entry> = Vec::new();
    let mut items: Vec<Item> = Vec::new();
    for (key, row) in rows {
        match row {
            Row::Entry(entry) => {
                if entries.last().is_some_and(|last| last.meta.log != entry.meta.log) {
                    effects.push(Effect::Append(std::mem::take(&mut entries).into()));
                }
                entries.push(entry);
            }
            Row::Item(item) => {
                if items.last().is_some_and(|last| last.journal != item.journal) {
                    effects.push(Effect::PutItems(std::mem::take(&mut items)));
                }
                items.push(item);
            }
            Row::Made(made) => effects.extend(made),
        }
        through = Some(key);
    }
    if !entries.is_empty() {
        effects.push(Effect::Append(entries.into()));
    }
    if !items.is_empty() {
        effects.push(Effect::PutItems(items));
    }
    Stretch { effects, through }
}

/// The rows of a stretch, one by one.
pub(crate) fn rows(effects: Vec<Effect>) -> Vec<Row> {
    let mut rows = Vec::new();
    for effect in effects {
        match effect {
            Effect::Append(entries) => rows.extend(entries.iter().cloned().map(Row::Entry)),
            Effect::PutItems(items) => rows.extend(items.into_iter().map(Row::Item)),
            other => rows.push(Row::Made(vec![other])),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture as f;

    #[test]
    fn keys_come_back() {
        let (log, ns) = (LogId(Uuid::from_u128(7)), f::namespace());
        for key in [
            Key::Log(log),
            Key::Entry(log, Seq(3)),
            Key::Session(ns.clone(), f::session("s")),
            Key::PastHead(ns.clone(), f::session("s"), Revision(9)),
            Key::Epoch(ns.clone()),
            Key::Engine(ns.clone(), f::engine("e")),
            Key::Thread(ns.clone(), f::thread("t")),
            Key::Turn(log, f::turn("u")),
            Key::Item(log, Seq(4)),
            Key::Resume(ns.clone(), f::resume("r")),
            Key::Loose(log),
            Key::Receipt(ns.clone(), RequestId::parse("[\"it\", 'is']").expect("valid")),
        ] {
            assert_eq!(Key::decode(&key.encode()), Ok(key.clone()), "{key:?}");
        }
        for wrong in [
            "",
            "[]",
            "[\"logs\",[]]",
            "[\"rows\",[\"x\"]]",
            "[\"items\",[\"x\",\"1\"]]",
        ] {
            assert!(Key::decode(wrong).is_err(), "{wrong}");
        }
    }
}

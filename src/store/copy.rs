//! Moving house: everything that one store has, into another that is empty, whatever backends they are.
//!
//! Pages are read while the ones before are written. When the last is in, both sides are read again and held against
//! each other row by row; only then is the mark of the target taken away. A copy that broke off goes on where it was
//! when it is begun again; should the source have changed meanwhile, the comparison finds out.
//!
//! Everything comes as it is, but for one thing: an engine that is attached to the source is not attached to anything
//! any more, and is copied as one that has left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Error;
use super::survey::{Fill, Key, Row, Stretch, Survey, Table, rows};
use crate::domain::limits::{COPY_BYTES_MAX, COPY_ROWS_MAX};
use crate::domain::query::Bound;
use crate::domain::{Effect, Engine, Time};

/// What a page holds.
const PAGE: Bound = Bound {
    rows: COPY_ROWS_MAX,
    bytes: COPY_BYTES_MAX,
};

/// Why there is no copy. The target keeps its mark then.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source cannot be read.
    #[error("the source cannot be read")]
    Source(#[source] Error),
    /// The target does not take what it is given.
    #[error("the target cannot be written or read")]
    Target(#[source] Error),
    /// Both sides are not the same.
    #[error("the copy is not like its source at {row}: the source has changed since the copy was begun")]
    Differs {
        /// The first row that is not, by its ids.
        row: String,
    },
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub stage: Stage,
    /// Rows of this stage so far.
    pub rows: u64,
    /// Bytes of bodies and texts of this stage so far.
    pub bytes: u64,
}

/// What a copy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Rows are brought over.
    Copying,
    /// Both sides are held against each other.
    Comparing,
}

/// What was copied, and found to be the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Bytes of bodies and texts.
    pub bytes: u64,
}

/// Copies all of `source` into `target` at `now`, compares them, and lets the target be served.
pub async fn copy(
    source: &dyn Survey,
    target: &dyn Fill,
    now: Time,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Copied, CopyError> {
    bring(source, target, now, progress).await?;
    let copied = compare(source, target, progress).await?;
    target.finish().await.map_err(CopyError::Target)?;
    Ok(copied)
}

/// Brings over what the target does not have yet.
async fn bring(
    source: &dyn Survey,
    target: &dyn Fill,
    now: Time,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), CopyError> {
    let mut done = Progress {
        stage: Stage::Copying,
        rows: 0,
        bytes: 0,
    };
    let reached = target.reached().await.map_err(CopyError::Target)?;
    let page = source.survey(reached.as_ref(), PAGE).await;
    let mut page = page.map_err(CopyError::Source)?;
    while let Some(through) = page.through {
        for row in rows(page.effects.clone()) {
            done.rows += u64::from(described(&row).table.is_some());
            done.bytes += weight(&row);
        }
        let effects = page.effects.into_iter().map(|effect| detached(effect, now));
        let effects = effects.collect();
        let adopting = target.adopt(effects, through.clone());
        let (adopted, next) = tokio::join!(adopting, source.survey(Some(&through), PAGE));
        adopted.map_err(CopyError::Target)?;
        page = next.map_err(CopyError::Source)?;
        progress(done);
    }
    Ok(())
}

/// Holds both sides against each other.
async fn compare(
    source: &dyn Survey,
    target: &dyn Survey,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Copied, CopyError> {
    let mut copied = Copied::default();
    let (mut ours, mut theirs) = (Side::of(source), Side::of(target));
    loop {
        let (own, other) = tokio::join!(ours.read_on(), theirs.read_on());
        own.map_err(CopyError::Source)?;
        other.map_err(CopyError::Target)?;
        match (ours.rows.front(), theirs.rows.front()) {
            (None, None) => return Ok(copied),
            (Some(row), None) | (None, Some(row)) => return Err(differs(row)),
            (Some(_), Some(_)) => {}
        }
        while let (Some(own), Some(other)) = (ours.rows.front(), theirs.rows.front()) {
            if !same(own, other) {
                return Err(differs(own));
            }
            if let Some(table) = described(own).table {
                *copied.rows.entry(table.name()).or_default() += 1;
            }
            copied.bytes += weight(own);
            ours.rows.pop_front();
            theirs.rows.pop_front();
        }
        progress(Progress {
            stage: Stage::Comparing,
            rows: copied.rows.values().sum(),
            bytes: copied.bytes,
        });
    }
}

/// One side of the comparison: pages of two backends need not end at the same row.
struct Side<'a> {
    of: &'a dyn Survey,
    rows: VecDeque<Row>,
    through: Option<Key>,
    ended: bool,
}

impl<'a> Side<'a> {
    fn of(of: &'a dyn Survey) -> Self {
        Self {
            of,
            rows: VecDeque::new(),
            through: None,
            ended: false,
        }
    }

    /// Reads the next page, if all of the last one was looked at.
    async fn read_on(&mut self) -> Result<(), Error> {
        if !self.rows.is_empty() || self.ended {
            return Ok(());
        }
        let Stretch { effects, through } = self.of.survey(self.through.as_ref(), PAGE).await?;
        self.ended = through.is_none();
        self.through = through;
        self.rows = rows(effects).into();
        Ok(())
    }
}

/// An engine that is attached is copied as one that has left.
fn detached(effect: Effect, now: Time) -> Effect {
    let Effect::PutEngine(engine) = &effect else {
        return effect;
    };
    if !engine.is_attached() {
        return effect;
    }
    Effect::PutEngine(Arc::new(Engine {
        detach_time: Some(now),
        ..Engine::clone(engine)
    }))
}

/// Whether a row of the target is what the source's row was copied as, at whatever time that was.
fn same(own: &Row, other: &Row) -> bool {
    if let (Row::Made(own), Row::Made(other)) = (own, other)
        && let ([Effect::PutEngine(own)], [Effect::PutEngine(other)]) = (&own[..], &other[..])
        && own.is_attached()
    {
        let left = Engine {
            detach_time: other.detach_time,
            ..Engine::clone(own)
        };
        return !other.is_attached() && left == **other;
    }
    own == other
}

fn differs(row: &Row) -> CopyError {
    CopyError::Differs {
        row: described(row).name,
    }
}

fn weight(row: &Row) -> u64 {
    match row {
        Row::Entry(entry) => entry.body.len() as u64,
        Row::Item(item) => item.body.len() as u64,
        Row::Made(effects) => effects.iter().map(text_bytes).sum(),
    }
}

fn text_bytes(effect: &Effect) -> u64 {
    let bytes = if let Effect::PutSession(session) = effect {
        session.text_bytes()
    } else if let Effect::PutThread(thread) = effect {
        thread.text_bytes()
    } else if let Effect::PutResume(resume) = effect {
        resume.text_bytes()
    } else {
        0
    };
    bytes as u64
}

/// A row by its ids, and the table that it is a row of; `None`: it is a part of the row before.
struct Described {
    name: String,
    table: Option<Table>,
}

fn described(row: &Row) -> Described {
    let of = |name, table| Described {
        name,
        table: Some(table),
    };
    match row {
        Row::Entry(entry) => {
            let (log, seq) = (entry.meta.log, entry.meta.seq);
            of(format!("entry {seq} of log {log}"), Table::Entries)
        }
        Row::Item(item) => of(
            format!("item {} of journal {}", item.seq, item.journal),
            Table::Items,
        ),
        Row::Made(effects) => match effects.first() {
            Some(effect) => described_effect(effect),
            None => Described {
                name: "nothing".to_owned(),
                table: None,
            },
        },
    }
}

fn described_effect(effect: &Effect) -> Described {
    let of = |table: Option<Table>, name: String| Described { name, table };
    match effect {
        Effect::OpenLog(log) => of(Some(Table::Logs), format!("log {}", log.id)),
        Effect::ReleasePath(log) => of(None, format!("the path of log {log}")),
        Effect::PutCopy(log, _) => of(None, format!("the copies of log {log}")),
        Effect::PutSession(session) | Effect::MoveHead(session) => {
            let name = format!("session {} of namespace {}", session.id, session.namespace);
            of(Some(Table::Sessions), name)
        }
        Effect::PutPastHead(head) => {
            let (revision, session) = (head.revision, &head.session);
            let name = format!(
                "revision {revision} of session {session} of namespace {}",
                head.namespace
            );
            of(Some(Table::PastHeads), name)
        }
        Effect::PutEpoch(ns, _) => of(Some(Table::Epochs), format!("the epoch of namespace {ns}")),
        Effect::PutEngine(engine) => {
            let name = format!("engine {} of namespace {}", engine.id, engine.namespace);
            of(Some(Table::Engines), name)
        }
        Effect::PutThread(thread) => {
            let name = format!("thread {} of namespace {}", thread.id, thread.namespace);
            of(Some(Table::Threads), name)
        }
        Effect::PutTurn(turn) => {
            let name = format!("turn {} of journal {}", turn.id, turn.journal);
            of(Some(Table::Turns), name)
        }
        Effect::PutResume(resume) => {
            let name = format!("resume {} of namespace {}", resume.id, resume.namespace);
            of(Some(Table::Resumes), name)
        }
        Effect::Loosen(log, _) => of(Some(Table::Loose), format!("the note on log {log}")),
        Effect::PutReceipt(ns, id, _) => of(
            Some(Table::Receipts),
            format!("receipt {} of namespace {ns}", id.as_str()),
        ),
        // Entries and items are rows of their own; what removes something is in no survey, nor is who serves a store.
        Effect::Append(_)
        | Effect::PutReplica(_)
        | Effect::RemoveReplica(_)
        | Effect::PutItems(_)
        | Effect::DropReceipts { .. }
        | Effect::RemoveSession(..)
        | Effect::DropRows { .. }
        | Effect::RemoveLog(_)
        | Effect::Fasten(_)
        | Effect::RemoveThread(..)
        | Effect::DropPastHeads { .. }
        | Effect::RemoveEngine(..)
        | Effect::DropResumes { .. }
        | Effect::EndItems { .. } => of(None, "a row of no table".to_owned()),
    }
}

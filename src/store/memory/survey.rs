//! Everything there is, row by row.

use async_trait::async_trait;

use super::tables::Tables;
use super::{Memory, rows_within};
use crate::domain::query::Bound;
use crate::domain::{Effect, LogId};
use crate::store::Error;
use crate::store::survey::{Key, Row, Stretch, Survey, Table, first_stretch, stretch};

#[async_trait]
impl Survey for Memory {
    async fn survey(&self, after: Option<&Key>, bound: Bound) -> Result<Stretch, Error> {
        let tables = self.tables();
        first_stretch(after, |table, after| {
            let rows = tables.rows(table);
            let rows = rows.filter(|(key, _)| after.is_none_or(|after| key > after));
            let rows: Vec<(Key, Row)> = rows.take(bound.rows).collect();
            let full = rows_within(rows.iter().map(|(_, row)| bytes(row)), bound);
            Ok(stretch(rows.into_iter().take(full)))
        })
    }
}

/// The model is filled by tests alone, and has no place to mark.
#[cfg(test)]
#[async_trait]
impl crate::store::Fill for Memory {
    async fn reached(&self) -> Result<Option<Key>, Error> {
        Ok(None)
    }

    async fn adopt(&self, effects: Vec<Effect>, _through: Key) -> Result<(), Error> {
        let mut tables = self.tables();
        effects.into_iter().for_each(|effect| tables.write(effect));
        Ok(())
    }

    async fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}

type Rows<'a> = Box<dyn Iterator<Item = (Key, Row)> + 'a>;

impl Tables {
    /// Whether there is any row.
    #[cfg(test)]
    pub(super) fn is_any(&self) -> bool {
        Table::ALL
            .into_iter()
            .any(|table| self.rows(table).next().is_some())
    }

    /// Every row of a table, by key.
    fn rows(&self, table: Table) -> Rows<'_> {
        let made = |effect: Effect| Row::Made(vec![effect]);
        match table {
            Table::Logs => Box::new(self.logs.keys().map(|id| (Key::Log(*id), self.log_row(*id)))),
            Table::Entries => Box::new(
                self.entries
                    .iter()
                    .map(|((log, seq), entry)| (Key::Entry(*log, *seq), Row::Entry(entry.clone()))),
            ),
            Table::Sessions => Box::new(self.sessions.iter().map(move |((ns, id), session)| {
                let row = made(Effect::PutSession(session.clone()));
                (Key::Session(ns.clone(), id.clone()), row)
            })),
            Table::PastHeads => Box::new(self.past_heads.iter().map(move |((ns, id, revision), head)| {
                let row = made(Effect::PutPastHead(head.clone()));
                (Key::PastHead(ns.clone(), id.clone(), *revision), row)
            })),
            Table::Epochs => Box::new(self.epochs.iter().map(move |(ns, epoch)| {
                let row = made(Effect::PutEpoch(ns.clone(), *epoch));
                (Key::Epoch(ns.clone()), row)
            })),
            Table::Engines => Box::new(self.engines.iter().map(move |((ns, id), engine)| {
                let row = made(Effect::PutEngine(engine.clone()));
                (Key::Engine(ns.clone(), id.clone()), row)
            })),
            Table::Threads => Box::new(self.threads.iter().map(move |((ns, id), thread)| {
                let row = made(Effect::PutThread(thread.clone()));
                (Key::Thread(ns.clone(), id.clone()), row)
            })),
            Table::Turns => Box::new(self.turns.iter().map(move |((journal, id), turn)| {
                let row = made(Effect::PutTurn(turn.clone()));
                (Key::Turn(*journal, id.clone()), row)
            })),
            Table::Items => Box::new(
                self.items
                    .iter()
                    .map(|((journal, seq), item)| (Key::Item(*journal, *seq), Row::Item(item.clone()))),
            ),
            Table::Resumes => Box::new(self.resumes.iter().map(move |((ns, id), resume)| {
                let row = made(Effect::PutResume(resume.clone()));
                (Key::Resume(ns.clone(), id.clone()), row)
            })),
            Table::Loose => Box::new(self.loose.iter().map(move |(log, since)| {
                let row = made(Effect::Loosen(*log, *since));
                (Key::Loose(*log), row)
            })),
            Table::Receipts => Box::new(self.receipts.iter().map(move |((ns, id), receipt)| {
                let row = made(Effect::PutReceipt(ns.clone(), id.clone(), receipt.clone()));
                (Key::Receipt(ns.clone(), id.clone()), row)
            })),
        }
    }

    /// A log with what is noted of it.
    fn log_row(&self, id: LogId) -> Row {
        let log = &self.logs[&id];
        let mut effects = vec![Effect::OpenLog(log.clone())];
        // A path without parts keeps nothing, released or not.
        if self.released.contains(&id) && !log.path.parts().is_empty() {
            effects.push(Effect::ReleasePath(id));
        }
        let originals = self.copies.get(&id).filter(|originals| !originals.is_empty());
        effects.extend(originals.map(|originals| Effect::PutCopy(id, originals.clone())));
        Row::Made(effects)
    }
}

/// Bytes of what may be large in a row.
fn bytes(row: &Row) -> usize {
    match row {
        Row::Entry(entry) => entry.body.len(),
        Row::Item(item) => item.body.len(),
        Row::Made(_) => 0,
    }
}

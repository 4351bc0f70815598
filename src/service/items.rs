//! Pages of a thread's items: those of the base it shares with a session, derived from its messages on read, then its
//! own.
//!
//! Seqs are dense over both. A message's items are the last of those that its tally counts, so a page may begin
//! anywhere: the store finds the message that holds an item by its place. A turn of the base bears the id of the message
//! that starts it, and reaches to the next such message; an own turn of the same id comes first where one is named.

use crate::body::{self, Derived};
use crate::domain::fork::Count;
use crate::domain::query::{self, Bound, End, Range};
use crate::domain::turn::Status;
use crate::domain::{
    Entry, EntryId, Item, LogId, Namespace, Noun, Refusal, Role, Seq, Thread, ThreadId, Tip, Turn, TurnId,
};
use crate::store;

use super::{Error, Service};

/// Bytes of an item beside content and names.
const ITEM_BYTES: usize = 64;

/// Items, the turns they belong to, and where the next page starts.
#[derive(Clone, Debug, Default)]
pub struct ItemsPage {
    /// In ascending order.
    pub items: Vec<Item>,
    /// In ascending order.
    pub turns: Vec<Turn>,
    /// The item that the next page follows; `None`: there is no more.
    pub next: Option<Seq>,
}

/// A turn of a base: the entries and items that it spans.
#[derive(Clone, Debug)]
struct Stretch {
    /// The message that starts it.
    first: Entry,
    /// The last item before it.
    after: Seq,
    /// Its last item.
    to: Seq,
}

impl Service {
    /// A page of a thread's items, with the turns they belong to.
    pub async fn list_items(
        &self,
        ns: &Namespace,
        id: &ThreadId,
        turn: Option<TurnId>,
        after: Option<Seq>,
        bound: Bound,
    ) -> Result<ItemsPage, Error> {
        let thread = self.thread(ns, id).await?;
        let after = after.unwrap_or(Seq::ZERO);
        let Some(turn) = turn else {
            return self.items_after(&thread, after, bound).await;
        };
        if self.store.turn(thread.journal, &turn).await?.is_some() {
            return self.own_items(&thread, Some(turn), after, bound).await;
        }
        let shared = match &thread.base {
            Some(base) => self.turn_of_base(base, &turn).await?.map(|found| (base, found)),
            None => None,
        };
        let (base, found) = shared.ok_or_else(|| no_turn(&turn))?;
        let (after, to) = (after.max(found.after), found.to);
        let mut page = self.items_of_base(base, thread.journal, after, to, bound).await?;
        if page.turns.is_empty() {
            page.turns = vec![self.turn_at(base, thread.journal, &found).await?];
        }
        Ok(page)
    }

    /// Items of any turn: of the base as far as it reaches, then own ones for as long as there is room.
    async fn items_after(&self, thread: &Thread, after: Seq, bound: Bound) -> Result<ItemsPage, Error> {
        let shared = thread.base_items();
        let Some(base) = thread.base.as_ref().filter(|_| after < shared) else {
            return self.own_items(thread, None, after, bound).await;
        };
        let mut page = self
            .items_of_base(base, thread.journal, after, shared, bound)
            .await?;
        if page.next.is_some() || thread.items == shared.0 {
            return Ok(page);
        }
        page.next = Some(shared);
        let used: usize = page.items.iter().map(|item| item.body.len()).sum();
        let room = Bound {
            rows: bound.rows.saturating_sub(page.items.len()),
            bytes: bound.bytes.saturating_sub(used),
        };
        if room.rows > 0 && room.bytes > 0 {
            let own = self.own_items(thread, None, shared, room).await?;
            // A page has one row at least, however large: here that one may be too much.
            if own.items.iter().map(|item| item.body.len()).sum::<usize>() <= room.bytes {
                page.items.extend(own.items);
                page.turns.extend(own.turns);
                page.next = own.next;
            }
        }
        Ok(page)
    }

    /// A page of the items that a thread shares with a session.
    pub(super) async fn shared_items(
        &self,
        thread: &Thread,
        after: Seq,
        bound: Bound,
    ) -> Result<ItemsPage, Error> {
        let Some(base) = &thread.base else {
            return Ok(ItemsPage::default());
        };
        self.items_of_base(base, thread.journal, after, thread.base_items(), bound)
            .await
    }

    /// Own items, of one turn or of all.
    async fn own_items(
        &self,
        thread: &Thread,
        turn: Option<TurnId>,
        after: Seq,
        bound: Bound,
    ) -> Result<ItemsPage, Error> {
        let query = query::Items { turn, after };
        let items = self.store.items(thread.journal, &query, bound).await?;
        let next = self.more_items(thread, &query, items.last()).await?;
        let mut named: Vec<TurnId> = items.iter().map(|item| item.turn.clone()).collect();
        named.extend(query.turn);
        named.sort_unstable();
        named.dedup();
        let turns = self.store.turns(thread.journal, &named).await?;
        Ok(ItemsPage { items, turns, next })
    }

    /// The seq that the next page follows. Where a page ends is the store's affair, so it is asked whether
    /// anything comes after.
    async fn more_items(
        &self,
        thread: &Thread,
        query: &query::Items,
        last: Option<&Item>,
    ) -> Result<Option<Seq>, Error> {
        let Some(last) = last.map(|item| item.seq).filter(|seq| seq.0 < thread.items) else {
            return Ok(None);
        };
        let rest = query::Items {
            after: last,
            turn: query.turn.clone(),
        };
        let more = self
            .store
            .items(thread.journal, &rest, Bound { rows: 1, bytes: 0 })
            .await?;
        Ok((!more.is_empty()).then_some(last))
    }

    /// Items of the base after `after`, up to and with `to`: those of one read of entries, so that a page may be
    /// short where much else lies between messages.
    async fn items_of_base(
        &self,
        base: &Tip,
        journal: LogId,
        after: Seq,
        to: Seq,
        bound: Bound,
    ) -> Result<ItemsPage, Error> {
        if after >= to {
            return Ok(ItemsPage::default());
        }
        let first = self.passing(base, Count::Items, after.0).await?;
        let range = Range {
            after: Seq(first.meta.seq.0.saturating_sub(1)),
            to: base.seq(),
            from: End::Oldest,
        };
        let mut reading = Reading::new(journal, after, to, bound);
        reading.turn = Some(self.turn_around(base, journal, &first).await?);
        for entry in self.store.entries(&base.log, range, bound).await? {
            if !reading.take(base, &entry)? {
                break;
            }
        }
        let mut page = reading.into_page();
        // Of the last turn of the page, the end may lie behind it.
        if let Some(last) = page.turns.last_mut() {
            let id = last.id.clone();
            if let Some(whole) = self.turn_of_base(base, &id).await? {
                *last = self.turn_at(base, journal, &whole).await?;
            }
        }
        Ok(page)
    }

    /// The turn that an entry belongs to, as far as its beginning tells.
    async fn turn_around(&self, base: &Tip, journal: LogId, entry: &Entry) -> Result<Turn, Error> {
        let number = entry.meta.tally.turns;
        let first = self.passing(base, Count::Turns, number.saturating_sub(1)).await?;
        let id = TurnId::from(&first.meta.id);
        let opened = opened(base, &first, journal, &id)?;
        Ok(begun(&first, journal, &opened))
    }

    /// Where a turn of the base lies; `None`: no message of this name starts one.
    async fn turn_of_base(&self, base: &Tip, id: &TurnId) -> Result<Option<Stretch>, Error> {
        let id = EntryId::from(id);
        let Some(named) = self.store.entry_by_id(base, &id).await? else {
            return Ok(None);
        };
        if !is_in_thread(&named) {
            return Ok(None);
        }
        let number = named.meta.tally.turns;
        let first = self.passing(base, Count::Turns, number.saturating_sub(1)).await?;
        if first.meta.seq != named.meta.seq {
            return Ok(None);
        }
        let before = self.tally_at(base, Seq(first.meta.seq.0 - 1)).await?;
        let next = self.store.seek(base, Count::Turns, number).await?;
        let end = next.map_or(base.seq(), |next| Seq(next.meta.seq.0 - 1));
        let to = Seq(self.tally_at(base, end).await?.items);
        Ok(Some(Stretch {
            first,
            after: Seq(before.items),
            to,
        }))
    }

    /// A turn of the base. What it used, and when it ended, stands on the last message that has items.
    async fn turn_at(&self, base: &Tip, journal: LogId, stretch: &Stretch) -> Result<Turn, Error> {
        let Stretch { first, after, to } = stretch;
        let id = TurnId::from(&first.meta.id);
        let mut turn = begun(first, journal, &opened(base, first, journal, &id)?);
        if after < to {
            let last = self.passing(base, Count::Items, to.0 - 1).await?;
            extend(&mut turn, &opened(base, &last, journal, &id)?);
        }
        Ok(turn)
    }

    /// The entry with which a count passes a number that the base reaches.
    async fn passing(&self, base: &Tip, count: Count, number: u64) -> Result<Entry, Error> {
        let found = self.store.seek(base, count, number).await?;
        let damaged = || store::Error::corrupt(format!("log {}", base.log.id), "a tally is off");
        Ok(found.ok_or_else(damaged)?)
    }
}

/// A page of a base while entries are read.
struct Reading {
    journal: LogId,
    after: Seq,
    to: Seq,
    bound: Bound,
    bytes: usize,
    /// The turn of the last message.
    turn: Option<Turn>,
    page: ItemsPage,
}

impl Reading {
    fn new(journal: LogId, after: Seq, to: Seq, bound: Bound) -> Self {
        Self {
            journal,
            after,
            to,
            bound,
            bytes: 0,
            turn: None,
            page: ItemsPage::default(),
        }
    }

    /// Takes the items of an entry; whether there is room for more.
    fn take(&mut self, base: &Tip, entry: &Entry) -> Result<bool, Error> {
        if !is_in_thread(entry) {
            return Ok(true);
        }
        let id = match &self.turn {
            Some(turn) if turn.number == entry.meta.tally.turns => turn.id.clone(),
            Some(_) | None => TurnId::from(&entry.meta.id),
        };
        let opened = opened(base, entry, self.journal, &id)?;
        match &mut self.turn {
            Some(turn) if turn.id == id => extend(turn, &opened),
            Some(_) | None => self.turn = Some(begun(entry, self.journal, &opened)),
        }
        for item in opened.items {
            if item.seq <= self.after {
                continue;
            }
            if item.seq > self.to || !self.fits(&item) {
                return Ok(false);
            }
            self.bytes += weight(&item);
            self.page.items.push(item);
            self.list_turn();
        }
        Ok(true)
    }

    /// Whether an item still goes on the page; the first always does.
    fn fits(&self, item: &Item) -> bool {
        let rows = self.page.items.len();
        rows == 0 || (rows < self.bound.rows && self.bytes + weight(item) <= self.bound.bytes)
    }

    /// Lists the turn of the last item as it is known now.
    fn list_turn(&mut self) {
        let Some(turn) = &self.turn else {
            return;
        };
        match self.page.turns.last_mut().filter(|last| last.id == turn.id) {
            Some(last) => *last = turn.clone(),
            None => self.page.turns.push(turn.clone()),
        }
    }

    fn into_page(mut self) -> ItemsPage {
        let last = self.page.items.last().map_or(self.after, |item| item.seq);
        self.page.next = (last < self.to).then_some(last);
        self.page
    }
}

/// What an item counts on a page: its content and its names.
fn weight(item: &Item) -> usize {
    item.body.len() + item.id.as_str().len() + item.turn.as_str().len() + ITEM_BYTES
}

fn opened(base: &Tip, entry: &Entry, journal: LogId, turn: &TurnId) -> Result<Derived, Error> {
    let damaged =
        |error| store::Error::corrupt(format!("entry {} of log {}", entry.meta.seq, base.log.id), error);
    Ok(body::derived(entry, journal, turn).map_err(damaged)?)
}

/// Whether an entry is part of a thread: every message of the main agent but the system's.
fn is_in_thread(entry: &Entry) -> bool {
    entry.meta.mark.is_context() && entry.meta.mark.role != Some(Role::System)
}

/// A turn that holds the message which starts it.
fn begun(first: &Entry, journal: LogId, opened: &Derived) -> Turn {
    Turn {
        journal,
        id: TurnId::from(&first.meta.id),
        number: first.meta.tally.turns,
        status: Status::Completed,
        usage: opened.usage,
        error: String::new(),
        start_time: opened.time,
        end_time: Some(opened.time),
        open_items: 0,
        epoch: 0,
        change: 0,
    }
}

/// The turn with one more message; one without items leaves it as it is.
fn extend(turn: &mut Turn, opened: &Derived) {
    if opened.items.is_empty() {
        return;
    }
    turn.usage = opened.usage;
    turn.end_time = Some(opened.time);
}

pub(super) fn no_turn(id: &TurnId) -> Error {
    Refusal::NotFound {
        noun: Noun::Turn,
        id: id.to_string(),
    }
    .into()
}

#[cfg(test)]
mod tests;

//! A search: what the index finds, newest first, and who shows it now.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, params};

use super::sharers::Sharers;
use super::{Fault, Shared, file, terms};
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::query::{Bound, Page};
use crate::domain::search::{Found, Hit, Place, Query};
use crate::domain::{LogId, Seq, Time};
use crate::store::Error;
use crate::store::record::{log_id, number};
use crate::store::sqlite::readers::Source;
use crate::store::sqlite::{Room, entries};

/// Steps of SQLite's machine after which a search looks whether somebody still waits for it.
const STEPS: i32 = 1_000;

/// What a thread that searches owns.
#[derive(Debug)]
pub(super) struct Searcher {
    /// The database.
    main: Connection,
    /// The index, and which one; `None` until it is needed, and after it failed.
    index: RefCell<Option<(u64, Connection)>>,
    /// Whether the search that runs is to stop.
    stop: Arc<Mutex<Arc<AtomicBool>>>,
    shared: Arc<Shared>,
}

impl Source for Searcher {
    fn begin(&self) -> Result<(), rusqlite::Error> {
        self.main.begin()
    }

    fn end(&self) {
        self.main.end();
        if let Some((_, index)) = &*self.index.borrow() {
            index.end();
        }
    }
}

/// A message that the index has.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    place: Place,
    log: LogId,
    seq: Seq,
    time: Time,
}

impl Searcher {
    pub(super) fn new(main: Connection, shared: Arc<Shared>) -> Self {
        Self {
            main,
            index: RefCell::default(),
            stop: Arc::default(),
            shared,
        }
    }

    /// A page of what is found after `after`, unless it is told to stop.
    pub(super) fn search(
        &self,
        query: &Query,
        after: Option<Place>,
        bound: Bound,
        stop: &Arc<AtomicBool>,
    ) -> Result<Found, Error> {
        // Before the index is read: it may say less than the index has, never more.
        let reach = self.shared.hints.reach();
        stop.clone_into(&mut self.stop.lock().unwrap_or_else(PoisonError::into_inner));
        let mut opened = self.index.borrow_mut();
        let page = self.opened(&mut opened).and_then(|index| {
            // The index first: what it has is in the database as that is read after it, unless it was swept.
            index.begin()?;
            page(&self.main, index, query, after, bound)
        });
        match page {
            Ok(page) => Ok(Found { page, reach }),
            Err(fault) => {
                let of = opened.take().map(|(of, _)| of);
                Err(self.shared.searcher_error(of, fault))
            }
        }
    }

    fn opened<'a>(&self, opened: &'a mut Option<(u64, Connection)>) -> Result<&'a Connection, Fault> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if opened.as_ref().is_none_or(|(of, _)| *of != generation) {
            let mut index = file::searcher(&self.shared.file)?;
            let stop = self.stop.clone();
            index.progress_handler(
                STEPS,
                Some(move || {
                    let stop = stop.lock().unwrap_or_else(PoisonError::into_inner);
                    stop.load(Ordering::Relaxed)
                }),
            )?;
            *opened = Some((generation, index));
        }
        let index = opened.as_ref().map(|(_, index)| index);
        index.ok_or(Fault::Index(rusqlite::Error::InvalidQuery))
    }
}

fn page(
    main: &Connection,
    index: &Connection,
    query: &Query,
    after: Option<Place>,
    bound: Bound,
) -> Result<Page<Hit, Place>, Fault> {
    let mut page = Page {
        rows: Vec::new(),
        next: None,
    };
    let Some(expression) = terms::expression(query) else {
        return Ok(page);
    };
    let (oldest, newest) = places(index, query, after)?;
    let sql = "SELECT place, log, seq, time FROM search CROSS JOIN messages ON place = search.rowid \
               WHERE search MATCH ?1 AND search.rowid > ?2 AND search.rowid < ?3 ORDER BY search.rowid DESC";
    let mut statement = index.prepare_cached(sql)?;
    let mut rows = statement.query(params![expression, oldest, newest])?;
    let mut logs = HashMap::new();
    let mut sharers = Sharers::new(main, index, query);
    let (mut room, mut looked_at, mut taken_at) = (Room::of(bound), 0, None);
    let mut at = None;
    while let Some(row) = rows.next()? {
        if looked_at == SCAN_ROWS_MAX {
            page.next = at;
            break;
        }
        looked_at += 1;
        let (place, number, seq, time) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        at = Some(Place(place));
        let Some((log, seq)) = whose(index, &mut logs, number, seq)? else {
            continue;
        };
        let candidate = Candidate {
            place: Place(place),
            log,
            seq,
            time: Time(time),
        };
        let Some(hit) = shown(main, query, &mut sharers, candidate)? else {
            continue;
        };
        if !room.take(hit.entry.body.len()) {
            page.next = taken_at;
            break;
        }
        taken_at = at;
        page.rows.push(hit);
    }
    Ok(page)
}

/// The places that can hold what is asked for, both exclusive. A message lies at its time or a little later.
fn places(index: &Connection, query: &Query, after: Option<Place>) -> Result<(i64, i64), rusqlite::Error> {
    let spread: i64 = index
        .prepare_cached("SELECT spread FROM state")?
        .query_row((), |row| row.get(0))?;
    let oldest = query
        .after
        .map_or(i64::MIN, |time| Place::wanted(time).0.saturating_sub(1));
    let before = query.before.map_or(i64::MAX, |time| {
        Place::wanted(time).0.saturating_add(spread).saturating_add(1)
    });
    Ok((oldest, before.min(after.map_or(i64::MAX, |place| place.0))))
}

/// The log of a number, and a seq; `None` where they cannot be read.
fn whose(
    index: &Connection,
    logs: &mut HashMap<i64, Option<LogId>>,
    log: i64,
    seq: i64,
) -> Result<Option<(LogId, Seq)>, rusqlite::Error> {
    let known = match logs.get(&log) {
        Some(known) => *known,
        None => {
            let mut statement = index.prepare_cached("SELECT log FROM logs WHERE id = ?1")?;
            let mut rows = statement.query([log])?;
            let name: Option<Vec<u8>> = rows.next()?.map(|row| row.get(0)).transpose()?;
            let name = name.and_then(|name| log_id(&name).ok());
            *logs.entry(log).or_insert(name)
        }
    };
    Ok(known.zip(number(seq).ok().map(Seq)))
}

/// The hit that a candidate is, if somebody shows it and its entry can be read.
fn shown(
    main: &Connection,
    query: &Query,
    sharers: &mut Sharers<'_>,
    candidate: Candidate,
) -> Result<Option<Hit>, Fault> {
    let Candidate {
        place,
        log,
        seq,
        time,
    } = candidate;
    if !query.admits(time) {
        return Ok(None);
    }
    let Some((session, title)) = sharers.oldest(log, seq)? else {
        return Ok(None);
    };
    match entries::entry(main, log, seq) {
        Ok(entry) => Ok(entry.map(|entry| Hit {
            session,
            title,
            entry,
            time,
            place,
        })),
        Err(Error::Corrupt { row, reason }) => {
            tracing::error!(row, reason, "a damaged row is left out of a search");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

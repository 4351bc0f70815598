//! A search: what the index finds, newest first, and who shows it now.

use std::collections::HashMap;

use super::finding::{Finding, PAGE};
use super::sharers::Sharers;
use super::{State, state, terms};
use crate::domain::limits::SCAN_ROWS_MAX;
use crate::domain::query::{Bound, Page};
use crate::domain::search::{Hit, Place, Query};
use crate::domain::{LogId, Seq, SessionId, Time};
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::entries;
use crate::store::postgres::fault::Fault;
use crate::store::record::{Damage, log_id, number};
use crate::store::room::Room;

/// Rows of the first statement of a page; the others have more, for most of their rows are turned away.
const FIRST_ROWS: usize = 200;

/// Rows of a further statement.
const ROWS: usize = 2_000;

/// Messages that are read at once.
const READ_AT_ONCE: usize = 16;

/// A message that the index has.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    place: Place,
    log: LogId,
    seq: Seq,
    time: Time,
}

/// A page while it fills.
struct Pages<'a> {
    conn: &'a Conn,
    room: Room,
    page: Page<Hit, Place>,
    /// Somebody shows these; their entries are not read yet.
    shown: Vec<(Candidate, SessionId, String)>,
    /// Where the last one stands that is on the page.
    taken_at: Option<Place>,
}

/// A page of what is found after `after`, and what the index says of itself.
pub(super) async fn search(
    conn: &Conn,
    query: &Query,
    after: Option<Place>,
    bound: Bound,
) -> Result<(Page<Hit, Place>, State), Fault> {
    let state = state(conn).await?;
    let mut pages = Pages {
        conn,
        room: Room::of(bound),
        page: Page {
            rows: Vec::new(),
            next: None,
        },
        shown: Vec::new(),
        taken_at: None,
    };
    if let Some(expression) = terms::expression(query) {
        pages.fill(query, &expression, state.spread, after).await?;
    }
    Ok((pages.page, state))
}

impl Pages<'_> {
    async fn fill(
        &mut self,
        query: &Query,
        expression: &str,
        spread: i64,
        after: Option<Place>,
    ) -> Result<(), Fault> {
        let places = places(query, spread, after);
        let mut finding = Finding::new(self.conn, (query, expression), places, PAGE);
        let mut newest = places.1;
        let mut sharers = Sharers::new(self.conn, query);
        let (mut looked_at, mut rows_max) = (0, FIRST_ROWS);
        loop {
            let rows = finding.next(rows_max).await?;
            for row in &rows {
                if looked_at == SCAN_ROWS_MAX {
                    if self.read().await? {
                        self.page.next = Some(Place(newest));
                    }
                    return Ok(());
                }
                looked_at += 1;
                let columns = Columns(row);
                newest = columns.integer(0).unwrap_or(newest);
                let candidate = match candidate(columns) {
                    Ok(candidate) => candidate,
                    Err(damage) => {
                        tracing::warn!(%damage, "a row of the search index cannot be read");
                        continue;
                    }
                };
                let has_phrases = columns.maybe_text(4).ok().flatten();
                let fits = has_phrases.is_none_or(|words| query.words.accepts(words));
                if !fits || !query.admits(candidate.time) {
                    continue;
                }
                let Some((session, title)) = sharers.oldest(candidate.log, candidate.seq).await? else {
                    continue;
                };
                self.shown.push((candidate, session, title));
                if self.shown.len() == READ_AT_ONCE && !self.read().await? {
                    return Ok(());
                }
            }
            if rows.is_empty() {
                if self.read().await? {
                    self.page.next = finding.rest().map(Place);
                }
                return Ok(());
            }
            rows_max = ROWS;
        }
    }

    /// Reads the entries of what is shown, and takes what fits. Whether all of it did; else the page ends there.
    async fn read(&mut self) -> Result<bool, Fault> {
        let shown = std::mem::take(&mut self.shown);
        let places: Vec<(LogId, Seq)> = shown.iter().map(|(found, ..)| (found.log, found.seq)).collect();
        if places.is_empty() {
            return Ok(true);
        }
        let mut entries: HashMap<_, _> = entries::at(self.conn, &places).await?.into_iter().collect();
        for (candidate, session, title) in shown {
            let entry = match entries.remove(&(candidate.log, candidate.seq)) {
                Some(Ok(entry)) => entry,
                Some(Err(Fault::Damaged { row, reason })) => {
                    tracing::error!(row, reason, "a damaged row is left out of a search");
                    continue;
                }
                Some(Err(fault @ Fault::Database { .. })) => return Err(fault),
                // It was swept.
                None => continue,
            };
            if !self.room.take(entry.body.len()) {
                self.page.next = self.taken_at;
                return Ok(false);
            }
            self.taken_at = Some(candidate.place);
            self.page.rows.push(Hit {
                session,
                title,
                entry,
                time: candidate.time,
                place: candidate.place,
            });
        }
        Ok(true)
    }
}

fn candidate(columns: Columns<'_>) -> Result<Candidate, Damage> {
    Ok(Candidate {
        place: Place(columns.integer(0)?),
        log: log_id(columns.blob(1)?)?,
        seq: Seq(number(columns.integer(2)?)?),
        time: Time(columns.integer(3)?),
    })
}

/// The places that can hold what is asked for, both exclusive. A message lies at its time or a little later.
fn places(query: &Query, spread: i64, after: Option<Place>) -> (i64, i64) {
    let oldest = query
        .after
        .map_or(i64::MIN, |time| Place::wanted(time).0.saturating_sub(1));
    let before = query.before.map_or(i64::MAX, |time| {
        Place::wanted(time).0.saturating_add(spread).saturating_add(1)
    });
    (oldest, before.min(after.map_or(i64::MAX, |place| place.0)))
}

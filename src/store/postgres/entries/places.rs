//! Where entries lie, by their ids: what many proposals of a batch look for is looked for by one statement.

use std::collections::HashMap;

use super::damaged;
use crate::domain::{EntryId, Log, Seq};
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::Fault;
use crate::store::record::{Damage, column, number};

/// Entries that are looked for among those of a log up to an end.
pub(in crate::store::postgres) type Wanted<'a> = (&'a Log, Seq, &'a [EntryId]);

/// It goes by the ids: `+ 0` keeps the planner from walking all entries of a span, which would have those ids as well, and
/// `OFFSET 0` from doing so before it knows the ids.
pub(super) const PLACES: &str = "SELECT k.number, e.entry_id, e.seq \
    FROM (SELECT p.number, p.log, p.after, p.upto, w.id \
        FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[]) AS p (number, log, after, upto) \
        JOIN unnest($5::bigint[], $6::text[]) AS w (number, id) ON w.number = p.number OFFSET 0) AS k \
    JOIN entries AS e ON e.log = k.log AND e.entry_id = k.id AND e.seq + 0 > k.after AND e.seq + 0 <= k.upto \
    ORDER BY e.seq DESC";

/// Where some entries were found.
pub(in crate::store::postgres) type Found = HashMap<EntryId, Seq>;

/// Where these entries lie among those of a log up to `to`.
pub(in crate::store::postgres) async fn places(
    conn: &Conn,
    log: &Log,
    to: Seq,
    ids: &[EntryId],
) -> Result<Found, Fault> {
    let found = places_of(conn, &[(log, to, ids)]).await?;
    found.into_iter().next().unwrap_or_else(|| Ok(Found::new()))
}

/// The same for several logs, in their order. What is damaged is so for whom it concerns.
pub(in crate::store::postgres) async fn places_of(
    conn: &Conn,
    wanted: &[Wanted<'_>],
) -> Result<Vec<Result<Found, Fault>>, Fault> {
    let (mut numbers, mut logs, mut after, mut upto) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut of, mut ids): (Vec<i64>, Vec<&str>) = (Vec::new(), Vec::new());
    for (number, (log, to, wanted)) in (0_i64..).zip(wanted) {
        for span in log.spans(Seq::ZERO, *to) {
            numbers.push(number);
            logs.push(*span.log.0.as_bytes());
            after.push(column(span.after.0));
            upto.push(column(span.to.0));
        }
        of.extend(std::iter::repeat_n(number, wanted.len()));
        ids.extend(wanted.iter().map(EntryId::as_str));
    }
    let logs: Vec<&[u8]> = logs.iter().map(<[u8; 16]>::as_slice).collect();
    let rows = conn
        .rows(
            "looking for entries",
            PLACES,
            &[&numbers, &logs, &after, &upto, &of, &ids],
        )
        .await?;
    let mut found: Vec<Result<Found, Fault>> = wanted.iter().map(|_| Ok(Found::new())).collect();
    for row in &rows {
        let columns = Columns(row);
        let place = columns.integer(0).and_then(number);
        let place = place.map_err(|damage| Fault::damaged("a place of entries".to_owned(), damage))?;
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        let (Some((log, to, _)), Some(places)) = (wanted.get(at), found.get_mut(at)) else {
            continue;
        };
        match (read_place(columns), &mut *places) {
            // The first of an id comes last, and stays.
            (Ok((id, seq)), Ok(places)) => drop(places.insert(id, seq)),
            (Ok(_), Err(_)) => {}
            (Err(damage), _) => *places = Err(damaged(log.id, *to, damage)),
        }
    }
    Ok(found)
}

fn read_place(columns: Columns<'_>) -> Result<(EntryId, Seq), Damage> {
    Ok((
        EntryId::parse(columns.text(1)?, "entry_id")?,
        Seq(number(columns.integer(2)?)?),
    ))
}

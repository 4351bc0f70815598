//! Putting rows into the index, and how far their logs are indexed with them: one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;

use super::terms;
use crate::domain::search::{Indexed, Place, Row};
use crate::domain::{Namespace, Seq, Time};
use crate::store::postgres::columns::Columns;
use crate::store::postgres::conn::{Asking, Conn, in_order};
use crate::store::postgres::fault::Fault;
use crate::store::record::column;

pub(super) const BEGIN_LOG: &str = "INSERT INTO search_logs (log, namespace, indexed_to) VALUES ($1, $2, $3) \
    ON CONFLICT (log) DO UPDATE SET indexed_to = excluded.indexed_to WHERE search_logs.indexed_to = 0";

pub(super) const ADVANCE_LOG: &str =
    "UPDATE search_logs SET indexed_to = $3 WHERE log = $1 AND namespace = $2 AND indexed_to = $4";

pub(super) const TAKEN: &str = "SELECT place FROM search_messages WHERE namespace = $1 AND place = ANY ($2)";

pub(super) const PUT: &str = "INSERT INTO search_messages (namespace, place, log, seq, time, words, terms) \
    SELECT $1, place, log, seq, time, words, array_to_tsvector(string_to_array(terms, ' ')) \
    FROM unnest($2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[], $6::text[], $7::text[]) \
        AS u (place, log, seq, time, words, terms)";

pub(super) const SETTLE: &str = "UPDATE search_state SET spread = greatest(spread, $1), \
    through = greatest(coalesce($2, through), through)";

/// A row of the batch.
type Taken<'a> = (&'a Indexed, &'a Row);

/// How much of a batch went in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    All,
    /// A log was not where the batch took it to be: it has to be looked at again.
    Part,
}

/// Puts a batch in, of each log all or nothing. The index is whole up to `through` if all of it went in.
pub(super) async fn put(conn: &Conn, batch: &[Indexed], through: Option<Time>) -> Result<Put, Fault> {
    let advancing = batch
        .iter()
        .map(|indexed| Box::pin(advance(conn, indexed)) as Asking<'_, _>);
    let advanced: Vec<Result<u64, Fault>> = in_order(advancing.collect()).await;
    let mut by_namespace: BTreeMap<&Namespace, Vec<Taken<'_>>> = BTreeMap::new();
    let mut put = Put::All;
    for (indexed, advanced) in batch.iter().zip(advanced) {
        if advanced? == 1 {
            let rows = by_namespace.entry(&indexed.namespace).or_default();
            rows.extend(indexed.rows.iter().map(|row| (indexed, row)));
        } else {
            put = Put::Part;
        }
    }
    let mut spread = 0;
    for (ns, mut rows) in by_namespace {
        // Rows of one time stay in the order of their log.
        rows.sort_by_key(|(_, row)| row.time);
        spread = spread.max(insert(conn, ns, &rows).await?);
    }
    let through = through.filter(|_| put == Put::All).map(|time| time.0);
    conn.run("indexing", SETTLE, &[&spread, &through]).await?;
    Ok(put)
}

/// Notes how far a log is indexed with a batch; 0: it is somewhere else.
async fn advance(conn: &Conn, indexed: &Indexed) -> Result<u64, Fault> {
    let log = indexed.log.0.as_bytes().as_slice();
    let (ns, to) = (indexed.namespace.as_str(), column(indexed.to.0));
    if indexed.after == Seq::ZERO {
        return conn.run("indexing", BEGIN_LOG, &[&log, &ns, &to]).await;
    }
    let after = column(indexed.after.0);
    conn.run("indexing", ADVANCE_LOG, &[&log, &ns, &to, &after]).await
}

/// Writes rows in the order of their times, and says how far one lies after the place it wants, at most.
async fn insert(conn: &Conn, ns: &Namespace, rows: &[Taken<'_>]) -> Result<i64, Fault> {
    let places = places(conn, ns, rows).await?;
    let (mut at, mut seqs, mut times): (Vec<i64>, Vec<i64>, Vec<i64>) = Default::default();
    let mut logs: Vec<&[u8]> = Vec::new();
    let (mut words, mut found): (Vec<&str>, Vec<String>) = Default::default();
    let mut spread = 0;
    for ((indexed, row), place) in rows.iter().zip(places) {
        let Some(place) = place else {
            tracing::warn!(log = %indexed.log, seq = %row.seq, "a message finds no place in the search index");
            continue;
        };
        spread = spread.max(place.0.saturating_sub(Place::wanted(row.time).0));
        at.push(place.0);
        logs.push(indexed.log.0.as_bytes());
        seqs.push(column(row.seq.0));
        times.push(row.time.0);
        words.push(&row.words);
        found.push(terms::of_row(ns, indexed.log, row.role, &row.words));
    }
    conn.run(
        "indexing",
        PUT,
        &[&ns.as_str(), &at, &logs, &seqs, &times, &words, &found],
    )
    .await?;
    Ok(spread)
}

/// Free places for rows. They are first chosen as if none were taken but those that are known to be; then the database
/// is asked for all that were looked at, until it has nothing to say.
async fn places(conn: &Conn, ns: &Namespace, rows: &[Taken<'_>]) -> Result<Vec<Option<Place>>, Fault> {
    let mut known: HashMap<i64, bool> = HashMap::new();
    loop {
        let (mut places, mut last, mut looked_at) = (Vec::with_capacity(rows.len()), None, BTreeSet::new());
        for (_, row) in rows {
            let place = Place::free(row.time, last, |place| {
                let is_taken = known.get(&place.0).copied();
                if is_taken.is_none() {
                    looked_at.insert(place.0);
                }
                Ok::<_, Infallible>(is_taken.unwrap_or_default())
            });
            let place = place.unwrap_or_default();
            last = place.or(last);
            places.push(place);
        }
        if looked_at.is_empty() {
            return Ok(places);
        }
        let looked_at: Vec<i64> = looked_at.into_iter().collect();
        let taken = conn.rows("indexing", TAKEN, &[&ns.as_str(), &looked_at]).await?;
        known.extend(looked_at.into_iter().map(|place| (place, false)));
        let taken = taken.iter().filter_map(|row| Columns(row).integer(0).ok());
        known.extend(taken.map(|place| (place, true)));
    }
}

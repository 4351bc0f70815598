//! Entries: dense in their log from where its path ends, each body what its digest says, each fold what the one before
//! and the body make of it.

use bytes::Bytes;
use rusqlite::params;

use super::rows::{self, Part, Table};
use super::{Check, Opener};
use crate::domain::entry::{EntryMeta, Mark, Payload};
use crate::domain::facts::References;
use crate::domain::{LogId, Seq, Tally};
use crate::store::Error;
use crate::store::record::{Damage, column, digest, log_id, number};
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::{entries, failed, logs};

/// Sessions that are named with a damaged entry.
const SHOWN_MAX: u64 = 3;

/// Where the body stands among the columns.
const BODY: usize = 9;

/// Every entry, log by log.
pub(super) fn check(check: &mut Check<'_>) {
    let mut at = Place::default();
    let table = Table {
        kind: "entries",
        name: "entries",
        key: &["log", "seq"],
        columns: "log, seq, entry_id, kind, flags, create_time, preview, tally, digest, body".to_owned(),
        called: |key| format!("entry {} of log {}", key[1].integer(), key[0].log()),
    };
    rows::walk(check, &table, |check, key, columns| {
        let place = || -> Result<(LogId, Seq), Damage> {
            let [Part::Blob(log), Part::Integer(seq)] = key else {
                return Err(Damage::new("a key that is none"));
            };
            Ok((log_id(log)?, Seq(number(*seq)?)))
        };
        let (log, seq) = place().map_err(|damage| Error::corrupt("an entry", damage))?;
        at.reach(check, log)?;
        match columns {
            Ok(columns) => one(check, &mut at, (log, seq), columns),
            Err(error) => {
                at.skip(check, log, seq);
                let row = format!("entry {seq} of log {log}{}", shown(check, log, seq)?);
                check.failed(&row, error);
                Ok(0)
            }
        }
    });
}

/// How far the walk is within a log.
#[derive(Debug, Default)]
struct Place {
    log: Option<LogId>,
    /// The seq that is due; `None`: any will do.
    due: Option<Seq>,
    /// The fold of everything before; `None`: it is not known.
    before: Option<Tally>,
    /// Whether nobody names the log, and nothing will remove it.
    is_garbage: bool,
}

impl Place {
    /// Comes to an entry of `log`.
    fn reach(&mut self, check: &mut Check<'_>, log: LogId) -> Result<(), Error> {
        if self.log == Some(log) {
            return Ok(());
        }
        *self = Self {
            log: Some(log),
            ..Self::default()
        };
        match logs::log(check.conn, log) {
            Ok(Some(log)) => {
                self.due = Some(log.path.end().next());
                self.before = Some(log.inherited());
            }
            // If somebody names it, that is told where logs are looked at.
            Ok(None) => {
                let References {
                    named,
                    inherited_to,
                    loose,
                    ..
                } = logs::references(check.conn, log)?;
                self.is_garbage = !named && inherited_to.is_none() && loose.is_none();
            }
            // It is told by itself.
            Err(Error::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Passes an entry that cannot be read; what it says of itself beside its body may be readable.
    fn skip(&mut self, check: &Check<'_>, log: LogId, seq: Seq) {
        self.due = self.due.map(|_| seq.next());
        let meta = entries::meta(check.conn, log, seq).ok().flatten();
        self.before = meta.filter(|_| self.due.is_some()).map(|meta| meta.tally);
    }
}

/// Looks at one entry; how many bytes its body has.
fn one(
    check: &mut Check<'_>,
    at: &mut Place,
    (log, seq): (LogId, Seq),
    columns: Columns<'_>,
) -> Result<usize, Error> {
    let mut wrong: Vec<String> = Vec::new();
    match at.due {
        Some(due) if seq != due => {
            wrong.push(format!("the entries from {due} on before it are missing"));
            at.before = None;
        }
        Some(_) => {}
        None if at.is_garbage => check.garbage("entries"),
        None => {}
    }
    at.due = at.due.map(|_| seq.next());
    let body = columns.blob(BODY);
    let len = body.as_ref().map_or(0, |body| body.len());
    let meta = entries::read_meta(columns)
        .map_err(|damage| wrong.push(damage.to_string()))
        .ok();
    let payload = match (&meta, body) {
        (Some(meta), Ok(body)) if digest(body) != meta.digest => {
            wrong.push("a body that its digest does not fit".to_owned());
            None
        }
        (Some(meta), Ok(body)) => {
            let read = |open: Opener<'_>| open(meta.mark.kind, &Bytes::copy_from_slice(body));
            let payload = check.open.map(read);
            if payload == Some(None) {
                wrong.push("a body that cannot be read".to_owned());
            }
            payload.flatten()
        }
        (_, Err(damage)) => {
            wrong.push(damage.to_string());
            None
        }
        (None, Ok(_)) => None,
    };
    let fold = fold(at.before.take(), payload.as_ref());
    if let (Some(meta), Some(payload)) = (&meta, &payload) {
        if Mark::of(payload) != meta.mark {
            wrong.push("marks that are not those of its body".to_owned());
        }
        if fold.as_ref().is_some_and(|fold| *fold != meta.tally) {
            wrong.push("a tally that is not the fold of what comes before and its body".to_owned());
        }
    }
    // What was folded is right even where what is stored is not.
    let after = fold.or(meta.map(|EntryMeta { tally, .. }| tally));
    at.before = after.filter(|_| at.due.is_some());
    if !wrong.is_empty() {
        let row = format!("entry {seq} of log {log}{}", shown(check, log, seq)?);
        wrong
            .into_iter()
            .for_each(|reason| check.problem(row.clone(), reason));
    }
    Ok(len)
}

fn fold(before: Option<Tally>, payload: Option<&Payload>) -> Option<Tally> {
    Some(before?.with(payload?))
}

/// The sessions that show an entry, some of them.
fn shown(check: &Check<'_>, log: LogId, seq: Seq) -> Result<String, Error> {
    let failed = failed("looking who shows an entry");
    let sql = "SELECT namespace, session_id FROM sessions WHERE log = ?1 AND seq >= ?2 \
        UNION SELECT namespace, session_id FROM log_edges JOIN sessions ON sessions.log = log_edges.log \
            WHERE part_log = ?1 AND to_seq >= ?2 LIMIT ?3";
    let mut statement = check.conn.prepare_cached(sql).map_err(&failed)?;
    let values = params![log.0.as_bytes(), column(seq.0), column(SHOWN_MAX)];
    let mut rows = statement.query(values).map_err(&failed)?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next().map_err(&failed)? {
        let [ns, id] = [0, 1].map(|at| Columns(row).text(at).unwrap_or("?"));
        sessions.push(format!("{id} of namespace {ns}"));
    }
    Ok(match sessions.len() {
        0 => String::new(),
        _ => format!(", in session {}", sessions.join(", ")),
    })
}

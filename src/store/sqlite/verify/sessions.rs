//! Sessions: their columns agree with each other and with the end of their log.

use rusqlite::params;

use super::{Check, ROWS_MAX};
use crate::domain::session::State;
use crate::domain::{Session, Tip};
use crate::store::Error;
use crate::store::record::column;
use crate::store::record::session::fork_columns;
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::sessions::{self, COLUMNS, COLUMNS_COUNT};
use crate::store::sqlite::{entries, failed};

/// Every session, and the texts that belong to none.
pub(super) fn check(check: &mut Check<'_>) -> Result<(), Error> {
    check.steps(0, page)?;
    let failed = failed("looking for texts without a session");
    let sql = "SELECT count(*) FROM session_texts AS texts WHERE NOT EXISTS (SELECT 1 FROM sessions \
               WHERE sessions.namespace = texts.namespace AND sessions.session_id = texts.session_id)";
    let strays: i64 = check.conn.query_row(sql, (), |row| row.get(0)).map_err(failed)?;
    (0..strays).for_each(|_| check.garbage("session texts"));
    Ok(())
}

fn page(check: &mut Check<'_>, after: i64) -> Result<Option<i64>, Error> {
    let failed = failed("checking sessions");
    let conn = check.conn;
    let sql = format!(
        "SELECT {COLUMNS}, path_parts, title_base, fork_number, rowid FROM sessions WHERE rowid > ?1 \
         ORDER BY rowid LIMIT ?2"
    );
    let mut statement = conn.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement
        .query(params![after, column(ROWS_MAX as u64)])
        .map_err(&failed)?;
    let (mut last, mut seen) = (after, 0);
    while let Some(row) = rows.next().map_err(&failed)? {
        let columns = Columns(row);
        last = row.get(COLUMNS_COUNT + 3).map_err(&failed)?;
        seen += 1;
        let read = sessions::read(conn, columns);
        let read = read.and_then(|mut session| sessions::add_texts(conn, &mut session).map(|()| session));
        match read {
            Ok(session) => {
                for reason in reasons(&session, columns) {
                    check.problem(named(&session), reason);
                }
                if let Some(reason) = against_log(check, &session.tip)? {
                    check.problem(named(&session), reason);
                }
            }
            Err(error) => check.failed("a session", error),
        }
    }
    check.count("sessions", seen);
    Ok((seen > 0).then_some(last))
}

fn named(session: &Session) -> String {
    format!("session {} of namespace {}", session.id, session.namespace)
}

/// What is wrong within the row.
fn reasons(session: &Session, columns: Columns<'_>) -> Vec<&'static str> {
    let profile = &*session.profile;
    let parts = column(session.tip.log.path.parts().len() as u64);
    let (base, number) = fork_columns(&profile.title);
    let mut reasons = Vec::new();
    if columns.integer(COLUMNS_COUNT) != Ok(parts) {
        reasons.push("path_parts is not what its log's path has");
    }
    if columns.maybe_text(COLUMNS_COUNT + 1) != Ok(base.as_deref()) {
        reasons.push("title_base is not that of its title");
    }
    if columns.integer(COLUMNS_COUNT + 2) != Ok(number) {
        reasons.push("fork_number is not that of its title");
    }
    let whole = match profile.state {
        State::Active => profile.deletion.is_none(),
        State::Archived => profile.deletion.is_none() && profile.archive_time.is_some(),
        State::Deleted => profile.deletion.is_some(),
    };
    if !whole {
        reasons.push("its state and its times do not agree");
    }
    reasons
}

/// What is wrong between a place in a log and the log. A damaged entry there is told where entries are looked at.
pub(super) fn against_log(check: &Check<'_>, tip: &Tip) -> Result<Option<&'static str>, Error> {
    let seq = tip.seq();
    if seq == tip.log.path.end() {
        let same = tip.log.inherited() == tip.tally;
        return Ok((!same).then_some("its tally is not that at the end of its path"));
    }
    match entries::meta(check.conn, tip.log.holder(seq), seq) {
        Ok(Some(meta)) if meta.tally == tip.tally => Ok(None),
        Ok(Some(_)) => Ok(Some("its tally is not that of its last entry")),
        Ok(None) => Ok(Some("its last entry is missing")),
        Err(Error::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

//! Sessions: their columns agree with each other and with the end of their log.

use super::Check;
use super::rows::{self, Table};
use crate::domain::session::State;
use crate::domain::{Session, Tip};
use crate::store::Error;
use crate::store::record::column;
use crate::store::record::session::fork_columns;
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::sessions::{self, COLUMNS, COLUMNS_COUNT};
use crate::store::sqlite::{entries, failed};

/// Every session, and the texts that belong to none.
pub(super) fn check(check: &mut Check<'_>) {
    let table = Table {
        kind: "sessions",
        name: "sessions",
        key: &["namespace", "session_id"],
        columns: format!("{COLUMNS}, path_parts, title_base, fork_number"),
        called: |key| format!("session {} of namespace {}", key[1].text(), key[0].text()),
    };
    rows::walk(check, &table, |check, _, columns| {
        let columns = columns?;
        let mut session = sessions::read(check.conn, columns)?;
        sessions::add_texts(check.conn, &mut session)?;
        for reason in reasons(&session, columns) {
            check.problem(named(&session), reason);
        }
        if let Some(reason) = against_log(check, &session.tip)? {
            check.problem(named(&session), reason);
        }
        Ok(0)
    });
    check.part("texts of sessions", |check| {
        let failed = failed("looking for texts without a session");
        let sql = "SELECT count(*) FROM session_texts AS texts WHERE NOT EXISTS (SELECT 1 FROM sessions \
                   WHERE sessions.namespace = texts.namespace AND sessions.session_id = texts.session_id)";
        let strays: i64 = check.conn.query_row(sql, (), |row| row.get(0)).map_err(failed)?;
        (0..strays).for_each(|_| check.garbage("session texts"));
        Ok(())
    });
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

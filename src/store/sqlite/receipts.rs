//! Records of request_ids.

use rusqlite::{Connection, params};

use super::columns::Columns;
use super::failed;
use crate::domain::limits::SWEEP_ROWS_MAX;
use crate::domain::{Namespace, Receipt, RequestId, Time};
use crate::store::Error;
use crate::store::record::receipt::ReceiptRow;
use crate::store::record::{Damage, column};

/// The record of a request_id.
pub(super) fn receipt(conn: &Connection, ns: &Namespace, id: &RequestId) -> Result<Option<Receipt>, Error> {
    let failed = failed("reading a receipt");
    let sql = "SELECT fingerprint, outcome, time FROM receipts WHERE namespace = ?1 AND request_id = ?2";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement.query([ns.as_str(), id.as_str()]).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else {
        return Ok(None);
    };
    let receipt = row_of(Columns(row)).and_then(Receipt::try_from);
    receipt
        .map(Some)
        .map_err(|damage| Error::corrupt(format!("receipt {} of namespace {ns}", id.as_str()), damage))
}

pub(super) fn row_of(columns: Columns<'_>) -> Result<ReceiptRow, Damage> {
    Ok(ReceiptRow {
        fingerprint: columns.digest(0)?,
        outcome: columns.text(1)?.to_owned(),
        time: columns.integer(2)?,
    })
}

/// Keeps the record of a request_id.
pub(super) fn put(
    conn: &Connection,
    ns: &Namespace,
    id: &RequestId,
    receipt: &Receipt,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO receipts (namespace, request_id, fingerprint, outcome, time) \
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = ReceiptRow::from(receipt);
    let values = params![ns.as_str(), id.as_str(), row.fingerprint, row.outcome, row.time];
    conn.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// Forgets the oldest of those made before a time.
pub(super) fn drop_before(conn: &Connection, before: Time) -> rusqlite::Result<()> {
    let sql = "DELETE FROM receipts WHERE (namespace, request_id) IN ( \
               SELECT namespace, request_id FROM receipts WHERE time < ?1 ORDER BY time LIMIT ?2)";
    conn.prepare_cached(sql)?
        .execute(params![before.0, column(SWEEP_ROWS_MAX as u64)])?;
    Ok(())
}

//! Records of request_ids.

use std::collections::HashMap;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use crate::domain::limits::SWEEP_ROWS_MAX;
use crate::domain::{Namespace, Receipt, RequestId, Time};
use crate::store::record::receipt::ReceiptRow;
use crate::store::record::{Damage, column};

pub(super) const STATEMENTS: &[&str] = &[NAMED, PUT, DROP];

const NAMED: &str = "SELECT r.namespace, r.request_id, r.fingerprint, r.outcome, r.time \
    FROM unnest($1::text[], $2::text[]) AS k (ns, id) \
    JOIN receipts AS r ON r.namespace = k.ns AND r.request_id = k.id";

/// A receipt's name.
pub(super) type Name = (Namespace, RequestId);

/// The records of request_ids.
pub(super) async fn receipts(
    conn: &Conn,
    names: &[Name],
) -> Result<HashMap<Name, Result<Receipt, Fault>>, Fault> {
    let namespaces: Vec<&str> = names.iter().map(|(ns, _)| ns.as_str()).collect();
    let ids: Vec<&str> = names.iter().map(|(_, id)| id.as_str()).collect();
    let rows = conn
        .rows("reading a receipt", NAMED, &[&namespaces, &ids])
        .await?;
    let mut receipts = HashMap::new();
    for row in &rows {
        let columns = Columns(row);
        let name = || -> Result<Name, Damage> {
            Ok((
                Namespace::parse(columns.text(0)?)?,
                RequestId::parse(columns.text(1)?)?,
            ))
        };
        // It was asked for by this name.
        if let Ok((ns, id)) = name() {
            let receipt = row_of(columns).and_then(Receipt::try_from);
            let receipt = receipt.map_err(|damage| {
                Fault::damaged(format!("receipt {} of namespace {ns}", id.as_str()), damage)
            });
            receipts.insert((ns, id), receipt);
        }
    }
    Ok(receipts)
}

/// The record of a request_id.
pub(super) async fn receipt(conn: &Conn, ns: &Namespace, id: &RequestId) -> Result<Option<Receipt>, Fault> {
    let name = (ns.clone(), id.clone());
    let mut found = receipts(conn, std::slice::from_ref(&name)).await?;
    found.remove(&name).transpose()
}

pub(super) fn row_of(columns: Columns<'_>) -> Result<ReceiptRow, Damage> {
    Ok(ReceiptRow {
        fingerprint: columns.digest(2)?,
        outcome: columns.text(3)?.to_owned(),
        time: columns.integer(4)?,
    })
}

const PUT: &str = "INSERT INTO receipts (namespace, request_id, fingerprint, outcome, time) \
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::bigint[])";

/// Keeps records of request_ids.
pub(super) async fn put(conn: &Conn, receipts: &[(&Namespace, &RequestId, &Receipt)]) -> Result<(), Fault> {
    let rows: Vec<ReceiptRow> = receipts
        .iter()
        .map(|(_, _, receipt)| ReceiptRow::from(*receipt))
        .collect();
    conn.run(
        "writing receipts",
        PUT,
        &[
            &receipts.iter().map(|(ns, ..)| ns.as_str()).collect::<Vec<_>>(),
            &receipts.iter().map(|(_, id, _)| id.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|row| &row.fingerprint[..]).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.outcome.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.time).collect::<Vec<_>>(),
        ],
    )
    .await
    .map(drop)
}

const DROP: &str = "DELETE FROM receipts WHERE (namespace, request_id) IN ( \
        SELECT namespace, request_id FROM receipts WHERE time < $1 ORDER BY time LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// Forgets the oldest of those made before a time.
pub(super) async fn drop_before(conn: &Conn, before: Time) -> Result<(), Fault> {
    conn.run(
        "forgetting receipts",
        DROP,
        &[&before.0, &column(SWEEP_ROWS_MAX as u64)],
    )
    .await
    .map(drop)
}

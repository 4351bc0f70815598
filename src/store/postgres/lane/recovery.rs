//! How a lane comes to another connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{NotWritten, Shared, Worker, refuse, refuse_all};
use crate::store::Error;
use crate::store::postgres::conn::Conn;
use crate::store::postgres::fault::{Fault, Said};
use crate::store::postgres::keys::Salt;
use crate::store::postgres::open;

/// How long after a failure the first attempt to connect again is made; each further one waits twice as long.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);

/// The longest of these waits.
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(1);

impl Worker {
    /// Connects anew, and refuses whatever comes from the first failure on until that has worked out. Whether it has: else
    /// the store is closed.
    pub(super) async fn recover(&mut self) -> bool {
        self.conn = None;
        let mut wait = RECONNECT_AFTER;
        loop {
            match connected(&self.shared).await {
                Ok(conn) => {
                    tracing::info!("the database can be written to again");
                    self.conn = Some(conn);
                    self.broken.store(false, Ordering::Release);
                    return true;
                }
                Err(fault) => {
                    let error = Error::from(fault);
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the database cannot be written to");
                }
            }
            self.broken.store(true, Ordering::Release);
            refuse_all(std::mem::take(&mut self.back), NotWritten::Refusing);
            if self.closes.is_cancelled() {
                self.queue.close();
            }
            loop {
                match self.queue.try_recv() {
                    Ok(pending) => refuse(pending.reply, NotWritten::Refusing),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return false,
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(RECONNECT_AFTER_MAX);
        }
    }
}

/// A connection to the store that this one was: another may have come into its place.
pub(in crate::store::postgres) async fn connected(shared: &Shared) -> Result<Conn, Fault> {
    let operation = "looking whether it is the same store";
    let conn = Conn::connect(&shared.url, &shared.connector, &shared.settings).await?;
    let rows = conn.rows_of(operation, open::IDENTITY, &[]).await?;
    let is_same = rows
        .first()
        .is_some_and(|row| Salt::of(open::identity(row)) == shared.salt);
    if !is_same {
        let said = Said::of("the database holds another store");
        return Err(Fault::Database { operation, said });
    }
    Ok(conn)
}

/// Waits until there is no connection.
pub(super) async fn closed(conn: Option<&Conn>) {
    if let Some(conn) = conn {
        conn.closed().await;
    }
}

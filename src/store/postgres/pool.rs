//! Connections that read: so many at a time, each given back when it has read.
//!
//! A read of several statements sees one state: it is one transaction. A reader that is dropped in the middle, because
//! its caller's deadline has passed or its caller has gone, has its statement cancelled and its connection closed: nobody
//! waits for an answer that nobody wants.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::Closed;
use super::conn::Conn;
use super::fault::Said;
use super::tls::Connector;
use super::url::Url;
use crate::store::Error;

/// How long the end of a read may take before its connection is given up.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The pool.
#[derive(Debug)]
pub(super) struct Pool {
    url: Url,
    connector: Connector,
    settings: String,
    permits: Arc<Semaphore>,
    free: Arc<Mutex<Vec<Conn>>>,
    ends: CancellationToken,
}

/// A connection that was lent.
#[derive(Debug)]
pub(super) struct Reading {
    conn: Option<Conn>,
    span: Span,
    began: Instant,
    ends: Ends,
    connector: Connector,
    free: Arc<Mutex<Vec<Conn>>>,
    /// The pool takes no more.
    pool_ends: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

/// How the statements of a read are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plans {
    /// By plans that are kept.
    Kept,
    /// Each for its own values: they say which index is the best.
    Own,
}

/// What has to be said at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Nothing: there is no transaction.
    Itself,
    /// That the transaction is over.
    Transaction,
}

impl Pool {
    /// A pool of at most `size` connections; each is made when it is needed.
    pub(super) fn new(url: Url, connector: Connector, settings: String, size: usize) -> Self {
        Self {
            url,
            connector,
            settings,
            permits: Arc::new(Semaphore::new(size.max(1))),
            free: Arc::default(),
            ends: CancellationToken::new(),
        }
    }

    /// A connection for one statement.
    pub(super) async fn one(&self, operation: &'static str) -> Result<Reading, Error> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Error::unavailable(operation, Closed))?;
        let span = tracing::debug_span!("read", operation);
        let lent = |conn| Reading {
            conn: Some(conn),
            span: span.clone(),
            began: Instant::now(),
            ends: Ends::Itself,
            connector: self.connector.clone(),
            free: self.free.clone(),
            pool_ends: self.ends.clone(),
            _permit: permit,
        };
        if let Some(conn) = self.kept() {
            return Ok(lent(conn));
        }
        let connecting = Conn::bare(&self.url, &self.connector);
        let mut reading = lent(connecting.instrument(span.clone()).await?);
        if let Some(conn) = &mut reading.conn {
            conn.prepare(&self.settings).instrument(span).await?;
        }
        Ok(reading)
    }

    /// A connection for several statements that see one state.
    pub(super) async fn state(&self, operation: &'static str, plans: Plans) -> Result<Reading, Error> {
        let mut reading = self.one(operation).await?;
        let begin = match plans {
            Plans::Kept => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Plans::Own => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL plan_cache_mode = force_custom_plan"
            }
        };
        // What has begun by half has to be ended, too.
        reading.ends = Ends::Transaction;
        let begun = reading.batch(operation, begin).instrument(reading.span()).await;
        if let Err(fault) = begun {
            return reading.end(Err(fault)).await;
        }
        Ok(reading)
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.permits.close();
        self.ends.cancel();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether it takes no more.
    pub(super) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Waits until it takes no more.
    pub(super) async fn closed(&self) {
        self.ends.cancelled().await;
    }

    fn kept(&self) -> Option<Conn> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(conn) = free.pop() {
            if !conn.is_closed() {
                return Some(conn);
            }
        }
        None
    }
}

impl Reading {
    /// What bears the name of what is read.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Gives the connection back if it is good for more, and says what was read. Nobody waits for the end of its
    /// transaction, which has written nothing.
    pub(super) async fn end<T, E>(mut self, read: Result<T, E>) -> Result<T, Error>
    where
        Error: From<E>,
    {
        let read = read.map_err(Error::from);
        let (took_ms, is_ok) = (self.began.elapsed().as_millis(), read.is_ok());
        tracing::debug!(parent: &self.span, took_ms, is_ok, "read");
        if read.as_ref().is_err_and(is_of_connection) {
            self.conn = None;
        }
        match (self.ends, &self.conn) {
            (Ends::Itself, _) | (Ends::Transaction, None) => self.give_back(),
            (Ends::Transaction, Some(_)) => drop(tokio::spawn(async move {
                let ended = timeout(ENDS_WITHIN, self.batch("ending a read", "COMMIT"));
                if matches!(ended.await, Ok(Ok(()))) {
                    self.give_back();
                }
                // Else the connection goes; what was read is what was read.
            })),
        }
        read
    }

    fn give_back(&mut self) {
        if let Some(conn) = self.conn.take()
            && !conn.is_closed()
        {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            // What is closed has been emptied, or will be.
            if !self.pool_ends.is_cancelled() {
                free.push(conn);
            }
        }
    }
}

/// Whether a read has failed because its connection is good for nothing more.
fn is_of_connection(error: &Error) -> bool {
    match error {
        Error::Unavailable { source, .. } => {
            let said = source.downcast_ref::<Said>();
            said.is_some_and(Said::is_of_connection)
        }
        Error::Refused(_) | Error::Corrupt { .. } => false,
    }
}

impl Deref for Reading {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn
            .as_ref()
            .expect("a connection is there until it is given back")
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let connector = self.connector.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { conn.give_up(&connector).await });
        }
    }
}

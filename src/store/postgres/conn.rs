//! One connection, with every statement prepared, so that what is asked at once goes out at once.
//!
//! The driver sends a statement when its future is polled for the first time. [`in_order`] polls futures in their order:
//! what they ask is executed in that order, and no answer is waited for in between.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};
use tokio_util::sync::CancellationToken;

use super::fault::{Fault, Said, failed};
use super::tls::Connector;
use super::url::Url;
use super::{
    chores, copies, engines, entries, index, items, keys, logs, past_heads, receipts, replicas, resumes,
    sessions, threads,
};

/// Values of a statement.
pub(super) type Values<'a> = [&'a (dyn ToSql + Sync)];

/// Something that is asked of the database.
pub(super) type Asking<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Executions that a plan is kept for at most. The planner goes by what tables have when it plans: a plan from when they
/// were new would walk all of them for ever.
pub(super) const PLANS_KEPT_FOR: u32 = 1_000;

/// How often a statement is asked to end.
const CANCELS_MAX: u32 = 5;

/// How long it has to end before it is asked again.
const CANCELLED_WITHIN: Duration = Duration::from_secs(1);

/// What every connection prepares.
const STATEMENTS: [&[&str]; 14] = [
    keys::STATEMENTS,
    sessions::STATEMENTS,
    threads::STATEMENTS,
    logs::STATEMENTS,
    copies::STATEMENTS,
    entries::STATEMENTS,
    items::STATEMENTS,
    engines::STATEMENTS,
    replicas::STATEMENTS,
    resumes::STATEMENTS,
    receipts::STATEMENTS,
    past_heads::STATEMENTS,
    chores::STATEMENTS,
    index::STATEMENTS,
];

/// A connection.
pub(super) struct Conn {
    client: Client,
    /// It is cancelled when the connection is no more.
    ended: CancellationToken,
    prepared: HashMap<&'static str, Statement>,
    /// How many prepared statements were executed.
    executed: AtomicU32,
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").finish_non_exhaustive()
    }
}

impl Conn {
    /// Connects, sets what `settings` say and prepares every statement.
    pub(super) async fn connect(url: &Url, connector: &Connector, settings: &str) -> Result<Self, Fault> {
        let mut conn = Self::bare(url, connector).await?;
        conn.prepare(settings).await?;
        Ok(conn)
    }

    /// Connects; nothing is prepared.
    pub(super) async fn bare(url: &Url, connector: &Connector) -> Result<Self, Fault> {
        let (client, ended) = connected(url, connector).await?;
        Ok(Self {
            client,
            ended,
            prepared: HashMap::new(),
            executed: AtomicU32::new(0),
        })
    }

    /// Sets what `settings` say and prepares every statement, for which its tables must not be locked.
    pub(super) async fn prepare(&mut self, settings: &str) -> Result<(), Fault> {
        let operation = "preparing a connection";
        let client = &self.client;
        client.batch_execute(settings).await.map_err(failed(operation))?;
        let statements = || STATEMENTS.iter().copied().flatten().copied();
        let preparing = statements().map(|sql| Box::pin(client.prepare(sql)) as Asking<'_, _>);
        let prepared: Vec<Result<Statement, tokio_postgres::Error>> = in_order(preparing.collect()).await;
        let prepared = statements().zip(prepared).map(|(sql, statement)| {
            let statement = statement.inspect_err(|_| tracing::debug!(sql, "a statement is refused"));
            Ok((sql, statement.map_err(failed(operation))?))
        });
        self.prepared = prepared.collect::<Result<_, Fault>>()?;
        Ok(())
    }

    /// The rows that a prepared statement gives.
    pub(super) async fn rows(
        &self,
        operation: &'static str,
        sql: &'static str,
        values: &Values<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let statement = self.prepared(operation, sql)?;
        let asked = join(self.plan_again(), self.client.query(statement, values));
        asked.await.1.map_err(failed(operation))
    }

    /// The first row of those.
    pub(super) async fn row(
        &self,
        operation: &'static str,
        sql: &'static str,
        values: &Values<'_>,
    ) -> Result<Option<Row>, Fault> {
        Ok(self.rows(operation, sql, values).await?.into_iter().next())
    }

    /// Runs a prepared statement; how many rows it changed.
    pub(super) async fn run(
        &self,
        operation: &'static str,
        sql: &'static str,
        values: &Values<'_>,
    ) -> Result<u64, Fault> {
        let statement = self.prepared(operation, sql)?;
        let asked = join(self.plan_again(), self.client.execute(statement, values));
        asked.await.1.map_err(failed(operation))
    }

    /// The rows of a statement that was put together.
    pub(super) async fn rows_of(
        &self,
        operation: &'static str,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Fault> {
        self.client
            .query_typed(sql, values)
            .await
            .map_err(failed(operation))
    }

    /// Runs statements without values.
    pub(super) async fn batch(&self, operation: &'static str, sql: &str) -> Result<(), Fault> {
        self.client.batch_execute(sql).await.map_err(failed(operation))
    }

    /// Whether it is no more.
    pub(super) fn is_closed(&self) -> bool {
        self.ended.is_cancelled() || self.client.is_closed()
    }

    /// Waits until it is no more.
    pub(super) async fn closed(&self) {
        self.ended.cancelled().await;
    }

    /// Ends the statement that runs, and the connection. A request to cancel may overtake the statement, and finds nothing
    /// then: so it is asked whether that has ended.
    pub(super) async fn give_up(self, connector: &Connector) {
        for _ in 0..CANCELS_MAX {
            let token = self.client.cancel_token();
            let cancelling = token.cancel_query(connector.tls());
            // Where the server cannot be reached there is nothing left to end.
            if !matches!(timeout(super::CONNECT_TIMEOUT, cancelling).await, Ok(Ok(()))) {
                return;
            }
            // Answered, if with an error, once what was asked before is over.
            let nothing = self.client.batch_execute("");
            if timeout(CANCELLED_WITHIN, nothing).await.is_ok() {
                return;
            }
        }
    }

    /// Has the plans that are kept made anew, once in a while.
    async fn plan_again(&self) {
        let executed = self.executed.fetch_add(1, Ordering::Relaxed);
        if executed % PLANS_KEPT_FOR == PLANS_KEPT_FOR - 1 {
            // Where it fails, so does what is asked behind it.
            let _ = self.client.batch_execute("DISCARD PLANS").await;
        }
    }

    fn prepared(&self, operation: &'static str, sql: &'static str) -> Result<&Statement, Fault> {
        self.prepared.get(sql).ok_or_else(|| Fault::Database {
            operation,
            said: Said::of("a statement that was not prepared"),
        })
    }
}

/// A connection as the driver has it; what it receives is read by a task that ends with it.
pub(super) async fn connected(
    url: &Url,
    connector: &Connector,
) -> Result<(Client, CancellationToken), Fault> {
    in_time(connector.connect(url)).await
}

/// What connects, in the time that it may take altogether.
pub(super) async fn in_time<T>(connecting: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let connected = timeout(super::CONNECT_TIMEOUT, connecting).await;
    connected.map_err(|_| Fault::Database {
        operation: "connecting to PostgreSQL",
        said: Said::of("the time was up"),
    })?
}

/// Waits for all, each polled for the first time after those before it; after that each is polled when it is woken alone.
pub(super) async fn in_order<T>(asking: Vec<Asking<'_, T>>) -> Vec<T> {
    let mut answers: Vec<Option<T>> = Vec::with_capacity(asking.len());
    let mut waiting = FuturesUnordered::new();
    for (at, mut asked) in asking.into_iter().enumerate() {
        let first = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await;
        match first {
            Poll::Ready(answer) => answers.push(Some(answer)),
            Poll::Pending => {
                answers.push(None);
                waiting.push(asked.map(move |answer| (at, answer)));
            }
        }
    }
    while let Some((at, answer)) = waiting.next().await {
        answers[at] = Some(answer);
    }
    answers.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn what_is_asked_goes_out_in_order_and_is_looked_at_when_it_is_answered() {
        const ALL: usize = 2_000;
        let (polls, begun) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..ALL).map(|_| oneshot::channel::<usize>()).unzip();
        let asking = receivers.into_iter().enumerate().map(|(at, mut receiver)| {
            let (polls, begun) = (&polls, &begun);
            let mut is_new = true;
            let asked = poll_fn(move |context| {
                polls.fetch_add(1, Ordering::Relaxed);
                if std::mem::take(&mut is_new) {
                    begun.lock().expect("no panic").push(at);
                }
                receiver.poll_unpin(context)
            });
            Box::pin(asked) as Asking<'_, _>
        });
        let mut all = Box::pin(in_order(asking.collect()));
        assert!((&mut all).now_or_never().is_none());
        assert!(begun.lock().expect("no panic").iter().copied().eq(0..ALL));
        for (at, sender) in senders.into_iter().enumerate() {
            sender.send(at).expect("it is waited for");
            // Whoever has an answer wakes the whole.
            let done = (&mut all).now_or_never();
            assert_eq!(done.is_some(), at == ALL - 1);
            if let Some(answers) = done {
                assert!(
                    answers
                        .into_iter()
                        .map(|answer: Result<_, oneshot::error::RecvError>| answer.expect("sent"))
                        .eq(0..ALL)
                );
            }
        }
        let polls = polls.load(Ordering::Relaxed);
        assert!(polls <= 4 * ALL, "{polls} polls");
    }
}

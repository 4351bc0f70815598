//! The search index: tables beside the others, derived from them and never in the way of a write.
//!
//! Of all replicas one *keeps* the index: the one whose name `search_state` has, until a time of the database's clock
//! that it puts off again and again. It reads what the index lacks and puts it in; how far each log is indexed is stored
//! in the transaction of its rows, in which it is still this one. Hints say where to look; who begins to keep the index
//! looks at everything once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use uuid::Uuid;

use super::columns::Columns;
use super::conn::Conn;
use super::fault::Fault;
use super::lane::Shared;
use super::pool::{Plans, Pool};
use crate::domain::outcome::More;
use crate::domain::query::Bound;
use crate::domain::search::{Found, Indexed, Place, Query, Reach};
use crate::domain::{Time, words};
use crate::store::{Error, Lack};

pub(super) mod finding;
mod keeping;
mod lack;
pub(super) mod prune;
mod search;
mod sharers;
pub(super) mod terms;
mod todo;
mod write;

pub(super) use crate::store::hints::Hints;

use keeping::{KEPT_FOR, Known, RENEWS_EVERY};
use todo::Todo;
use write::Put;

/// `terms` has the words of a message and its scope, each once; `words` has them in order, for phrases. `place` orders
/// messages by time, the newest last. `search_state` says how far the index was when it last was whole, how far a place
/// lies after the one that its time asks for at most, which words it has, and who keeps it until when, in ms.
pub(super) const TABLES: &str = r#"
CREATE TABLE search_logs (
    log bytea PRIMARY KEY, namespace text COLLATE "C" NOT NULL, indexed_to bigint NOT NULL
);
CREATE TABLE search_messages (
    namespace text COLLATE "C" NOT NULL, place bigint NOT NULL, log bytea NOT NULL, seq bigint NOT NULL,
    time bigint NOT NULL, words text NOT NULL, terms tsvector NOT NULL,
    PRIMARY KEY (namespace, place)
);
CREATE INDEX search_messages_by_log ON search_messages (log, seq);
CREATE INDEX search_messages_by_terms ON search_messages USING gin (terms);
CREATE TABLE search_state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), through bigint NOT NULL DEFAULT 0,
    spread bigint NOT NULL DEFAULT 0, words_version bigint NOT NULL DEFAULT 0,
    keeper bytea, kept_until bigint NOT NULL DEFAULT 0
);
INSERT INTO search_state DEFAULT VALUES;
"#;

pub(super) const STATEMENTS: &[&str] = &[
    keeping::KEEP,
    keeping::LEAVE,
    keeping::HOLDS,
    STATE,
    lack::LACKING,
    lack::LACKING_OF,
    lack::SESSION,
    lack::REACHED,
    prune::LOST,
    prune::DROP,
    prune::SHORTEN,
    prune::FORGET,
    write::BEGIN_LOG,
    write::ADVANCE_LOG,
    write::TAKEN,
    write::PUT,
    write::SETTLE,
    sharers::READERS,
    sharers::TITLE,
];

/// How long a replica that does not keep the index waits before it asks again whether it may.
const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long whoever closes waits for what is being indexed.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);

/// How long after a look at everything whoever keeps the index takes another one, at least: what replicas tell each other
/// may be lost.
const LOOKS_EVERY: Duration = Duration::from_secs(60);

/// How many times as long as its statements took another look waits after one: so they take a twentieth of the time.
const LOOKS_AFTER: u32 = 20;

const STATE: &str = "SELECT through, spread, words_version FROM search_state";

/// The index, as the rest of the store holds it.
#[derive(Debug)]
pub(super) struct Index {
    /// What this replica keeps the index as.
    name: Uuid,
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    keeper: Mutex<Keeper>,
    /// Whether a further look is on its way.
    asks_again: Arc<AtomicBool>,
}

/// What keeps the index, if this replica does.
#[derive(Debug, Default)]
struct Keeper {
    conn: Option<Conn>,
    /// When this replica last said that it keeps the index, if it does.
    said: Option<Instant>,
    /// When the last look at everything was over, and how long its statements took.
    looked: Option<(Instant, Duration)>,
    todo: Todo,
}

/// What `search_state` says.
#[derive(Clone, Copy, Debug)]
struct State {
    through: Time,
    spread: i64,
    words_version: i64,
}

impl Index {
    pub(super) fn new(shared: Arc<Shared>, pool: Arc<Pool>) -> Self {
        Self {
            name: Uuid::now_v7(),
            shared,
            pool,
            keeper: Mutex::default(),
            asks_again: Arc::default(),
        }
    }

    /// Moves when there may be something to index.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.shared.hints.news()
    }

    /// What the index lacks; nothing, where another replica keeps it.
    pub(super) async fn lack(&self, bound: Bound) -> Result<Lack, Error> {
        let mut keeper = self.keeper.lock().await;
        let lack = self.lacking(&mut keeper, bound).await;
        lack.map_err(|fault| keeper.failed(fault))
    }

    async fn lacking(&self, keeper: &mut Keeper, bound: Bound) -> Result<Lack, Fault> {
        self.keep(keeper).await?;
        let Some(conn) = keeper.conn.as_ref().filter(|_| keeper.said.is_some()) else {
            self.look_again(ASKS_AGAIN_AFTER);
            return Ok(Lack {
                logs: Vec::new(),
                more: More::Done,
            });
        };
        self.look_again(RENEWS_EVERY);
        if !keeper.todo.is_looking() && is_due(keeper.looked) {
            // What another replica has told may have been lost.
            self.shared.hints.everything(state(conn).await?.through);
        }
        keeper.todo.take(self.shared.hints.take());
        prune::prune(conn, &mut keeper.todo).await?;
        let lack = lack::lack(conn, &mut keeper.todo, bound).await?;
        if let Some(spent) = keeper.todo.spent() {
            keeper.looked = Some((Instant::now(), spent));
        }
        if lack.logs.is_empty() && lack.more == More::Done {
            self.shared.hints.settle();
        }
        Ok(lack)
    }

    /// Puts rows in.
    pub(super) async fn put(&self, batch: Vec<Indexed>, through: Option<Time>) -> Result<(), Error> {
        let mut keeper = self.keeper.lock().await;
        let put = self.putting(&mut keeper, &batch, through).await;
        put.map_err(|fault| keeper.failed(fault))
    }

    async fn putting(
        &self,
        keeper: &mut Keeper,
        batch: &[Indexed],
        through: Option<Time>,
    ) -> Result<(), Fault> {
        self.keep(keeper).await?;
        // What was given out is another one's to put in by now.
        let Some(conn) = keeper.conn.as_ref().filter(|_| keeper.said.is_some()) else {
            return Ok(());
        };
        conn.batch("indexing", "BEGIN").await?;
        let put = match keeping::holds(conn, self.name).await {
            Ok(true) => write::put(conn, batch, through).await,
            Ok(false) => {
                conn.batch("indexing", "ROLLBACK").await?;
                self.loses(keeper);
                return Ok(());
            }
            Err(fault) => Err(fault),
        };
        match put {
            Ok(put) => {
                conn.batch("indexing", "COMMIT").await?;
                if put == Put::All {
                    keeper.todo.was_put_in();
                }
                Ok(())
            }
            Err(fault) => {
                // What failed says more than that it cannot be taken back.
                let _ = conn.batch("indexing", "ROLLBACK").await;
                Err(fault)
            }
        }
    }

    /// A page of what is found.
    pub(super) async fn search(
        &self,
        query: &Query,
        after: Option<Place>,
        bound: Bound,
    ) -> Result<Found, Error> {
        // Before the index is read: it may say less than the index has, never more.
        let reach = self.shared.hints.reach();
        let reading = self.pool.state("searching", Plans::Own).await?;
        let found = search::search(&reading, query, after, bound).await;
        let (page, state) = reading.end(found).await?;
        let reach = match reach {
            Reach::All => Reach::All,
            // What another replica has put in is known by what it has stored.
            Reach::Until(time) => Reach::Until(time.max(state.through)),
        };
        Ok(Found { page, reach })
    }

    /// Has the indexer look again, a while later: whoever keeps the index may have left, or something was not heard.
    fn look_again(&self, after: Duration) {
        if self.asks_again.swap(true, Ordering::AcqRel) {
            return;
        }
        let (pool, hints) = (self.pool.clone(), self.shared.hints.clone());
        let asks_again = self.asks_again.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(after) => {
                    asks_again.store(false, Ordering::Release);
                    hints.wake();
                }
                () = pool.closed() => {}
            }
        });
    }

    /// Lets another replica keep the index; if that cannot be said in time it does a little later.
    pub(super) async fn close(&self) {
        let leaving = async {
            let mut keeper = self.keeper.lock().await;
            if let Some(conn) = keeper.conn.take() {
                let _ = keeping::leave(&conn, self.name).await;
            }
            *keeper = Keeper::default();
        };
        if timeout(LEAVES_WITHIN, leaving).await.is_err() {
            tracing::info!("the search index is left as it is being kept");
        }
    }

    /// Connects, and keeps the index if nobody else does.
    async fn keep(&self, keeper: &mut Keeper) -> Result<(), Fault> {
        let operation = "keeping the search index";
        let shared = &self.shared;
        if keeper.conn.as_ref().is_none_or(Conn::is_closed) {
            *keeper = Keeper::default();
            keeper.conn = Some(Conn::connect(&shared.url, &shared.connector, &shared.indexing).await?);
        }
        let Some(conn) = keeper.conn.as_ref() else {
            return Ok(());
        };
        let age = keeper.said.map(|said| said.elapsed());
        if age.is_some_and(|age| age < RENEWS_EVERY) {
            return Ok(());
        }
        // Later than that, another one may have kept it in between.
        let still = age.is_some_and(|age| age < KEPT_FOR);
        let known = match shared.hints.reach() {
            Reach::All if still => Known::Whole,
            Reach::All | Reach::Until(_) => Known::Nothing,
        };
        let saying = Instant::now();
        if !keeping::keep(conn, self.name, known).await? {
            if keeper.said.is_some() {
                self.loses(keeper);
            }
            return Ok(());
        }
        if still {
            keeper.said = Some(saying);
            return Ok(());
        }
        let state = state(conn).await?;
        let version = i64::from(words::VERSION);
        let mut through = state.through;
        if state.words_version != version {
            tracing::info!("the search index is of other words, and is made anew");
            through = Time(0);
            let anew = format!(
                "BEGIN; TRUNCATE search_logs, search_messages; \
                 UPDATE search_state SET through = 0, spread = 0, words_version = {version}; COMMIT"
            );
            conn.batch(operation, &anew).await?;
        }
        shared.hints.everything(through);
        (keeper.said, keeper.looked, keeper.todo) = (Some(saying), None, Todo::default());
        Ok(())
    }

    /// Another one keeps it by now, and does what this one was about to do.
    fn loses(&self, keeper: &mut Keeper) {
        (keeper.said, keeper.todo) = (None, Todo::default());
        self.shared.hints.everything(Time(0));
    }
}

impl Keeper {
    /// A connection that has failed is given up, and the index with it: another replica may go on.
    fn failed(&mut self, fault: Fault) -> Error {
        *self = Self::default();
        fault.into()
    }
}

/// Whether it is time for a further look at everything.
fn is_due(looked: Option<(Instant, Duration)>) -> bool {
    looked.is_none_or(|(ended, took)| ended.elapsed() >= LOOKS_EVERY.max(took.saturating_mul(LOOKS_AFTER)))
}

async fn state(conn: &Conn) -> Result<State, Fault> {
    let row = conn.row("reading the search index", STATE, &[]).await?;
    let number = |at| {
        row.as_ref()
            .map_or(0, |row| Columns(row).integer(at).unwrap_or_default())
    };
    Ok(State {
        through: Time(number(0)),
        spread: number(1),
        words_version: number(2),
    })
}

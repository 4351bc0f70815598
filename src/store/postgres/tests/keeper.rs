//! Which replica keeps the search index.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{InSchema, told};
use crate::domain::outcome::More;
use crate::domain::query::Bound;
use crate::domain::search::{Indexed, Query, Reach, Row, Unindexed};
use crate::domain::{Entry, Role, Seq, fixture as f, words};
use crate::store::Store;
use crate::store::conformance::Backend as _;
use crate::store::conformance::desk::{ALL, Desk};
use crate::store::postgres::index::prune::LOST;
use crate::store::postgres::{Options, Postgres};

const DEADLINE: Duration = Duration::from_secs(30);

async fn lacking(store: &dyn Store) -> Vec<Unindexed> {
    store.lack(ALL).await.expect("it can be told").logs
}

/// With a row for each message.
fn indexed(lacking: Vec<Unindexed>) -> Vec<Indexed> {
    let row = |message: &Entry| Row {
        seq: message.meta.seq,
        role: Role::User,
        time: message.meta.create_time,
        words: "word".to_owned(),
    };
    let log = |log: Unindexed| Indexed {
        namespace: log.namespace,
        log: log.log,
        after: log.after,
        to: log.to,
        rows: log.messages.iter().map(row).collect(),
    };
    lacking.into_iter().map(log).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_still_is_followed_by_another_and_puts_nothing_in() {
    let schema = InSchema::new().await;
    let desk = Desk::at(&schema).await;
    let other = schema.open().await;
    desk.create("s").await;
    desk.append("s", vec![f::user("m", "word")]).await;
    let given = lacking(&*desk.store).await;
    assert_eq!(given.len(), 1, "the first to ask keeps the index");
    assert!(lacking(&*other).await.is_empty());
    // As it is when it has said nothing for a while.
    told(&format!("UPDATE {}.search_state SET kept_until = 0", schema.0)).await;
    assert_eq!(lacking(&*other).await.len(), 1, "the other one keeps it now");
    let rows = format!("SELECT count(*) FROM {}.search_messages", schema.0);
    let put = desk.store.index(indexed(given), Some(desk.now())).await;
    put.expect("nothing is wrong with it");
    assert_eq!(told(&rows).await, 0, "it is not this one's to put in");
    let through = told(&format!("SELECT through FROM {}.search_state", schema.0)).await;
    assert_eq!(through, 0, "nor to say how far it is");
    assert!(lacking(&*desk.store).await.is_empty());
    let put = other
        .index(indexed(lacking(&*other).await), Some(desk.now()))
        .await;
    put.expect("nothing is wrong with it");
    assert_eq!(told(&rows).await, 1);
    desk.store.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_keep_it_learns_how_far_it_is_though_nobody_writes() {
    let schema = InSchema::new().await;
    let open = async || {
        let store = Postgres::open(&schema.url_by_clock(), &Options::default()).await;
        store.expect("opened")
    };
    let (keeper, other) = (open().await, open().await);
    let query = Query {
        namespace: f::namespace(),
        words: words::Query::parse("word").expect("valid"),
        session: None,
        workspace: None,
        roles: Vec::new(),
        after: None,
        before: None,
    };
    let start = Instant::now();
    let began = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    loop {
        assert!(lacking(&keeper).await.is_empty());
        let found = other.search(&query, None, ALL).await.expect("searched");
        match found.reach {
            Reach::Until(time) if u128::from(time.0.unsigned_abs()) > began.as_nanos() => break,
            Reach::Until(_) => {}
            Reach::All => panic!("it cannot know"),
        }
        assert!(start.elapsed() < DEADLINE, "it is not told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    keeper.close().await;
    other.close().await;
}

/// What was just written is found within a moment, though long sessions are being indexed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_short_and_new_does_not_wait_for_what_is_long_and_old() {
    let schema = InSchema::new().await;
    let desk = Desk::at(&schema).await;
    let bound = Bound { rows: 10, ..ALL };
    let index = async || {
        let lacking = desk.store.lack(bound).await.expect("it can be told").logs;
        let spans: Vec<(Seq, Seq)> = lacking.iter().map(|log| (log.after, log.to)).collect();
        let put = desk.store.index(indexed(lacking), None).await;
        put.expect("nothing is wrong with it");
        spans
    };
    for long in ["long-1", "long-2", "long-3"] {
        desk.create(long).await;
        let messages = (0..100).map(|number| f::user(&format!("{long}-{number}"), "word"));
        desk.append(long, messages.collect()).await;
    }
    // By then none of them is new.
    for _ in 0..6 {
        assert_eq!(index().await.len(), 1);
    }
    let shorts = ["a", "b", "c", "d", "e"];
    for short in shorts {
        desk.create(short).await;
        desk.append(short, vec![f::user(&format!("in-{short}"), "word")])
            .await;
    }
    let mut given = index().await;
    given.extend(index().await);
    let is_short = |span: &&(Seq, Seq)| **span == (Seq::ZERO, Seq(1));
    assert_eq!(given.iter().filter(is_short).count(), shorts.len(), "{given:?}");
    assert!(given.iter().any(|span| !is_short(&span)), "{given:?}");
    desk.store.close().await;
}

/// A fork that nobody has gone on with ends where what it inherits does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_entries_of_its_own_has_lost_nothing() {
    let schema = InSchema::new().await;
    let desk = Desk::at(&schema).await;
    desk.create("s").await;
    desk.append("s", vec![f::user("m", "word")]).await;
    desk.fork("s", 1, "fork").await;
    loop {
        let lack = desk.store.lack(ALL).await.expect("it can be told");
        if lack.logs.is_empty() && lack.more == More::Done {
            break;
        }
        let put = desk.store.index(indexed(lack.logs), None).await;
        put.expect("nothing is wrong with it");
    }
    let looked_at = told(&format!("SELECT count(*) FROM {}.search_logs", schema.0)).await;
    assert_eq!(looked_at, 2);
    let sql = LOST.replace("$1", "''::bytea").replace("$2", "10");
    let lost = format!(
        "SET search_path = {}; SELECT count(*) FROM ({sql}) AS looked_at (log, is_lost) WHERE is_lost",
        schema.0
    );
    assert_eq!(told(&lost).await, 0);
    told(&format!("DELETE FROM {}.entries", schema.0)).await;
    assert_eq!(told(&lost).await, 1, "the session's own");
    desk.store.close().await;
}

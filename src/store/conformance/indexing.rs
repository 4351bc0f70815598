//! Indexing and asking as tests of search do it.

use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::outcome::More;
use crate::domain::query::Bound;
use crate::domain::search::{Hit, Indexed, Place, Query, Row, Unindexed, Within};
use crate::domain::{Entry, NewEntry, Role, Session, Time, words};
use crate::store::Store;

use super::desk::{ALL, Desk};

/// Batches that no test reaches.
const BATCHES_MAX: usize = 10_000;

/// Rows and bytes that make several batches of most tests.
pub(super) const BATCH: Bound = Bound {
    rows: 50,
    bytes: 5_000,
};

/// Puts in whatever the index lacks, each message as `read` reads it. Says how many messages that were.
pub(crate) async fn indexed(
    store: &dyn Store,
    bound: Bound,
    read: impl Fn(&Entry) -> (Time, String),
) -> usize {
    let mut count = 0;
    for _ in 0..BATCHES_MAX {
        let lack = store.lack(bound).await.expect("it can be told");
        if lack.logs.is_empty() {
            if lack.more == More::Done {
                return count;
            }
            continue;
        }
        count += lack.logs.iter().map(|log| log.messages.len()).sum::<usize>();
        let batch = lack.logs.into_iter().map(|log| rows(log, &read)).collect();
        store.index(batch, None).await.expect("it can be written");
    }
    panic!("there is no end of what the index lacks");
}

pub(super) fn rows(unindexed: Unindexed, read: impl Fn(&Entry) -> (Time, String)) -> Indexed {
    let row = |message: &Entry| {
        let (time, words) = read(message);
        Row {
            seq: message.meta.seq,
            role: message.meta.mark.role.expect("a message"),
            time,
            words,
        }
    };
    Indexed {
        rows: unindexed.messages.iter().map(row).collect(),
        namespace: unindexed.namespace,
        log: unindexed.log,
        after: unindexed.after,
        to: unindexed.to,
    }
}

/// A message whose body is its text, said so many seconds after the new year.
pub(super) fn said(id: &str, role: Role, text: &str, second: u64) -> NewEntry {
    let mut entry = f::with_body(f::said(id, role, ""), text.to_owned());
    entry.create_time = f::NEW_YEAR.after(Duration::from_secs(second));
    entry
}

pub(super) fn user(id: &str, text: &str, second: u64) -> NewEntry {
    said(id, Role::User, text, second)
}

/// What the words of such a message are.
pub(crate) fn plain(entry: &Entry) -> (Time, String) {
    let text = String::from_utf8_lossy(&entry.body);
    (entry.meta.create_time, words::folded(&text))
}

impl Desk {
    pub(super) async fn index(&self) -> usize {
        indexed(&*self.store, BATCH, plain).await
    }

    pub(super) fn asking(&self, text: &str) -> Query {
        Query {
            namespace: self.ns.clone(),
            words: words::Query::parse(text).expect("valid"),
            session: None,
            workspace: None,
            roles: Vec::new(),
            after: None,
            before: None,
        }
    }

    /// What is found, as `session/message`.
    pub(super) async fn finds(&self, query: &Query) -> Vec<String> {
        let hits = listed(&*self.store, query, 3).await;
        let shown = hits
            .iter()
            .map(|hit| format!("{}/{}", hit.session, hit.entry.meta.id));
        shown.collect()
    }

    pub(super) async fn finds_words(&self, text: &str) -> Vec<String> {
        self.finds(&self.asking(text)).await
    }
}

/// Everything that is found, page by page of so many rows.
pub(crate) async fn listed(store: &dyn Store, query: &Query, rows: usize) -> Vec<Hit> {
    let (mut hits, mut after): (Vec<Hit>, Option<Place>) = (Vec::new(), None);
    for _ in 0..BATCHES_MAX {
        let bound = Bound { rows, ..ALL };
        let page = store
            .search(query, after, bound)
            .await
            .expect("it can be searched")
            .page;
        assert!(page.rows.len() <= rows);
        hits.extend(page.rows);
        match page.next {
            Some(next) => after = Some(next),
            None => return hits,
        }
    }
    panic!("there is no end of pages");
}

/// The session as one that is searched.
pub(super) fn within(session: &Session) -> Option<Within> {
    Some(Within {
        id: session.id.clone(),
        title: session.profile.title.clone(),
        tip: session.tip.clone(),
    })
}

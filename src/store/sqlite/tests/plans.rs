//! What lists cost: an index has the order, whatever the size of the table.

use super::*;
use crate::domain::Seq;
use crate::domain::query::{Order, Place, SessionKey};
use crate::store::sqlite::walk;

async fn plan(store: &Sqlite, query: query::Sessions, after: Option<SessionKey>) -> String {
    let explain = move |conn: &rusqlite::Connection| {
        let (sql, values) = walk::sessions_statement(conn, &query, after.as_ref())?;
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3));
        Ok(rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().join("\n"))
    };
    store.readers.read("explaining", explain).await.unwrap()
}

#[tokio::test]
async fn no_list_sorts_what_an_index_has_sorted() {
    let dir = dir();
    let store = open(dir.path());
    let keys = [
        None,
        Some(Place::Time(Time(5))),
        Some(Place::Title("t".to_owned())),
    ];
    for order in [
        Order::UpdateTimeDesc,
        Order::UpdateTimeAsc,
        Order::CreateTimeDesc,
        Order::CreateTimeAsc,
        Order::TitleAsc,
        Order::TitleDesc,
    ] {
        for states in [
            vec![State::Active],
            vec![State::Active, State::Archived, State::Deleted],
        ] {
            for workspace in [None, Some("/w".to_owned())] {
                for place in keys.clone() {
                    let by_title = matches!(order, Order::TitleAsc | Order::TitleDesc);
                    if place
                        .as_ref()
                        .is_some_and(|p| matches!(p, Place::Title(_)) != by_title)
                    {
                        continue;
                    }
                    let query = query::Sessions {
                        order,
                        states: states.clone(),
                        workspace: workspace.clone(),
                        updated_after: Some(Time(1)),
                        updated_before: Some(Time(9)),
                        ..all_sessions()
                    };
                    let after = place.map(|place| SessionKey { place, id: id("s") });
                    let plan = plan(&store, query, after).await;
                    assert!(
                        !plan.contains("TEMP B-TREE") && !plan.contains("SCAN sessions"),
                        "{plan}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_every_order() {
    let dir = dir();
    let store = open(dir.path());
    for n in 0..25 {
        created(&store, &format!("s{n}")).await;
        if n % 3 == 0 {
            said(&store, &format!("s{n}"), "m", "hello").await.unwrap();
        }
    }
    for order in [
        Order::UpdateTimeDesc,
        Order::UpdateTimeAsc,
        Order::CreateTimeDesc,
        Order::TitleAsc,
    ] {
        let query = query::Sessions {
            order,
            ..all_sessions()
        };
        let (mut seen, mut after) = (Vec::new(), None);
        for _ in 0..9 {
            let bound = Bound {
                rows: 3,
                bytes: 1 << 20,
            };
            let page = store.sessions(&query, after.as_ref(), bound).await.unwrap();
            seen.extend(page.rows.iter().map(|session| query.key(session)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert!(after.is_none());
        assert_eq!(seen.len(), 25);
        assert!(
            seen.is_sorted_by(|a, b| query.order.compare(a, b).is_lt()),
            "{order:?}"
        );
    }
    let few = query::Sessions {
        id_prefix: Some("s1".to_owned()),
        ..all_sessions()
    };
    assert_eq!(store.sessions(&few, None, PAGE).await.unwrap().rows.len(), 11);
    let none = Bound {
        rows: 1_000,
        bytes: 0,
    };
    assert_eq!(store.sessions(&few, None, none).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn a_range_beyond_the_end_is_empty() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    said(&store, "a", "m1", "one").await.unwrap();
    let session = session(&store, "a").await;
    let range = Range {
        after: Seq(1),
        to: Seq(u64::MAX),
        from: End::Newest,
    };
    assert!(
        store
            .entries(&session.tip.log, range, PAGE)
            .await
            .unwrap()
            .is_empty()
    );
    let range = Range {
        after: Seq(0),
        to: Seq(u64::MAX),
        from: End::Newest,
    };
    assert_eq!(
        store.entries(&session.tip.log, range, PAGE).await.unwrap().len(),
        1
    );
}

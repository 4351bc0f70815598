//! ListSessions: its filters and its orders.

use std::collections::BTreeMap;

use crate::support::build::{assistant, entries, user};
use crate::support::failure::invalid;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{ListSessionsRequest, Session, SessionState};
use crate::support::{Client, pb, shared};

pub(super) fn ids(sessions: &[Session]) -> Vec<&str> {
    sessions
        .iter()
        .map(|session| session.session_id.as_str())
        .collect()
}

async fn found(client: &Client, request: ListSessionsRequest) -> Vec<String> {
    let mut found: Vec<_> = client
        .listed(request)
        .await
        .into_iter()
        .map(|session| session.session_id)
        .collect();
    found.sort();
    found
}

pub(super) async fn make(client: &Client, id: &str, session: Session) -> Session {
    client
        .create(Session {
            session_id: id.into(),
            ..session
        })
        .await
}

/// Sessions that differ in everything that a filter looks at.
async fn zoo() -> Client {
    let client = shared().await;
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    make(
        &client,
        "ape",
        Session {
            title: "Äpe & co".into(),
            workspace: "/zoo".into(),
            ..Default::default()
        },
    )
    .await;
    let bee = Session {
        labels: labels(&[("legs", "6"), ("wings", "4")]),
        starred: true,
        ..Default::default()
    };
    make(&client, "bee", bee).await;
    let cat = Session {
        labels: labels(&[("legs", "4")]),
        workspace: "/den/".into(),
        ..Default::default()
    };
    make(&client, "cat", cat).await;
    make(
        &client,
        "cub",
        Session {
            parent_session_id: "cat".into(),
            ..Default::default()
        },
    )
    .await;
    client
        .append("cat", entries([user("meow"), assistant("yes"), user("mew")]))
        .await;
    client.append("bee", entries([assistant("bzz"), user(" ")])).await;
    let fork = pb::ForkSessionRequest {
        session_id: "cat".into(),
        point: Some(Point::UserMessageIndex(1)),
        new_session_id: Some("kit".into()),
        ..Default::default()
    };
    client.fork_session(fork).await.unwrap();
    make(&client, "old", Session::default()).await;
    let archived = Session {
        session_id: "old".into(),
        state: SessionState::Archived.into(),
        ..Default::default()
    };
    client.update_or(archived, &["state"]).await.unwrap();
    make(&client, "rip", Session::default()).await;
    client.delete("rip").await;
    client
}

#[tokio::test]
async fn every_filter_lets_through_what_it_names() {
    let client = zoo().await;
    let none = ListSessionsRequest::default;
    let text = |text: &str| Some(text.to_owned());
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let states = |states: &[SessionState]| states.iter().map(|state| i32::from(*state)).collect::<Vec<_>>();
    let time = client.session("cat").await.update_time;
    let cases: Vec<(&str, ListSessionsRequest, &[&str])> = vec![
        ("nothing", none(), &["ape", "bee", "cat", "cub", "kit"]),
        (
            "workspace",
            ListSessionsRequest {
                workspace: text("/zoo/x/.."),
                ..none()
            },
            &["ape"],
        ),
        (
            "no workspace",
            ListSessionsRequest {
                workspace: text(""),
                ..none()
            },
            &["bee", "cub"],
        ),
        (
            "inherited workspace",
            ListSessionsRequest {
                workspace: text("/den"),
                ..none()
            },
            &["cat", "kit"],
        ),
        (
            "label",
            ListSessionsRequest {
                labels: labels(&[("legs", "4")]),
                ..none()
            },
            &["cat", "kit"],
        ),
        (
            "labels",
            ListSessionsRequest {
                labels: labels(&[("legs", "6"), ("wings", "4")]),
                ..none()
            },
            &["bee"],
        ),
        (
            "no such label",
            ListSessionsRequest {
                labels: labels(&[("legs", "6"), ("wings", "2")]),
                ..none()
            },
            &[],
        ),
        (
            "title",
            ListSessionsRequest {
                title_contains: text("äPE &"),
                ..none()
            },
            &["ape"],
        ),
        (
            "title in the middle",
            ListSessionsRequest {
                title_contains: text("EO"),
                ..none()
            },
            &["cat", "kit"],
        ),
        (
            "title like a pattern",
            ListSessionsRequest {
                title_contains: text("%"),
                ..none()
            },
            &[],
        ),
        (
            "prefix",
            ListSessionsRequest {
                session_id_prefix: text("c"),
                ..none()
            },
            &["cat", "cub"],
        ),
        (
            "prefix like a pattern",
            ListSessionsRequest {
                session_id_prefix: text("_a"),
                ..none()
            },
            &[],
        ),
        (
            "archived",
            ListSessionsRequest {
                states: states(&[SessionState::Archived]),
                ..none()
            },
            &["old"],
        ),
        (
            "deleted",
            ListSessionsRequest {
                states: states(&[SessionState::Deleted]),
                ..none()
            },
            &["rip"],
        ),
        (
            "all states",
            ListSessionsRequest {
                states: states(&[
                    SessionState::Active,
                    SessionState::Archived,
                    SessionState::Deleted,
                ]),
                ..none()
            },
            &["ape", "bee", "cat", "cub", "kit", "old", "rip"],
        ),
        (
            "starred",
            ListSessionsRequest {
                starred: Some(true),
                ..none()
            },
            &["bee"],
        ),
        (
            "not starred",
            ListSessionsRequest {
                starred: Some(false),
                ..none()
            },
            &["ape", "cat", "cub", "kit"],
        ),
        (
            "talked",
            ListSessionsRequest {
                has_user_interaction: Some(true),
                ..none()
            },
            &["cat", "kit"],
        ),
        (
            "silent",
            ListSessionsRequest {
                has_user_interaction: Some(false),
                ..none()
            },
            &["ape", "bee", "cub"],
        ),
        (
            "forks",
            ListSessionsRequest {
                origin_session_id: text("cat"),
                ..none()
            },
            &["kit"],
        ),
        (
            "no forks",
            ListSessionsRequest {
                origin_session_id: text("kit"),
                ..none()
            },
            &[],
        ),
        (
            "sub-sessions",
            ListSessionsRequest {
                parent_session_id: text("cat"),
                ..none()
            },
            &["cub"],
        ),
        (
            "roots",
            ListSessionsRequest {
                parent_session_id: text(""),
                ..none()
            },
            &["ape", "bee", "cat", "kit"],
        ),
        (
            "after",
            ListSessionsRequest {
                updated_after: time,
                ..none()
            },
            &["bee", "kit"],
        ),
        (
            "before",
            ListSessionsRequest {
                updated_before: time,
                ..none()
            },
            &["ape", "cub"],
        ),
        (
            "between",
            ListSessionsRequest {
                updated_after: client.session("ape").await.update_time,
                updated_before: client.session("bee").await.update_time,
                ..none()
            },
            &["cat", "cub"],
        ),
        (
            "several",
            ListSessionsRequest {
                workspace: text("/den"),
                parent_session_id: text(""),
                starred: Some(false),
                ..none()
            },
            &["cat", "kit"],
        ),
    ];
    for (what, request, expected) in cases {
        let small = ListSessionsRequest {
            page_size: 1,
            ..request.clone()
        };
        assert_eq!(found(&client, request).await, expected, "{what}");
        assert_eq!(found(&client, small).await, expected, "{what}, one a page");
    }
}

#[tokio::test]
async fn a_filter_that_cannot_be_is_refused() {
    let client = shared().await;
    let unspecified = ListSessionsRequest {
        states: vec![0],
        ..Default::default()
    };
    invalid(client.list_sessions(unspecified).await, "states");
    let unknown = ListSessionsRequest {
        states: vec![99],
        ..Default::default()
    };
    invalid(client.list_sessions(unknown).await, "states");
    for order in [
        "size",
        "title asc desc",
        "title,create_time",
        "UPDATE_TIME",
        "title descending",
    ] {
        let request = ListSessionsRequest {
            order_by: Some(order.into()),
            ..Default::default()
        };
        invalid(client.list_sessions(request).await, "order_by");
    }
}

#[tokio::test]
async fn every_order_holds_in_both_directions_and_over_pages() {
    let client = shared().await;
    for (id, title) in [
        ("a", "delta"),
        ("b", "alpha"),
        ("c", "charlie"),
        ("d", "bravo"),
        ("e", "bravo"),
    ] {
        make(
            &client,
            id,
            Session {
                title: title.into(),
                ..Default::default()
            },
        )
        .await;
    }
    client.append("b", entries([user("x")])).await;
    client.append("a", entries([user("x")])).await;
    for (order, expected) in [
        (None, "a b e d c"),
        (Some(""), "a b e d c"),
        (Some("update_time desc"), "a b e d c"),
        (Some("update_time"), "c d e b a"),
        (Some("create_time desc"), "e d c b a"),
        (Some("create_time"), "a b c d e"),
        (Some("title"), "b d e c a"),
        (Some("title desc"), "a c e d b"),
    ] {
        let order_by = order.map(str::to_owned);
        for page_size in [0, 1, 2, 5] {
            let request = ListSessionsRequest {
                page_size,
                order_by: order_by.clone(),
                ..Default::default()
            };
            assert_eq!(
                ids(&client.listed(request).await).join(" "),
                expected,
                "{order:?}, {page_size} a page"
            );
        }
    }
}

//! ListSessions, page by page.

use std::collections::{BTreeMap, HashSet};

use futures_util::future::join_all;

use crate::support::build::{entries, user};
use crate::support::failure::invalid;
use crate::support::pb::{ListSessionsRequest, Session, SessionState, Thread};
use crate::support::{Code, pb, refused, shared};

use super::listing::{ids, make};

#[tokio::test]
async fn pages_are_as_large_as_asked_within_bounds() {
    let client = shared().await;
    join_all((0..501).map(|_| client.blank())).await;
    for (page_size, rows) in [
        (0, 50),
        (1, 1),
        (500, 500),
        (501, 500),
        (10_000, 500),
        (i32::MAX, 500),
    ] {
        let page = client
            .list_sessions(ListSessionsRequest {
                page_size,
                ..Default::default()
            })
            .await
            .unwrap();
        assert_eq!(page.sessions.len(), rows, "page_size {page_size}");
        assert!(!page.next_page_token.is_empty());
    }
    for page_size in [-1, i32::MIN] {
        let request = ListSessionsRequest {
            page_size,
            ..Default::default()
        };
        invalid(client.list_sessions(request).await, "page_size");
    }
    let all = client
        .listed(ListSessionsRequest {
            page_size: 77,
            ..Default::default()
        })
        .await;
    let unique: HashSet<_> = ids(&all).into_iter().collect();
    assert_eq!((all.len(), unique.len()), (501, 501));
}

#[tokio::test]
async fn what_comes_meanwhile_neither_doubles_nor_hides_the_rest() {
    let client = shared().await;
    for n in 0..9 {
        make(&client, &format!("s{n}"), Session::default()).await;
    }
    let order_by = Some("create_time".to_owned());
    let mut request = ListSessionsRequest {
        page_size: 2,
        order_by,
        ..Default::default()
    };
    let mut seen = Vec::new();
    for n in 0.. {
        let page = client.list_sessions(request.clone()).await.unwrap();
        seen.extend(page.sessions.into_iter().map(|session| session.session_id));
        if page.next_page_token.is_empty() {
            break;
        }
        client.delete(&format!("s{n}")).await;
        client.append("s8", entries([user("x")])).await;
        request.page_token = page.next_page_token;
    }
    assert_eq!(
        seen.join(" "),
        "s0 s1 s2 s3 s4 s5 s6 s7 s8",
        "each once, though the ones before were deleted"
    );
}

#[tokio::test]
async fn a_token_belongs_to_its_filters() {
    let client = shared().await;
    for _ in 0..3 {
        client
            .create(Session {
                workspace: "/w".into(),
                ..Default::default()
            })
            .await;
        client.open(Thread::default()).await;
    }
    let first = ListSessionsRequest {
        page_size: 1,
        workspace: Some("/w".into()),
        ..Default::default()
    };
    let page_token = client.list_sessions(first.clone()).await.unwrap().next_page_token;
    let next = ListSessionsRequest {
        page_token: page_token.clone(),
        ..first
    };
    let larger = ListSessionsRequest {
        page_size: 2,
        ..next.clone()
    };
    assert_eq!(
        client.list_sessions(larger).await.unwrap().sessions.len(),
        2,
        "the size may change"
    );
    for changed in [
        ListSessionsRequest {
            workspace: None,
            ..next.clone()
        },
        ListSessionsRequest {
            workspace: Some("/v".into()),
            ..next.clone()
        },
        ListSessionsRequest {
            starred: Some(false),
            ..next.clone()
        },
        ListSessionsRequest {
            order_by: Some("title".into()),
            ..next.clone()
        },
        ListSessionsRequest {
            states: vec![SessionState::Archived.into()],
            ..next.clone()
        },
        ListSessionsRequest {
            labels: BTreeMap::from([("a".into(), "b".into())]),
            ..next.clone()
        },
    ] {
        refused(
            client.list_sessions(changed).await,
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        );
    }
    let elsewhere = client.in_namespace("another");
    refused(
        elsewhere.list_sessions(next.clone()).await,
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
    );
    let threads = pb::ListThreadsRequest {
        page_token: page_token.clone(),
        ..Default::default()
    };
    refused(
        client.list_threads(threads).await,
        Code::InvalidArgument,
        "PAGE_TOKEN_INVALID",
    );

    let mut torn = page_token.clone();
    torn.pop();
    for garbage in [
        "garbage",
        "AAAA",
        "%%%",
        &torn,
        &format!("{page_token}A"),
        &"x".repeat(10_000),
    ] {
        let request = ListSessionsRequest {
            page_token: garbage.into(),
            ..next.clone()
        };
        refused(
            client.list_sessions(request).await,
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        );
    }
}

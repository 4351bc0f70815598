//! ListThreads: its filters, its order and its pages.

use crate::support::build::asks;
use crate::support::failure::invalid;
use crate::support::pb::{ListThreadsRequest, Thread, ThreadState};
use crate::support::{Client, Code, refused, shared};

use super::set_state;

async fn listed(client: &Client, mut request: ListThreadsRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = client.list_threads(request.clone()).await.unwrap();
        ids.extend(page.threads.into_iter().map(|thread| thread.thread_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

async fn make(client: &Client, id: &str) {
    client
        .open(Thread {
            thread_id: id.into(),
            ..Default::default()
        })
        .await;
}

#[tokio::test]
async fn the_one_updated_last_comes_first() {
    let client = shared().await;
    for id in ["a", "b", "c", "d"] {
        make(&client, id).await;
    }
    assert_eq!(
        listed(&client, ListThreadsRequest::default()).await,
        ["d", "c", "b", "a"]
    );
    client.turn("b", vec![asks("x")]).await;
    set_state(&client, "a", ThreadState::Closed).await;
    for page_size in [0, 1, 2, 4] {
        let request = ListThreadsRequest {
            page_size,
            ..Default::default()
        };
        assert_eq!(
            listed(&client, request).await,
            ["a", "b", "d", "c"],
            "{page_size} a page"
        );
    }
}

#[tokio::test]
async fn every_filter_lets_through_what_it_names() {
    let client = shared().await;
    for id in ["closed", "archived", "open"] {
        make(&client, id).await;
    }
    set_state(&client, "closed", ThreadState::Closed).await;
    set_state(&client, "archived", ThreadState::Archived).await;
    client.turn("open", vec![asks("x")]).await;
    let session = client.save("open").await.session.unwrap().session_id;
    let none = ListThreadsRequest::default;
    let states = |states: &[ThreadState]| states.iter().map(|state| i32::from(*state)).collect::<Vec<_>>();
    let text = |text: &str| Some(text.to_owned());
    for (request, expected) in [
        (none(), &["open", "archived", "closed"][..]),
        (
            ListThreadsRequest {
                states: states(&[ThreadState::Open]),
                ..none()
            },
            &["open"],
        ),
        (
            ListThreadsRequest {
                states: states(&[ThreadState::Closed, ThreadState::Archived]),
                ..none()
            },
            &["archived", "closed"],
        ),
        (
            ListThreadsRequest {
                session_id: text(&session),
                ..none()
            },
            &["open"],
        ),
        (
            ListThreadsRequest {
                session_id: text("another"),
                ..none()
            },
            &[],
        ),
        (
            ListThreadsRequest {
                engine_id: text(""),
                ..none()
            },
            &["open", "archived", "closed"],
        ),
        (
            ListThreadsRequest {
                engine_id: text("engine"),
                ..none()
            },
            &[],
        ),
    ] {
        assert_eq!(listed(&client, request.clone()).await, expected, "{request:?}");
    }
    invalid(
        client
            .list_threads(ListThreadsRequest {
                states: vec![0],
                ..none()
            })
            .await,
        "states",
    );
}

#[tokio::test]
async fn pages_follow_the_rules_of_all_pages() {
    let client = shared().await;
    futures_util::future::join_all((0..51).map(|_| client.open(Thread::default()))).await;
    let page = client.list_threads(ListThreadsRequest::default()).await.unwrap();
    assert_eq!(page.threads.len(), 50);
    invalid(
        client
            .list_threads(ListThreadsRequest {
                page_size: -1,
                ..Default::default()
            })
            .await,
        "page_size",
    );
    let next = ListThreadsRequest {
        page_token: page.next_page_token,
        ..Default::default()
    };
    assert_eq!(client.list_threads(next.clone()).await.unwrap().threads.len(), 1);
    for changed in [
        ListThreadsRequest {
            states: vec![1],
            ..next.clone()
        },
        ListThreadsRequest {
            session_id: Some("s".into()),
            ..next.clone()
        },
        ListThreadsRequest {
            engine_id: Some(String::new()),
            ..next
        },
        ListThreadsRequest {
            page_token: "garbage".into(),
            ..Default::default()
        },
    ] {
        refused(
            client.list_threads(changed).await,
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        );
    }
}

//! Items: added, replaced while they are open, and listed.

use crate::support::build::{answers, asks, at, block, calls, item, opaque, says, text, thinks};
use crate::support::failure::invalid;
use crate::support::pb::content_block::Block;
use crate::support::pb::{Item, ItemKind, ListItemsRequest, Thread, TurnStatus};
use crate::support::{Client, Code, pb, refused, shared};

fn under(id: &str, status: TurnStatus, item: Item) -> Item {
    Item {
        item_id: id.into(),
        status: status.into(),
        ..item
    }
}

fn seqs(items: &[Item]) -> Vec<u64> {
    items.iter().map(|item| item.seq).collect()
}

async fn open_turn(client: &Client) -> (String, String) {
    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    (thread, turn)
}

#[tokio::test]
async fn items_come_back_as_they_were_given() {
    let client = shared().await;
    let (thread, turn) = open_turn(&client).await;
    let kinds = [
        ItemKind::UserMessage,
        ItemKind::AgentMessage,
        ItemKind::AgentReasoning,
        ItemKind::ToolCall,
        ItemKind::ToolResult,
        ItemKind::FileChange,
        ItemKind::CommandExecution,
        ItemKind::ContextCompaction,
        ItemKind::Status,
        ItemKind::Error,
    ];
    let given: Vec<_> = kinds
        .into_iter()
        .zip(1..)
        .map(|(kind, n)| Item {
            item_id: format!("i{n}"),
            summary: " one line ".into(),
            metadata_json: "[1e400]".into(),
            create_time: Some(at(n)),
            end_time: Some(at(n + 1)),
            ..item(
                kind,
                vec![
                    text(" a "),
                    opaque("{"),
                    block(Block::Text(pb::TextBlock::default())),
                ],
            )
        })
        .collect();
    let appended = client.add(&thread, &turn, given.clone()).await;
    assert_eq!((appended.first_seq, appended.last_seq), (1, 10));
    let expected: Vec<_> = given
        .into_iter()
        .zip(1..)
        .map(|(item, seq)| Item {
            seq,
            turn_id: turn.clone(),
            ..item
        })
        .collect();
    assert_eq!(client.items(&thread).await, expected);
    let facts = client.thread(&thread).await;
    assert_eq!((facts.item_count, facts.head_seq), (10, 10));
}

#[tokio::test]
async fn what_is_missing_is_filled_in() {
    let client = shared().await;
    let (thread, turn) = open_turn(&client).await;
    let bare = Item {
        seq: 77,
        turn_id: "other".into(),
        ..item(ItemKind::Status, vec![])
    };
    let open = Item {
        status: TurnStatus::InProgress.into(),
        ..bare.clone()
    };
    client.add(&thread, &turn, vec![bare, open]).await;
    let read = client.items(&thread).await;
    assert_eq!(seqs(&read), [1, 2]);
    for item in &read {
        assert_eq!((item.item_id.len(), item.turn_id.as_str()), (36, turn.as_str()));
        assert!(item.create_time.is_some());
    }
    assert_eq!(
        (read[0].status(), read[0].end_time.is_some()),
        (TurnStatus::Completed, true)
    );
    assert_eq!(
        (read[1].status(), read[1].end_time),
        (TurnStatus::InProgress, None)
    );
}

#[tokio::test]
async fn an_open_item_is_replaced_under_its_seq() {
    let client = shared().await;
    let (thread, turn) = open_turn(&client).await;
    client
        .add(
            &thread,
            &turn,
            vec![asks("q"), under("a", TurnStatus::Queued, says("")), says("x")],
        )
        .await;
    let before = client.items(&thread).await;
    for (status, said) in [
        (TurnStatus::InProgress, "h"),
        (TurnStatus::InProgress, "hel"),
        (TurnStatus::Completed, "hello"),
    ] {
        let replaced = client
            .add(&thread, &turn, vec![under("a", status, says(said))])
            .await;
        assert_eq!((replaced.first_seq, replaced.last_seq), (2, 2));
        let now = client.items(&thread).await;
        assert_eq!((seqs(&now), now[1].status()), (vec![1, 2, 3], status));
        assert_eq!(now[1].content, [text(said)]);
        assert_eq!(now[1].create_time, before[1].create_time);
        assert_eq!((&now[0], &now[2]), (&before[0], &before[2]));
    }
    for status in [TurnStatus::Completed, TurnStatus::InProgress] {
        let again = client
            .add_or(
                &thread,
                &turn,
                vec![says("new"), under("a", status, says("other"))],
            )
            .await;
        let failure = refused(again, Code::FailedPrecondition, "ITEM_FINISHED");
        assert!(failure.names("a"), "{failure:?}");
    }
    assert_eq!(client.items(&thread).await.len(), 3, "all or nothing");
    client.finish(&thread, &turn).await;
}

#[tokio::test]
async fn an_item_may_be_replaced_within_one_call() {
    let client = shared().await;
    let (thread, turn) = open_turn(&client).await;
    let items = vec![
        under("a", TurnStatus::InProgress, says("1")),
        asks("between"),
        under("a", TurnStatus::Completed, says("2")),
    ];
    let appended = client.add(&thread, &turn, items).await;
    assert_eq!((appended.first_seq, appended.last_seq), (1, 2));
    let read = client.items(&thread).await;
    assert_eq!(
        (seqs(&read), read[0].content.clone()),
        (vec![1, 2], vec![text("2")])
    );
    let twice = vec![
        under("b", TurnStatus::Completed, says("1")),
        under("b", TurnStatus::Completed, says("2")),
    ];
    refused(
        client.add_or(&thread, &turn, twice).await,
        Code::FailedPrecondition,
        "ITEM_FINISHED",
    );
    client.finish(&thread, &turn).await;
}

#[tokio::test]
async fn an_item_id_is_unique_in_its_turn_only() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    for said in ["first", "second"] {
        client
            .turn(&thread, vec![under("same", TurnStatus::Completed, asks(said))])
            .await;
    }
    let read = client.items(&thread).await;
    assert_eq!(seqs(&read), [1, 2]);
    assert_eq!(read[0].item_id, read[1].item_id);
}

#[tokio::test]
async fn what_cannot_be_an_item_is_refused() {
    let client = shared().await;
    let (thread, turn) = open_turn(&client).await;
    for (field, bad) in [
        ("items[1].kind", Item { kind: 0, ..asks("a") }),
        (
            "items[1].kind",
            Item {
                kind: 99,
                ..asks("a")
            },
        ),
        (
            "items[1].status",
            Item {
                status: 0,
                ..asks("a")
            },
        ),
        (
            "items[1].status",
            Item {
                status: 99,
                ..asks("a")
            },
        ),
        (
            "items[1].metadata_json",
            Item {
                metadata_json: "{".into(),
                ..asks("a")
            },
        ),
    ] {
        invalid(
            client.add_or(&thread, &turn, vec![asks("good"), bad]).await,
            field,
        );
    }
    invalid(client.add_or(&thread, &turn, vec![]).await, "items");
    assert_eq!(client.items(&thread).await, []);
}

#[tokio::test]
async fn items_are_listed_by_turn_and_in_pages() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let mut turns = Vec::new();
    for n in 0..3 {
        let items = vec![
            asks("q"),
            thinks("hm"),
            calls("1", "{}"),
            answers("1", "r"),
            says(&n.to_string()),
        ];
        turns.push(client.turn(&thread, items).await);
    }
    let request = |after_seq, turn: Option<&String>, page_size| ListItemsRequest {
        thread_id: thread.clone(),
        turn_id: turn.cloned(),
        after_seq,
        page_size,
        ..Default::default()
    };
    for (asked, expected) in [
        (
            request(None, None, 6),
            vec![(1..=6).collect(), (7..=12).collect(), vec![13, 14, 15]],
        ),
        (request(None, None, 15), vec![(1..=15).collect::<Vec<u64>>()]),
        (request(Some(12), None, 2), vec![vec![13, 14], vec![15]]),
        (
            request(None, Some(&turns[1]), 3),
            vec![vec![6, 7, 8], vec![9, 10]],
        ),
        (request(Some(8), Some(&turns[1]), 0), vec![vec![9, 10]]),
        (request(Some(15), None, 0), vec![vec![]]),
        (request(Some(u64::MAX), None, 0), vec![vec![]]),
    ] {
        let mut next = asked.clone();
        let mut pages = Vec::new();
        loop {
            let page = client.list_items(next.clone()).await.unwrap();
            let of_items: std::collections::BTreeSet<_> =
                page.items.iter().map(|item| &item.turn_id).collect();
            let named: Vec<_> = page.turns.iter().map(|turn| &turn.turn_id).collect();
            assert!(of_items.iter().all(|turn| named.contains(turn)), "{page:?}");
            assert!(
                named.is_sorted_by_key(|turn| turns.iter().position(|known| known == *turn)),
                "{named:?}"
            );
            pages.push(seqs(&page.items));
            if page.next_page_token.is_empty() {
                break;
            }
            next.page_token = page.next_page_token;
        }
        assert_eq!(pages, expected, "{asked:?}");
    }
    let nowhere = "nowhere".to_owned();
    refused(
        client.list_items(request(None, Some(&nowhere), 0)).await,
        Code::NotFound,
        "TURN_NOT_FOUND",
    );
    invalid(client.list_items(request(None, None, -1)).await, "page_size");

    let first = request(None, None, 2);
    let page_token = client.list_items(first.clone()).await.unwrap().next_page_token;
    let next = ListItemsRequest { page_token, ..first };
    let other = client.open(Thread::default()).await;
    for changed in [
        ListItemsRequest {
            turn_id: Some(turns[0].clone()),
            ..next.clone()
        },
        ListItemsRequest {
            after_seq: Some(1),
            ..next.clone()
        },
        ListItemsRequest {
            thread_id: other,
            ..next.clone()
        },
        ListItemsRequest {
            page_token: "garbage".into(),
            ..next.clone()
        },
    ] {
        refused(
            client.list_items(changed).await,
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        );
    }
}

#[tokio::test]
async fn pages_of_items_are_bounded_in_rows_and_bytes() {
    let client = shared().await;
    let (thread, turn) = open_turn(&client).await;
    client
        .add(&thread, &turn, (0..501).map(|n| says(&n.to_string())).collect())
        .await;
    let request = |page_size| ListItemsRequest {
        thread_id: thread.clone(),
        page_size,
        ..Default::default()
    };
    for (page_size, rows) in [(0, 50), (500, 500), (10_000, 500)] {
        assert_eq!(
            client.list_items(request(page_size)).await.unwrap().items.len(),
            rows
        );
    }
    let mebibyte = "m".repeat((1 << 20) - 200);
    for _ in 0..3 {
        client
            .add(&thread, &turn, vec![says(&mebibyte), says(&mebibyte)])
            .await;
    }
    client
        .add(&thread, &turn, vec![says(&"o".repeat(3 << 20)), says("small")])
        .await;
    let mut request = ListItemsRequest {
        after_seq: Some(501),
        ..request(500)
    };
    let mut listed = Vec::new();
    loop {
        let page = client.list_items(request.clone()).await.unwrap();
        let bytes = prost::Message::encoded_len(&page);
        assert!(
            page.items.len() == 1 || bytes <= (2 << 20) + 1024,
            "{} items, {bytes} bytes",
            page.items.len()
        );
        listed.extend(seqs(&page.items));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, (502..=509).collect::<Vec<_>>());
}

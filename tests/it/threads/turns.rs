//! Turns: one at a time, ended once, and what their items have then.

use crate::support::build::{asks, says, usage};
use crate::support::failure::invalid;
use crate::support::pb::{
    FinishTurnRequest, Item, ListItemsRequest, StartTurnRequest, Thread, Turn, TurnStatus,
};
use crate::support::{Client, Code, Status, refused, shared};

const OPEN: [TurnStatus; 2] = [TurnStatus::Queued, TurnStatus::InProgress];
const ENDS: [TurnStatus; 4] = [
    TurnStatus::Completed,
    TurnStatus::Failed,
    TurnStatus::Interrupted,
    TurnStatus::Canceled,
];

fn in_state(status: TurnStatus, item: Item) -> Item {
    Item {
        status: status.into(),
        ..item
    }
}

async fn listed(client: &Client, thread: &str) -> (Vec<Item>, Vec<Turn>) {
    let request = ListItemsRequest {
        thread_id: thread.into(),
        page_size: 500,
        ..Default::default()
    };
    let page = client.list_items(request).await.unwrap();
    (page.items, page.turns)
}

async fn start_as(client: &Client, thread: &str, turn: &str) -> Result<Turn, Status> {
    let request = StartTurnRequest {
        thread_id: thread.into(),
        turn_id: Some(turn.into()),
        ..Default::default()
    };
    Ok(client.start_turn(request).await?.turn.unwrap())
}

#[tokio::test]
async fn a_thread_has_one_turn_at_a_time() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let turn = client.start_or(&thread).await.unwrap();
    assert_eq!(
        (turn.status(), turn.end_time, turn.usage),
        (TurnStatus::InProgress, None, None)
    );
    assert!(turn.start_time.is_some());
    let facts = client.thread(&thread).await;
    assert_eq!(
        (facts.active_turn_id.as_str(), facts.turn_count),
        (turn.turn_id.as_str(), 1)
    );

    let failure = refused(
        client.start_or(&thread).await,
        Code::FailedPrecondition,
        "TURN_IN_PROGRESS",
    );
    assert!(failure.names(&thread), "{failure:?}");
    client.finish(&thread, &turn.turn_id).await;
    let facts = client.thread(&thread).await;
    assert_eq!((facts.active_turn_id.as_str(), facts.turn_count), ("", 1));
    start_as(&client, &thread, "mine").await.unwrap();
    client.finish(&thread, "mine").await;
    refused(
        start_as(&client, &thread, "mine").await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    assert_eq!(client.thread(&thread).await.turn_count, 2);

    let other = client.open(Thread::default()).await;
    start_as(&client, &other, "mine").await.unwrap();
}

#[tokio::test]
async fn concurrent_starts_make_one_turn() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let started = futures_util::future::join_all((0..16).map(|_| client.start_or(&thread))).await;
    let (won, lost): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 15));
    for lost in lost {
        refused(lost, Code::FailedPrecondition, "TURN_IN_PROGRESS");
    }
    assert_eq!(client.thread(&thread).await.turn_count, 1);
}

#[tokio::test]
async fn a_finished_turn_says_how_it_ended() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    for status in ENDS {
        let turn_id = client.start(&thread).await;
        client.add(&thread, &turn_id, vec![asks("a")]).await;
        let request = FinishTurnRequest {
            thread_id: thread.clone(),
            turn_id: turn_id.clone(),
            status: status.into(),
            usage: Some(usage(2)),
            error: Some("why it ended".into()),
            ..Default::default()
        };
        let turn = client.finish_turn(request).await.unwrap().turn.unwrap();
        assert_eq!((turn.turn_id.as_str(), turn.status()), (turn_id.as_str(), status));
        assert_eq!(
            (turn.usage, turn.error.as_str()),
            (Some(usage(2)), "why it ended")
        );
        assert!(turn.end_time.is_some());
        assert_eq!(listed(&client, &thread).await.1.last(), Some(&turn));
    }
}

#[tokio::test]
async fn a_turn_ends_in_an_end_state() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    for status in [
        TurnStatus::Unspecified,
        TurnStatus::Queued,
        TurnStatus::InProgress,
    ] {
        invalid(client.finish_or(&thread, &turn, status).await, "status");
    }
    let unknown = FinishTurnRequest {
        thread_id: thread.clone(),
        turn_id: turn.clone(),
        status: 99,
        ..Default::default()
    };
    invalid(client.finish_turn(unknown).await, "status");
    client.finish(&thread, &turn).await;
}

#[tokio::test]
async fn an_ended_turn_takes_nothing_more() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    for status in ENDS {
        let turn = client.start(&thread).await;
        client.finish_or(&thread, &turn, status).await.unwrap();
        let failure = refused(
            client.finish_or(&thread, &turn, TurnStatus::Completed).await,
            Code::FailedPrecondition,
            "TURN_FINISHED",
        );
        assert!(failure.names(&turn), "{failure:?}");
        refused(
            client.add_or(&thread, &turn, vec![asks("a")]).await,
            Code::FailedPrecondition,
            "TURN_FINISHED",
        );
    }
    refused(
        client.add_or(&thread, "nowhere", vec![asks("a")]).await,
        Code::NotFound,
        "TURN_NOT_FOUND",
    );
    refused(
        client.finish_or(&thread, "nowhere", TurnStatus::Failed).await,
        Code::NotFound,
        "TURN_NOT_FOUND",
    );
    assert_eq!(client.items(&thread).await, []);
}

#[tokio::test]
async fn unfinished_items_end_with_their_turn() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    for end in ENDS {
        let turn = client.start(&thread).await;
        let mut items = OPEN.map(|status| in_state(status, says("open"))).to_vec();
        items.extend(ENDS.map(|status| in_state(status, says("ended"))));
        client.add(&thread, &turn, items).await;
        if end == TurnStatus::Completed {
            let refusal = client.finish_or(&thread, &turn, end).await;
            refused(refusal, Code::FailedPrecondition, "TURN_IN_PROGRESS");
            assert_eq!(client.thread(&thread).await.active_turn_id, turn);
            client
                .finish_or(&thread, &turn, TurnStatus::Canceled)
                .await
                .unwrap();
            continue;
        }
        let before = listed(&client, &thread).await.0;
        client.finish_or(&thread, &turn, end).await.unwrap();
        let after = listed(&client, &thread).await.0;
        let of_turn = |items: &[Item]| {
            items
                .iter()
                .filter(|item| item.turn_id == turn)
                .cloned()
                .collect::<Vec<_>>()
        };
        let (before, after) = (of_turn(&before), of_turn(&after));
        let statuses: Vec<_> = after.iter().map(Item::status).collect();
        assert_eq!(statuses, [&[end; 2][..], &ENDS].concat());
        assert!(after[..2].iter().all(|item| item.end_time.is_some()), "{after:?}");
        assert_eq!(after[2..], before[2..], "what had ended stays as it was");
    }
}

#[tokio::test]
async fn an_empty_turn_is_a_turn() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    client.finish(&thread, &turn).await;
    let request = ListItemsRequest {
        thread_id: thread.clone(),
        turn_id: Some(turn.clone()),
        ..Default::default()
    };
    let page = client.list_items(request).await.unwrap();
    assert_eq!((page.items.len(), page.turns.len()), (0, 1));
    assert_eq!(page.turns[0].turn_id, turn);
    assert_eq!(client.thread(&thread).await.turn_count, 1);
}

#[tokio::test]
async fn the_text_of_an_error_is_bounded() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let turn_id = client.start(&thread).await;
    let finish = |chars: usize| FinishTurnRequest {
        thread_id: thread.clone(),
        turn_id: turn_id.clone(),
        status: TurnStatus::Failed.into(),
        error: Some("é".repeat(chars)),
        ..Default::default()
    };
    refused(
        client.finish_turn(finish(4_097)).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
    let turn = client.finish_turn(finish(4_096)).await.unwrap().turn.unwrap();
    assert_eq!(turn.error.chars().count(), 4_096);
}

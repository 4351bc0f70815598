//! Which messages a thread's items become.

use crate::support::build::{answer, answers, asks, calls, item, opaque, said, says, talk, text, thinks};
use crate::support::pb::{Item, ItemKind, Message, Role, Thread, TurnStatus};
use crate::support::{Client, shared};

/// The messages of a thread with these turns.
async fn saved(client: &Client, turns: Vec<Vec<Item>>) -> Vec<Message> {
    let thread = client.open(Thread::default()).await;
    for items in turns {
        client.turn(&thread, items).await;
    }
    let session = client.save(&thread).await.session.unwrap();
    client.messages(&session.session_id).await
}

#[tokio::test]
async fn blocks_of_a_kind_share_a_message_until_the_other_kind_comes() {
    let client = shared().await;
    let found = saved(
        &client,
        vec![vec![
            asks("q"),
            thinks("hm"),
            says("let me look"),
            calls("1", "{}"),
            calls("2", "{}"),
            answers("1", "a"),
            answers("2", "b"),
            says("so"),
            calls("1", "{}"),
            answers("1", "c"),
        ]],
    )
    .await;
    let expected = [
        "user: q",
        "assistant: (hm) let me look call 1 call 2",
        "user: result 1 result 2",
        "assistant: so call 1",
        "user: result 1",
    ];
    assert_eq!(talk(&found), expected);
}

#[tokio::test]
async fn steered_turns_keep_every_message() {
    let client = shared().await;
    let found = saved(
        &client,
        vec![vec![
            asks("1"),
            asks("2"),
            says("3"),
            asks("4"),
            says("5"),
            says("6"),
            asks("7"),
        ]],
    );
    let expected = [
        "user: 1",
        "user: 2",
        "assistant: 3",
        "user: 4",
        "assistant: 5 6",
        "user: 7",
    ];
    assert_eq!(talk(&found.await), expected);
}

#[tokio::test]
async fn a_message_ends_with_its_turn() {
    let client = shared().await;
    let turns = vec![
        vec![says("leading")],
        vec![says("1"), calls("1", "{}")],
        vec![answers("1", "a")],
        vec![answers("2", "b"), says("2")],
    ];
    let found = saved(&client, turns).await;
    let expected = [
        "assistant: leading",
        "assistant: 1 call 1",
        "user: result 1",
        "user: result 2",
        "assistant: 2",
    ];
    assert_eq!(talk(&found), expected);
    let turns: std::collections::HashSet<_> = found.iter().map(|message| &message.turn_id).collect();
    assert_eq!(turns.len(), 4);
}

#[tokio::test]
async fn only_blank_text_and_thought_is_dropped_and_nothing_trimmed() {
    let client = shared().await;
    let found = saved(
        &client,
        vec![
            vec![
                asks("  question \n"),
                asks(" \t\n"),
                thinks(" "),
                says(""),
                says(" answer\n"),
                calls("1", ""),
            ],
            vec![
                answers("1", ""),
                item(ItemKind::ToolResult, vec![answer("2", "  ")]),
            ],
            vec![says("\u{a0}\u{3000}"), says("\n")],
        ],
    )
    .await;
    assert_eq!(
        talk(&found),
        [
            "user:   question \n",
            "assistant:  answer\n call 1",
            "user: result 1 result 2"
        ]
    );
    assert_eq!(
        found[2].content,
        [answer("1", ""), answer("2", "  ")],
        "tool results are kept even when blank"
    );
}

#[tokio::test]
async fn a_message_of_blanks_does_not_part_its_neighbours_wrongly() {
    let client = shared().await;
    let found = saved(
        &client,
        vec![vec![
            says("1"),
            says(" "),
            says("2"),
            answers("1", ""),
            says(""),
            answers("2", ""),
        ]],
    );
    let found = found.await;
    assert_eq!(found[0].content, [text("1"), text("2")]);
    assert_eq!(
        found.iter().map(Message::role).collect::<Vec<_>>()[0],
        Role::Assistant
    );
    assert!(
        found[1..].iter().all(|message| message.role() == Role::User),
        "{found:?}"
    );
    let results: Vec<_> = found[1..].iter().map(said).collect();
    assert_eq!(results.join(" "), "result 1 result 2");
}

#[tokio::test]
async fn an_item_without_content_counts_as_its_summary() {
    let client = shared().await;
    let brief = |kind, summary: &str| Item {
        summary: summary.into(),
        ..item(kind, vec![])
    };
    let found = saved(
        &client,
        vec![vec![
            brief(ItemKind::UserMessage, " asked "),
            brief(ItemKind::AgentMessage, "said"),
            brief(ItemKind::AgentMessage, " "),
            Item {
                summary: "not this".into(),
                ..says("but that")
            },
        ]],
    )
    .await;
    assert_eq!(
        found
            .iter()
            .map(|message| message.content.clone())
            .collect::<Vec<_>>(),
        [vec![text(" asked ")], vec![text("said"), text("but that")]]
    );
}

#[tokio::test]
async fn kinds_for_readers_alone_are_left_out_and_part_nothing() {
    let client = shared().await;
    let kinds = [
        ItemKind::FileChange,
        ItemKind::CommandExecution,
        ItemKind::ContextCompaction,
        ItemKind::Status,
        ItemKind::Error,
    ];
    let between = || kinds.map(|kind| item(kind, vec![text("not said")]));
    let mut items = vec![asks("q"), says("1")];
    items.extend(between());
    items.push(says("2"));
    items.extend([calls("1", "{}"), answers("1", "a")]);
    items.extend(between());
    items.push(answers("2", "b"));
    let found = saved(&client, vec![items]).await;
    assert_eq!(
        talk(&found),
        ["user: q", "assistant: 1 2 call 1", "user: result 1 result 2"]
    );
}

#[tokio::test]
async fn item_ids_that_repeat_in_two_turns_lose_nothing() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let turn = |said: &str| {
        vec![
            Item {
                item_id: "ask".into(),
                ..asks(said)
            },
            Item {
                item_id: "say".into(),
                ..says(said)
            },
        ]
    };
    client.turn(&thread, turn("1")).await;
    client.turn(&thread, turn("2")).await;
    let session = client.save(&thread).await.session.unwrap().session_id;
    client.turn(&thread, turn("3")).await;
    assert_eq!(client.save(&thread).await.message_count, 6);
    let found = client.messages(&session).await;
    let expected = [
        "user: 1",
        "assistant: 1",
        "user: 2",
        "assistant: 2",
        "user: 3",
        "assistant: 3",
    ];
    assert_eq!(talk(&found), expected);
    let ids: std::collections::HashSet<_> = found.iter().map(|message| &message.message_id).collect();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn what_failed_or_was_cut_off_is_saved_too() {
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    for (status, said) in [
        (TurnStatus::Failed, "a"),
        (TurnStatus::Interrupted, "b"),
        (TurnStatus::Canceled, "c"),
    ] {
        let turn = client.start(&thread).await;
        let open = Item {
            status: TurnStatus::InProgress.into(),
            ..says("half")
        };
        client.add(&thread, &turn, vec![asks(said), open]).await;
        client.finish_or(&thread, &turn, status).await.unwrap();
    }
    let session = client.save(&thread).await.session.unwrap().session_id;
    let expected = [
        "user: a",
        "assistant: half",
        "user: b",
        "assistant: half",
        "user: c",
        "assistant: half",
    ];
    assert_eq!(talk(&client.messages(&session).await), expected);
}

#[tokio::test]
async fn blocks_are_saved_as_they_came() {
    let client = shared().await;
    let mixed = vec![
        text(" "),
        opaque("{"),
        text("x"),
        crate::support::build::call("1", "1e400"),
    ];
    let found = saved(
        &client,
        vec![vec![
            item(ItemKind::AgentMessage, mixed.clone()),
            item(ItemKind::UserMessage, mixed.clone()),
        ]],
    );
    let found = found.await;
    assert_eq!(found[0].content, mixed[1..], "the blank text is dropped");
    assert_eq!(found[1].content, mixed[1..]);
}

#[tokio::test]
async fn a_message_never_outgrows_the_limit() {
    let client = shared().await;
    let large = "x".repeat(7 << 20);
    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    for _ in 0..3 {
        client.add(&thread, &turn, vec![says(&large)]).await;
    }
    client.finish(&thread, &turn).await;
    let saved = client.save(&thread).await;
    let session = saved.session.unwrap();
    let sizes = crate::support::raw::sizes(&client, &session.session_id).await;
    assert_eq!(sizes.len() as u64, saved.message_count);
    assert!(sizes.iter().all(|bytes| *bytes <= 16 << 20), "{sizes:?}");
    assert!(
        sizes.iter().sum::<usize>() >= 3 * large.len(),
        "nothing is lost: {sizes:?}"
    );
}

//! Threads that a session was resumed into without an engine: the session's messages are their first items.

use crate::support::build::{
    answer, asks, assistant, call, entry, event, message, named, says, system, user,
};
use crate::support::pb::{
    Entry, ItemKind, ListItemsRequest, ListItemsResponse, Message, ResumeState, Role, Session, TurnStatus,
    Usage,
};
use crate::support::{Client, Code, pb, refused, shared};

/// A question that took a tool to answer, and another one.
fn conversation() -> Vec<Entry> {
    let last = Message {
        usage: Some(Usage {
            output_tokens: 5,
            ..Default::default()
        }),
        ..assistant("It is 4.")
    };
    vec![
        entry(named("rules", system("Be brief."))),
        entry(named("ask", user("2 + 2?"))),
        event("{}"),
        entry(named("use", message(Role::Assistant, vec![call("c", "{}")]))),
        entry(named("got", message(Role::User, vec![answer("c", "4")]))),
        entry(named("answer", last)),
        entry(named("more", user("And 3 + 3?"))),
    ]
}

/// The session `s` with this conversation, and the thread that it was resumed into.
async fn seeded(client: &Client) -> String {
    let session = Session {
        session_id: "s".into(),
        workspace: "/maps".into(),
        ..Default::default()
    };
    client.create(session).await;
    client.append("s", conversation()).await;
    let progress = client.resume("s").await;
    assert_eq!(progress.state(), ResumeState::Ready);
    assert_eq!((progress.items_written, progress.items_total), (5, 5));
    progress.thread_id
}

async fn page(
    client: &Client,
    thread: &str,
    turn: Option<&str>,
    token: &str,
    size: i32,
) -> ListItemsResponse {
    let request = ListItemsRequest {
        thread_id: thread.into(),
        turn_id: turn.map(str::to_owned),
        page_size: size,
        page_token: token.into(),
        ..Default::default()
    };
    client.list_items(request).await.unwrap()
}

#[tokio::test]
async fn two_messages_are_one_turn_of_two_items() {
    let client = shared().await;
    let session = Session {
        session_id: "s".into(),
        workspace: "/maps".into(),
        ..Default::default()
    };
    client.create(session).await;
    client
        .append("s", vec![entry(user("a")), entry(assistant("b"))])
        .await;
    let progress = client.resume("s").await;
    assert_eq!((progress.items_written, progress.items_total), (2, 2));
    let thread = client.thread(&progress.thread_id).await;
    assert_eq!((thread.turn_count, thread.item_count, thread.head_seq), (1, 2, 2));
    assert_eq!(
        (thread.workspace.as_str(), thread.mode.as_str()),
        ("/maps", "agent")
    );
    assert_eq!(thread.session_id, "s");
    let again = client.resume("s").await;
    assert_eq!((again.state(), again.reused), (ResumeState::Ready, true));
    assert_eq!(again.thread_id, progress.thread_id);
}

#[tokio::test]
async fn items_are_the_sessions_messages() {
    let client = shared().await;
    let thread = seeded(&client).await;
    let whole = page(&client, &thread, None, "", 0).await;
    let found: Vec<_> = whole
        .items
        .iter()
        .map(|item| {
            (
                item.seq,
                item.item_id.as_str(),
                item.turn_id.as_str(),
                item.kind(),
            )
        })
        .collect();
    let expected = [
        (1, "ask", "ask", ItemKind::UserMessage),
        (2, "use", "ask", ItemKind::ToolCall),
        (3, "got", "ask", ItemKind::ToolResult),
        (4, "answer", "ask", ItemKind::AgentMessage),
        (5, "more", "more", ItemKind::UserMessage),
    ];
    assert_eq!(found, expected);
    let messages = client.messages("s").await;
    for (item, message) in whole.items.iter().zip(&messages) {
        assert_eq!(
            (&item.content, item.status()),
            (&message.content, TurnStatus::Completed)
        );
        assert_eq!(
            (item.create_time, item.end_time),
            (message.create_time, message.create_time)
        );
    }
    let [first, second] = &whole.turns[..] else {
        panic!("{:?}", whole.turns)
    };
    assert_eq!(
        (first.turn_id.as_str(), first.status()),
        ("ask", TurnStatus::Completed)
    );
    assert_eq!(
        (first.start_time, first.end_time),
        (messages[0].create_time, messages[3].create_time)
    );
    assert_eq!((first.usage, second.usage), (messages[3].usage, None));
    assert_eq!(client.thread(&thread).await.system_prompt, "Be brief.");
}

#[tokio::test]
async fn pages_go_from_the_session_to_what_the_thread_said_itself() {
    let client = shared().await;
    let thread = seeded(&client).await;
    let epoch = Some(client.thread(&thread).await.epoch);
    let start = pb::StartTurnRequest {
        thread_id: thread.clone(),
        turn_id: Some("own".into()),
        epoch,
        ..Default::default()
    };
    client.start_turn(start).await.unwrap();
    let added = pb::AppendItemsRequest {
        thread_id: thread.clone(),
        turn_id: "own".into(),
        items: vec![asks("and?"), says("6")],
        epoch,
        ..Default::default()
    };
    let added = client.append_items(added).await.unwrap();
    assert_eq!((added.first_seq, added.last_seq), (6, 7));
    let whole = client.items(&thread).await;
    for size in 1..8 {
        for turn in [None, Some("ask"), Some("more"), Some("own")] {
            let (mut items, mut token) = (Vec::new(), String::new());
            loop {
                let found = page(&client, &thread, turn, &token, size).await;
                assert!(found.items.len() <= 7);
                items.extend(found.items);
                token = found.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            let of_turn = whole
                .iter()
                .filter(|item| turn.is_none_or(|turn| item.turn_id == turn));
            assert_eq!(items, of_turn.cloned().collect::<Vec<_>>(), "{turn:?} by {size}");
        }
    }
    let request = ListItemsRequest {
        thread_id: thread,
        turn_id: Some("use".into()),
        ..Default::default()
    };
    refused(client.list_items(request).await, Code::NotFound, "TURN_NOT_FOUND");
}

#[tokio::test]
async fn a_save_to_a_new_session_gives_the_same_messages() {
    let client = shared().await;
    let thread = seeded(&client).await;
    let request = pb::SaveSessionRequest {
        thread_id: thread.clone(),
        session_id: Some("copy".into()),
        ..Default::default()
    };
    let saved = client.save_session(request).await.unwrap();
    assert_eq!((saved.created, saved.message_count), (true, 5));
    assert_eq!(client.messages("copy").await, client.messages("s").await);
}

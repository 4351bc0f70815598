//! The five kinds of fork point, and every way in which each can be wrong.

use crate::support::build::{
    answer, assistant, by, call, entries, entry, event, message, named, said, system, text, user,
};
use crate::support::failure::invalid;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{Entry, ForkSessionRequest, Role, Session};
use crate::support::{Client, Code, refused, shared};

const NOT_USER: (Code, &str) = (Code::InvalidArgument, "FORK_POINT_NOT_USER_MESSAGE");
const NOT_ASSISTANT: (Code, &str) = (Code::InvalidArgument, "FORK_POINT_NOT_ASSISTANT_MESSAGE");
const OPEN_CALL: (Code, &str) = (Code::InvalidArgument, "FORK_POINT_OPEN_TOOL_CALL");
const IN_SUB: (Code, &str) = (Code::InvalidArgument, "FORK_POINT_IN_SUB_SESSION");
const OUT_OF_RANGE: (Code, &str) = (Code::OutOfRange, "FORK_POINT_OUT_OF_RANGE");
const NO_MESSAGE: (Code, &str) = (Code::NotFound, "MESSAGE_NOT_FOUND");

/// Forks at a point: how many messages are left and which is cut, or the refusal.
async fn cut(client: &Client, id: &str, point: Point) -> Result<(u64, Option<String>), (Code, String)> {
    match client.fork_or(id, point).await {
        Ok(forked) => Ok((
            forked.session.unwrap().message_count,
            forked.removed_message.as_ref().map(said),
        )),
        Err(status) => Err((status.code(), crate::support::Failure::of(&status).reason)),
    }
}

fn left(messages: u64, removed: &str) -> Result<(u64, Option<String>), (Code, String)> {
    Ok((messages, Some(removed.into())))
}

fn wrong((code, reason): (Code, &str)) -> Result<(u64, Option<String>), (Code, String)> {
    Err((code, reason.into()))
}

fn id_of(point: fn(String) -> Point, id: &str) -> Point {
    point(id.to_owned())
}

#[tokio::test]
async fn indexes_count_visible_and_user_messages() {
    let client = shared().await;
    let tool = message(Role::Tool, vec![answer("1", "r")]);
    let called = message(Role::Assistant, vec![call("1", "{}")]);
    let id = client
        .holding([user("0"), called, tool, user("3"), assistant("4"), user("5")])
        .await;
    for (point, expected) in [
        (Point::MessageIndex(0), left(0, "0")),
        (Point::MessageIndex(3), left(3, "3")),
        (Point::MessageIndex(5), left(5, "5")),
        (Point::UserMessageIndex(0), left(0, "0")),
        (Point::UserMessageIndex(1), left(3, "3")),
        (Point::UserMessageIndex(2), left(5, "5")),
        (Point::TurnsFromEnd(0), left(5, "5")),
        (Point::TurnsFromEnd(1), left(3, "3")),
        (Point::TurnsFromEnd(2), left(0, "0")),
        (Point::MessageIndex(1), wrong(NOT_USER)),
        (Point::MessageIndex(2), wrong(NOT_USER)),
        (Point::MessageIndex(4), wrong(NOT_USER)),
        (Point::MessageIndex(-1), wrong(OUT_OF_RANGE)),
        (Point::MessageIndex(6), wrong(OUT_OF_RANGE)),
        (Point::MessageIndex(99), wrong(OUT_OF_RANGE)),
        (Point::MessageIndex(i64::MIN), wrong(OUT_OF_RANGE)),
        (Point::MessageIndex(i64::MAX), wrong(OUT_OF_RANGE)),
        (Point::UserMessageIndex(-1), wrong(OUT_OF_RANGE)),
        (Point::UserMessageIndex(3), wrong(OUT_OF_RANGE)),
        (Point::UserMessageIndex(99), wrong(OUT_OF_RANGE)),
        (Point::TurnsFromEnd(-1), wrong(OUT_OF_RANGE)),
        (Point::TurnsFromEnd(3), wrong(OUT_OF_RANGE)),
        (Point::TurnsFromEnd(i64::MAX), wrong(OUT_OF_RANGE)),
    ] {
        assert_eq!(cut(&client, &id, point.clone()).await, expected, "{point:?}");
    }
}

#[tokio::test]
async fn a_message_of_tool_results_alone_is_not_a_user_message() {
    let client = shared().await;
    let results = message(Role::User, vec![answer("1", "a"), answer("2", "b")]);
    let spoken = message(Role::User, vec![answer("1", "a"), text("and go on")]);
    let id = client
        .holding([
            named("r", results),
            named("s", spoken),
            named("e", message(Role::User, vec![])),
        ])
        .await;
    assert_eq!(cut(&client, &id, Point::MessageIndex(0)).await, wrong(NOT_USER));
    assert_eq!(
        cut(&client, &id, Point::UserMessageIndex(0)).await,
        left(1, "result 1 and go on")
    );
    assert_eq!(
        cut(&client, &id, Point::UserMessageIndex(1)).await,
        wrong(OUT_OF_RANGE)
    );
    assert_eq!(
        cut(&client, &id, id_of(Point::BeforeMessageId, "r")).await,
        wrong(NOT_USER)
    );
    assert_eq!(
        cut(&client, &id, id_of(Point::BeforeMessageId, "e")).await,
        wrong(NOT_USER),
        "no block at all"
    );
}

#[tokio::test]
async fn a_message_is_named_by_its_id() {
    let client = shared().await;
    let id = client
        .holding([
            named("q", user("0")),
            named("a", assistant("1")),
            named("s", system("2")),
        ])
        .await;
    let log = vec![
        Entry {
            entry_id: "e".into(),
            ..event("{}")
        },
        entry(named("z", user("3"))),
    ];
    client.append(&id, log).await;
    for (name, expected) in [
        ("q", left(0, "0")),
        ("z", left(2, "3")),
        (" z ", left(2, "3")),
        ("a", wrong(NOT_USER)),
        ("s", wrong(NOT_USER)),
        ("e", wrong(NO_MESSAGE)),
        ("nobody", wrong(NO_MESSAGE)),
    ] {
        assert_eq!(
            cut(&client, &id, id_of(Point::BeforeMessageId, name)).await,
            expected,
            "{name}"
        );
    }
    for (name, expected) in [
        ("a", Ok((2, None))),
        ("q", wrong(NOT_ASSISTANT)),
        ("s", wrong(NOT_ASSISTANT)),
        ("e", wrong(NO_MESSAGE)),
        ("nobody", wrong(NO_MESSAGE)),
    ] {
        assert_eq!(
            cut(&client, &id, id_of(Point::ThroughMessageId, name)).await,
            expected,
            "{name}"
        );
    }
    for point in [Point::BeforeMessageId, Point::ThroughMessageId] {
        let bad = client.fork_or(&id, point("no id".into())).await;
        assert!([Code::InvalidArgument, Code::NotFound].contains(&bad.unwrap_err().code()));
    }
}

#[tokio::test]
async fn a_kept_message_leaves_no_call_unanswered() {
    let client = shared().await;
    let calls = |ids: &[&str]| message(Role::Assistant, ids.iter().map(|id| call(id, "{}")).collect());
    let results = |ids: &[&str]| message(Role::User, ids.iter().map(|id| answer(id, "")).collect());
    let id = client
        .holding([
            user("q"),
            named("two", calls(&["1", "2"])),
            results(&["1"]),
            named("half", assistant("wait")),
            results(&["2"]),
            named("done", assistant("done")),
            named("again", calls(&["1"])),
        ])
        .await;
    for (name, expected) in [
        ("two", wrong(OPEN_CALL)),
        ("half", wrong(OPEN_CALL)),
        ("done", Ok((6, None))),
        ("again", wrong(OPEN_CALL)),
    ] {
        assert_eq!(
            cut(&client, &id, id_of(Point::ThroughMessageId, name)).await,
            expected,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_sub_agents_part_is_not_cut() {
    let client = shared().await;
    let id = client
        .holding([
            user("0"),
            named("sub-q", by("reviewer", user("1"))),
            named("sub-a", by("reviewer", assistant("2"))),
            assistant("3"),
            user("4"),
            by("reviewer/2", user("5")),
        ])
        .await;
    for (point, expected) in [
        (Point::MessageIndex(1), wrong(IN_SUB)),
        (Point::MessageIndex(2), wrong(IN_SUB)),
        (Point::MessageIndex(4), left(4, "4")),
        (Point::UserMessageIndex(1), wrong(IN_SUB)),
        (Point::UserMessageIndex(2), left(4, "4")),
        (Point::UserMessageIndex(3), wrong(IN_SUB)),
        (Point::TurnsFromEnd(0), left(4, "4")),
        (Point::TurnsFromEnd(1), left(0, "0")),
        (Point::TurnsFromEnd(2), wrong(OUT_OF_RANGE)),
        (id_of(Point::BeforeMessageId, "sub-q"), wrong(IN_SUB)),
        (id_of(Point::ThroughMessageId, "sub-a"), wrong(IN_SUB)),
    ] {
        assert_eq!(cut(&client, &id, point.clone()).await, expected, "{point:?}");
    }
}

#[tokio::test]
async fn no_point_is_no_fork() {
    let client = shared().await;
    let id = client.holding([user("a")]).await;
    let request = ForkSessionRequest {
        session_id: id,
        ..Default::default()
    };
    invalid(client.fork_session(request).await, "point");
    assert_eq!(client.listed(Default::default()).await.len(), 1);
}

#[tokio::test]
async fn an_empty_session_has_no_point() {
    let client = shared().await;
    let id = client.create(Session::default()).await.session_id;
    for point in [
        Point::MessageIndex(0),
        Point::UserMessageIndex(0),
        Point::TurnsFromEnd(0),
    ] {
        assert_eq!(cut(&client, &id, point).await, wrong(OUT_OF_RANGE));
    }
    let failure = refused(
        client.fork_or("nobody", Point::MessageIndex(0)).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    assert!(failure.names("nobody"), "{failure:?}");
}

#[tokio::test]
async fn points_count_over_what_was_inherited() {
    let client = shared().await;
    let id = client
        .holding([user("0"), assistant("1"), user("2"), assistant("3"), user("4")])
        .await;
    let fork = client
        .fork(&id, Point::UserMessageIndex(2))
        .await
        .session
        .unwrap()
        .session_id;
    client
        .append(
            &fork,
            entries([named("own", user("own")), assistant("5"), user("6")]),
        )
        .await;
    for (point, expected) in [
        (Point::MessageIndex(2), left(2, "2")),
        (Point::MessageIndex(4), left(4, "own")),
        (Point::UserMessageIndex(3), left(6, "6")),
        (Point::TurnsFromEnd(2), left(2, "2")),
        (id_of(Point::BeforeMessageId, "own"), left(4, "own")),
    ] {
        assert_eq!(cut(&client, &fork, point.clone()).await, expected, "{point:?}");
    }
}

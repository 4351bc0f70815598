//! Resumes: where a session goes, what it costs the session, and what is said of it.

mod operations;
mod seeding;
mod trouble;

use futures_util::future::join_all;

use crate::support::build::{
    answer, asks, assistant, call, entries, entry, event, message, named, said, says, system, user,
};
use crate::support::engine::{hello, holds};
use crate::support::pb::{
    EngineSnapshot, Hello, Message, ResumeRequest, ResumeState, Role, Session, StartTurnRequest, Thread,
};
use crate::support::resume::{of_session, on_engine};
use crate::support::{Client, Code, Wire, refused, shared};

/// A conversation of so many messages, each with an id.
fn chat(count: usize) -> Vec<Message> {
    let one = |n: usize| {
        let message = if n.is_multiple_of(2) {
            user(&format!("says {n}"))
        } else {
            assistant(&format!("says {n}"))
        };
        named(&format!("m{n}"), message)
    };
    (0..count).map(one).collect()
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(said).collect()
}

/// A session with so many messages.
async fn stored(client: &Client, count: usize) -> String {
    client.holding(chat(count)).await
}

#[tokio::test]
async fn without_an_engine_the_thread_is_the_services_own() {
    let client = shared().await;
    let session = Session {
        workspace: "/w".into(),
        model: "m".into(),
        ..Default::default()
    };
    let session = client.create(session).await.session_id;
    client.append(&session, entries(chat(2))).await;
    let seen = client.resumed(of_session(&session)).await;
    assert!(
        seen.iter()
            .all(|progress| progress.items_total == 2 || progress.state() == ResumeState::Queued)
    );
    let end = seen.last().unwrap();
    assert_eq!(
        (end.state(), end.items_written, end.items_total, end.reused),
        (ResumeState::Ready, 2, 2, false)
    );
    let thread = client.thread(&end.thread_id).await;
    assert_eq!((thread.turn_count, thread.item_count), (1, 2));
    assert_eq!(
        (
            thread.workspace.as_str(),
            thread.model.as_str(),
            thread.mode.as_str()
        ),
        ("/w", "m", "agent")
    );
    assert_eq!(
        (thread.session_id.as_str(), thread.engine_id.as_str()),
        (session.as_str(), "")
    );
    assert_eq!(client.session(&session).await.thread_id, end.thread_id);

    let again = client.resumed(of_session(&session)).await;
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].state(), again[0].reused), (ResumeState::Ready, true));
    assert_eq!(again[0].thread_id, end.thread_id);
    assert_eq!(client.all_threads().await.len(), 1);
}

#[tokio::test]
async fn a_session_that_is_not_there_is_refused() {
    let client = shared().await;
    let unknown = client.resume_stream(of_session("none")).await;
    refused(unknown, Code::NotFound, "SESSION_NOT_FOUND");
    let session = stored(&client, 2).await;
    client.delete(&session).await;
    let deleted = client.resume_stream(of_session(&session)).await;
    refused(deleted, Code::FailedPrecondition, "SESSION_DELETED");
    assert!(client.resumes_of(&session).await.is_empty());
}

#[tokio::test]
async fn resumes_at_once_are_one() {
    let client = shared().await;
    let session = stored(&client, 300).await;
    let all = join_all((0..16).map(|_| client.resumed(of_session(&session)))).await;
    let threads: std::collections::HashSet<_> = all
        .iter()
        .flatten()
        .map(|progress| progress.thread_id.as_str())
        .collect();
    assert_eq!(threads.len(), 1, "{threads:?}");
    assert!(
        all.iter()
            .all(|seen| seen.last().unwrap().state() == ResumeState::Ready)
    );
    assert_eq!(client.all_threads().await.len(), 1);
    let seeded = client.resumes_of(&session).await;
    assert_eq!(seeded.iter().filter(|resume| !resume.reused).count(), 1);
}

#[tokio::test]
async fn resumes_of_a_session_that_is_being_seeded_join_in() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 2).await;
    let first = client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    let other = ResumeRequest {
        model: Some("ignored".into()),
        ..of_session(&session)
    };
    let joined = client.resuming(other).await;
    assert_eq!(joined.resume_id, first.resume_id);
    engine.batch().await;
    engine.acks(&begin.seed_id, 2).await;
    engine.committed().await;
    assert_eq!(client.end_of(&first.resume_id).await.state(), ResumeState::Ready);
    assert_eq!(client.resumes_of(&session).await.len(), 1);
    assert_eq!(client.thread(&first.thread_id).await.model, "");
}

#[tokio::test]
async fn a_request_id_names_the_operation() {
    let client = shared().await;
    let session = stored(&client, 2).await;
    let named = ResumeRequest {
        request_id: "once".into(),
        ..of_session(&session)
    };
    let first = client.resumed(named.clone()).await;
    let again = client.resumed(named.clone()).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again.last(), first.last());
    let other = ResumeRequest {
        model: Some("m".into()),
        ..named
    };
    let reused = client.resume_stream(other).await;
    refused(reused, Code::InvalidArgument, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn where_no_engine_can_be_had_no_operation_is_made() {
    let client = shared().await;
    let session = stored(&client, 2).await;
    let refusing = Hello {
        accepts_resume: false,
        ..hello("refusing")
    };
    let _refusing = Wire::greet(&client, refusing).await.unwrap();
    for request in [
        on_engine(&session, "none"),
        on_engine(&session, "refusing"),
        ResumeRequest {
            require_engine: true,
            ..of_session(&session)
        },
        ResumeRequest {
            engine_labels: [("a".into(), "b".into())].into(),
            ..of_session(&session)
        },
    ] {
        let refusal = client.resume_stream(request).await;
        refused(refusal, Code::FailedPrecondition, "NO_ENGINE");
    }
    assert!(client.resumes_of(&session).await.is_empty());
    assert!(client.all_threads().await.is_empty());
}

#[tokio::test]
async fn an_engine_is_found_by_labels_and_load() {
    let client = shared().await;
    let labelled = |id: &str, n: &str| Hello {
        labels: [("n".into(), n.into()), ("all".into(), "yes".into())].into(),
        ..hello(id)
    };
    let mut one = Wire::greet(&client, labelled("one", "1")).await.unwrap();
    let mut two = Wire::greet(&client, labelled("two", "2")).await.unwrap();
    let by = |session: &str, labels: &[(&str, &str)]| ResumeRequest {
        engine_labels: labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        ..of_session(session)
    };
    let first = stored(&client, 2).await;
    let started = client.resuming(by(&first, &[("n", "2"), ("all", "yes")])).await;
    let begin = two.begun().await;
    assert_eq!(begin.items_total, 2);
    // The other one has less to do.
    let second = stored(&client, 2).await;
    client.resuming(by(&second, &[("all", "yes")])).await;
    one.takes_over().await;
    two.batch().await;
    two.acks(&begin.seed_id, 2).await;
    two.committed().await;
    assert_eq!(client.end_of(&started.resume_id).await.engine_id, "two");
    let none = client.resume_stream(by(&second, &[("n", "3")])).await;
    refused(none, Code::FailedPrecondition, "NO_ENGINE");
}

#[tokio::test]
async fn a_thread_is_reused_while_a_matching_engine_holds_it() {
    let client = shared().await;
    let mut one = Wire::attach(&client, "one").await;
    let session = stored(&client, 2).await;
    client.resuming(on_engine(&session, "one")).await;
    let (thread, _) = one.takes_over().await;
    let again = client.resumed(on_engine(&session, "one")).await;
    assert!(again[0].reused && again[0].thread_id == thread.thread_id);
    assert_eq!(again[0].engine_id, "one");

    // On another one it is seeded again: the same thread under a new epoch.
    let mut two = Wire::attach(&client, "two").await;
    client.resuming(on_engine(&session, "two")).await;
    let (moved, _) = two.takes_over().await;
    assert_eq!(moved.thread_id, thread.thread_id);
    let held = client.thread(&thread.thread_id).await;
    assert_eq!((held.engine_id.as_str(), held.epoch), ("two", two.epoch));
    let stale = StartTurnRequest {
        thread_id: thread.thread_id.clone(),
        epoch: Some(one.epoch),
        ..Default::default()
    };
    refused(client.start_turn(stale).await, Code::Aborted, "STALE_EPOCH");

    // Its engine is gone: nobody holds it, and it is seeded once more.
    two.leaves().await;
    client.without("two").await;
    client.resuming(of_session(&session)).await;
    let (back, _) = one.takes_over().await;
    assert_eq!(back.thread_id, thread.thread_id);
}

#[tokio::test]
async fn a_thread_that_lacks_the_newest_message_is_seeded_again() {
    let client = shared().await;
    let session = stored(&client, 2).await;
    let first = client.resumed(of_session(&session)).await.pop().unwrap();
    let epoch = client.thread(&first.thread_id).await.epoch;
    client.append(&session, vec![event("{}")]).await;
    let again = client.resumed(of_session(&session)).await.pop().unwrap();
    assert!(again.reused, "an event is no message");
    client.append(&session, vec![entry(user("more"))]).await;
    let again = client.resumed(of_session(&session)).await.pop().unwrap();
    assert_eq!((again.reused, &again.thread_id), (false, &first.thread_id));
    let thread = client.thread(&first.thread_id).await;
    assert_eq!(thread.item_count, 3);
    assert!(thread.epoch > epoch);
}

#[tokio::test]
async fn a_thread_with_turns_of_its_own_is_left_alone() {
    let client = shared().await;
    let session = stored(&client, 2).await;
    let first = client.resumed(of_session(&session)).await.pop().unwrap();
    client.turn(&first.thread_id, vec![asks("unsaved")]).await;
    client.append(&session, vec![entry(user("more"))]).await;
    let second = client.resumed(of_session(&session)).await.pop().unwrap();
    assert_ne!(second.thread_id, first.thread_id);
    assert_eq!((second.state(), second.items_total), (ResumeState::Ready, 3));
    let items = client.items(&first.thread_id).await;
    assert_eq!(items.len(), 3, "what it has stays");
    assert_eq!(client.session(&session).await.thread_id, second.thread_id);
}

#[tokio::test]
async fn a_save_of_a_resumed_thread_adds_only_what_is_new() {
    let client = shared().await;
    let session = stored(&client, 4).await;
    let thread = client
        .resumed(of_session(&session))
        .await
        .pop()
        .unwrap()
        .thread_id;
    let before = client.entries(&session).await;
    let saved = client.save(&thread).await;
    assert_eq!((saved.created, saved.message_count), (false, 4));
    client.turn(&thread, vec![asks("new"), says("newer")]).await;
    let saved = client.save(&thread).await;
    assert_eq!(saved.session.unwrap().session_id, session);
    let after = client.entries(&session).await;
    assert_eq!((&after[..4], after.len()), (&before[..], 6));
}

#[tokio::test]
async fn a_snapshot_of_a_resumed_thread_adds_only_what_is_new() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 4).await;
    client.resuming(on_engine(&session, "one")).await;
    let (thread, messages) = engine.takes_over().await;
    assert_eq!(texts(&messages), texts(&chat(4)));
    let rest = EngineSnapshot {
        delta: true,
        ..holds([named("new", user("new"))])
    };
    let taken = client.snapshot(&mut engine, &thread.thread_id, rest).await;
    assert_eq!((taken.created, taken.message_count), (false, 5));
    assert_eq!(taken.session.unwrap().session_id, session);
}

#[tokio::test]
async fn the_thread_is_what_request_and_session_say() {
    let client = shared().await;
    let session = Session {
        provider: "p".into(),
        endpoint: "e".into(),
        workspace: "/w".into(),
        model: "m".into(),
        mode: "plan".into(),
        task_type: "t".into(),
        ..Default::default()
    };
    let session = client.create(session).await.session_id;
    client
        .append(&session, entries([system("be brief"), user("1")]))
        .await;
    let request = ResumeRequest {
        model: Some("other".into()),
        ..of_session(&session)
    };
    let thread = client.resumed(request).await.pop().unwrap().thread_id;
    let thread = client.thread(&thread).await;
    let facts = |t: &Thread| {
        [
            &t.provider,
            &t.endpoint,
            &t.workspace,
            &t.model,
            &t.mode,
            &t.task_type,
        ]
        .map(String::clone)
    };
    assert_eq!(
        facts(&thread),
        ["p", "e", "/w", "other", "plan", "t"].map(str::to_owned)
    );
    assert_eq!(
        (thread.system_prompt.as_str(), thread.item_count),
        ("be brief", 1)
    );
}

#[tokio::test]
async fn a_tool_call_without_a_result_is_given_one() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let answered = message(Role::User, vec![answer("a", "4")]);
    let open = message(Role::Assistant, vec![call("b", "{}"), call("c", "{}")]);
    let first = message(Role::Assistant, vec![call("a", "{}")]);
    let session = client.holding([user("1"), first, answered, open]).await;
    client.resuming(on_engine(&session, "one")).await;
    let (_, messages) = engine.takes_over().await;
    assert_eq!(messages.len(), 5);
    use crate::support::pb::content_block::Block;
    let given: Vec<_> = messages[4]
        .content
        .iter()
        .map(|block| match &block.block {
            Some(Block::ToolResult(result)) => (
                result.tool_use_id.as_str(),
                result.is_error,
                texts(&[message(Role::User, result.content.clone())]),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let interrupted = vec!["interrupted".to_owned()];
    assert_eq!(
        given,
        [("b", true, interrupted.clone()), ("c", true, interrupted)]
    );
    assert_eq!(client.messages(&session).await.len(), 4, "reads never repair");
}

//! The handlers over the memory store, without a wire.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use prost::Message as _;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;
use tower::{Layer as _, ServiceExt as _};

use super::auth::Anyone;
use super::edge::{EdgeLayer, Stop};
use super::*;
use crate::domain::Limits;
use crate::pb;
use crate::pb::entry::Payload;
use crate::pb::fork_session_request::Point;
use crate::pb::session_service_server::{SessionService, SessionServiceServer};
use crate::pb::thread_service_server::ThreadService as _;
use crate::service::{SystemClock, TimeOrderedIds};
use crate::store::memory::Memory;

fn service() -> Service {
    let store = Arc::new(Memory::default());
    Service::new(
        store,
        Arc::new(SystemClock),
        Arc::new(TimeOrderedIds),
        Limits::default(),
    )
}

fn request<T>(request: T) -> Request<T> {
    Request::new(request)
}

fn ok<T>(answer: Result<Response<T>, Status>) -> T {
    answer.expect("an answer").into_inner()
}

/// Code and reason.
fn no<T>(answer: Result<Response<T>, Status>) -> (Code, String) {
    let Err(status) = answer else { panic!("an error") };
    (
        status.code(),
        status.get_details_error_info().expect("an ErrorInfo").reason,
    )
}

fn invalid(reason: &str) -> (Code, String) {
    (Code::InvalidArgument, reason.into())
}

fn said(id: &str, role: pb::Role, text: &str) -> Bytes {
    let block = pb::content_block::Block::Text(pb::TextBlock { text: text.into() });
    let content = vec![pb::ContentBlock {
        block: Some(block),
        ..Default::default()
    }];
    let message = pb::Message {
        message_id: id.into(),
        role: role.into(),
        content,
        ..Default::default()
    };
    message.encode_to_vec().into()
}

fn entry(id: &str, role: pb::Role, text: &str) -> pb::Entry {
    pb::Entry {
        payload: Some(Payload::Message(said(id, role, text))),
        ..Default::default()
    }
}

async fn make(sessions: &Sessions, id: &str) {
    let session_id = Some(id.to_owned());
    ok(sessions
        .create_session(request(pb::CreateSessionRequest {
            session_id,
            ..Default::default()
        }))
        .await);
}

fn append(request_id: &str, entries: Vec<pb::Entry>) -> Request<pb::AppendEntriesRequest> {
    let (session_id, request_id) = ("s".into(), request_id.into());
    request(pb::AppendEntriesRequest {
        session_id,
        entries,
        request_id,
        ..Default::default()
    })
}

fn list(request: pb::ListEntriesRequest) -> Request<pb::ListEntriesRequest> {
    Request::new(pb::ListEntriesRequest {
        session_id: "s".into(),
        ..request
    })
}

#[tokio::test]
async fn a_session_is_written_read_and_forked() {
    let sessions = Sessions::new(service());
    make(&sessions, "s").await;
    let entries = vec![
        entry("a", pb::Role::User, "Hello\nthere"),
        entry("b", pb::Role::Assistant, "Hi"),
        entry("c", pb::Role::User, "Again"),
    ];
    let appended = ok(sessions.append_entries(append("", entries)).await);
    assert_eq!(
        (appended.first_seq, appended.last_seq, appended.entries_added),
        (1, 3, 3)
    );
    let session = appended.session.expect("a session");
    assert_eq!(
        (session.title.as_str(), session.preview.as_str()),
        ("Hello", "Again")
    );
    assert_eq!(session.title_source(), pb::TitleSource::Derived);
    assert_eq!(
        (
            session.revision,
            session.message_count,
            session.has_user_interaction
        ),
        (2, 3, true)
    );

    let newest = pb::ListEntriesRequest {
        newest: true,
        page_size: 2,
        ..Default::default()
    };
    let page = ok(sessions.list_entries(list(newest.clone())).await);
    assert_eq!(
        page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        [2, 3]
    );
    let rest = pb::ListEntriesRequest {
        page_token: page.next_page_token.clone(),
        ..newest
    };
    let rest = ok(sessions.list_entries(list(rest)).await);
    assert_eq!((rest.entries.len(), rest.next_page_token.as_str()), (1, ""));
    let oldest = pb::ListEntriesRequest {
        page_token: page.next_page_token,
        ..Default::default()
    };
    assert_eq!(
        no(sessions.list_entries(list(oldest)).await),
        invalid("PAGE_TOKEN_INVALID")
    );

    let read = pb::ReadMessagesRequest {
        session_id: "s".into(),
        from_index: Some(1),
        ..Default::default()
    };
    let messages: Vec<_> = ok(sessions.read_messages(request(read)).await)
        .try_collect()
        .await
        .expect("read");
    assert_eq!(messages.iter().map(|part| part.messages.len()).sum::<usize>(), 2);

    let fork = |point| pb::ForkSessionRequest {
        session_id: "s".into(),
        point,
        ..Default::default()
    };
    let forked = ok(sessions
        .fork_session(request(fork(Some(Point::TurnsFromEnd(0)))))
        .await);
    assert_eq!(forked.session.expect("a session").title, "Hello (fork 1)");
    let removed = pb::Message::decode(forked.removed_message.expect("the message cut")).expect("a message");
    assert_eq!(removed.message_id, "c");
    assert_eq!(
        no(sessions.fork_session(request(fork(None))).await),
        invalid("FIELD_INVALID")
    );
}

#[tokio::test]
async fn a_request_id_is_looked_up_before_every_other_check() {
    let sessions = Sessions::new(service());
    make(&sessions, "s").await;
    let given = || vec![entry("", pb::Role::User, "once")];
    let first = ok(sessions.append_entries(append("r", given())).await);
    assert_eq!(ok(sessions.append_entries(append("r", given())).await), first);
    assert_eq!(
        no(sessions.append_entries(append("r", vec![])).await),
        invalid("REQUEST_ID_REUSED")
    );
    assert_eq!(
        no(sessions.append_entries(append("new", vec![])).await),
        invalid("FIELD_INVALID")
    );
    assert_eq!(
        no(sessions.append_entries(append("\n", given())).await),
        invalid("FIELD_INVALID")
    );

    let delete = || pb::DeleteSessionRequest {
        session_id: "s".into(),
        force: true,
        request_id: "d".into(),
        ..Default::default()
    };
    ok(sessions.delete_session(request(delete())).await);
    let again = ok(sessions.delete_session(request(delete())).await)
        .session
        .expect("a session");
    assert_eq!(
        (again.session_id.as_str(), again.state()),
        ("s", pb::SessionState::Deleted)
    );
}

#[tokio::test]
async fn entries_are_refused_by_their_place() {
    let sessions = Sessions::new(service());
    make(&sessions, "s").await;
    let bad = vec![
        entry("a", pb::Role::User, "fine"),
        entry("b", pb::Role::Unspecified, "not"),
    ];
    let status = sessions
        .append_entries(append("", bad))
        .await
        .expect_err("invalid");
    let field = &status
        .get_details_bad_request()
        .expect("a BadRequest")
        .field_violations[0]
        .field;
    assert_eq!(field, "entries[1].message.role");
    let empty = vec![pb::Entry::default()];
    assert_eq!(
        no(sessions.append_entries(append("", empty)).await),
        invalid("FIELD_INVALID")
    );
    let many = vec![pb::Entry::default(); 10_001];
    assert_eq!(
        no(sessions.append_entries(append("", many)).await),
        invalid("LIMIT_EXCEEDED")
    );
}

#[tokio::test]
async fn lists_go_on_where_they_ended() {
    let sessions = Sessions::new(service());
    for id in ["a", "b", "c"] {
        make(&sessions, id).await;
    }
    let mut seen = Vec::new();
    let mut next = pb::ListSessionsRequest {
        page_size: 1,
        ..Default::default()
    };
    loop {
        let page = ok(sessions.list_sessions(request(next.clone())).await);
        seen.extend(page.sessions.into_iter().map(|session| session.session_id));
        if page.next_page_token.is_empty() {
            break;
        }
        next.page_token = page.next_page_token;
    }
    assert_eq!(seen, ["c", "b", "a"]);
    let changed = pb::ListSessionsRequest {
        starred: Some(true),
        ..next
    };
    assert_eq!(
        no(sessions.list_sessions(request(changed)).await),
        invalid("PAGE_TOKEN_INVALID")
    );
}

#[tokio::test]
async fn a_thread_is_run_and_saved() {
    let service = service();
    let (threads, sessions) = (Threads::new(service.clone()), Sessions::new(service));
    let thread_id = || "t".to_owned();
    let create = pb::CreateThreadRequest {
        thread_id: Some(thread_id()),
        ..Default::default()
    };
    ok(threads.create_thread(request(create)).await);
    let start = pb::StartTurnRequest {
        thread_id: thread_id(),
        turn_id: Some("u".into()),
        ..Default::default()
    };
    let turn = ok(threads.start_turn(request(start)).await).turn.expect("a turn");
    assert_eq!(
        (turn.turn_id.as_str(), turn.status()),
        ("u", pb::TurnStatus::InProgress)
    );
    let items = vec![pb::Item {
        kind: pb::ItemKind::UserMessage.into(),
        status: pb::TurnStatus::Completed.into(),
        summary: "Hello".into(),
        ..Default::default()
    }];
    let append = |items| pb::AppendItemsRequest {
        thread_id: thread_id(),
        turn_id: "u".into(),
        items,
        ..Default::default()
    };
    assert_eq!(ok(threads.append_items(request(append(items))).await).last_seq, 1);
    assert_eq!(
        no(threads.append_items(request(append(vec![]))).await),
        invalid("FIELD_INVALID")
    );

    let save = || {
        request(pb::SaveSessionRequest {
            thread_id: thread_id(),
            ..Default::default()
        })
    };
    let busy = (Code::FailedPrecondition, "TURN_IN_PROGRESS".to_owned());
    assert_eq!(no(sessions.save_session(save()).await), busy);
    let finish = |status: pb::TurnStatus| pb::FinishTurnRequest {
        thread_id: thread_id(),
        turn_id: "u".into(),
        status: status.into(),
        ..Default::default()
    };
    let queued = request(finish(pb::TurnStatus::Queued));
    assert_eq!(no(threads.finish_turn(queued).await), invalid("FIELD_INVALID"));
    ok(threads
        .finish_turn(request(finish(pb::TurnStatus::Completed)))
        .await);
    let listed = pb::ListItemsRequest {
        thread_id: thread_id(),
        ..Default::default()
    };
    let listed = ok(threads.list_items(request(listed)).await);
    assert_eq!(
        (listed.items[0].summary.as_str(), listed.turns.len()),
        ("Hello", 1)
    );
    let saved = ok(sessions.save_session(save()).await);
    assert_eq!((saved.message_count, saved.created), (1, true));
    assert_eq!(saved.session.expect("a session").title, "Hello");
}

#[tokio::test]
async fn what_is_switched_off_says_so() {
    let sessions = Sessions::new(service().without_search());
    let search = pb::SearchMessagesRequest {
        query: "word".to_owned(),
        ..Default::default()
    };
    let refused = (Code::Unimplemented, "UNIMPLEMENTED".to_owned());
    assert_eq!(no(sessions.search_messages(request(search)).await), refused);
}

/// Calls GetSession with raw bytes, through the edge and tonic's own decoding.
async fn raw(bytes: &[u8]) -> (Code, String) {
    let mut framed = vec![0];
    framed.extend(u32::try_from(bytes.len()).expect("short").to_be_bytes());
    framed.extend(bytes);
    let request = http::Request::post("/sessiond.v1.SessionService/GetSession")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(http_body_util::Full::new(Bytes::from(
            framed,
        ))))
        .expect("a request");
    let server = SessionServiceServer::new(Sessions::new(service())).max_decoding_message_size(64);
    let edge = EdgeLayer::new(Arc::new(Anyone), Limits::default(), Stop::default());
    let response = edge.layer(server).oneshot(request).await;
    let status = Status::from_header_map(response.expect("a response").headers()).expect("a status");
    (
        status.code(),
        status.get_details_error_info().expect("an ErrorInfo").reason,
    )
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_the_callers_doing() {
    assert_eq!(raw(b"\x12\x09torn").await, invalid("FIELD_INVALID"));
    assert_eq!(
        raw(&[0; 65]).await,
        (Code::ResourceExhausted, "QUOTA_EXCEEDED".into())
    );
    assert_eq!(
        raw(b"\x12\x01s").await,
        (Code::NotFound, "SESSION_NOT_FOUND".into())
    );
}

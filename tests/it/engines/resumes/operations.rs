//! The operation of a resume: watched, listed, called off, and ended by a deletion.

use futures_util::future::join_all;

use super::stored;
use crate::support::failure::invalid;
use crate::support::pb::watch_resume_request::Target;
use crate::support::pb::{GetResumeRequest, ListResumesRequest, ResumeState};
use crate::support::resume::{of_session, on_engine};
use crate::support::{Code, Failure, Wire, refused, shared};

#[tokio::test]
async fn every_watcher_sees_the_end() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 2).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    let by_id = (0..4).map(|_| client.watched(Target::ResumeId(started.resume_id.clone())));
    let by_thread = (0..4).map(|_| client.watched(Target::ThreadId(started.thread_id.clone())));
    let taking = async {
        engine.batch().await;
        engine.acks(&begin.seed_id, 1).await;
        client.written(&started.resume_id, 1).await;
        engine.acks(&begin.seed_id, 2).await;
        engine.committed().await;
    };
    let (by_id, by_thread, ()) = tokio::join!(join_all(by_id), join_all(by_thread), taking);
    let late = client.watched(Target::ThreadId(started.thread_id.clone())).await;
    assert_eq!(late.len(), 1, "who comes late sees the end alone");
    for seen in by_id.iter().chain(&by_thread) {
        assert!(seen.is_sorted_by_key(|progress| progress.items_written));
        assert_eq!(seen.last(), late.last());
    }
    assert_eq!(client.progress(&started.resume_id).await, late[0]);
    assert_eq!((late[0].state(), late[0].items_written), (ResumeState::Ready, 2));
}

#[tokio::test]
async fn what_is_not_there_cannot_be_watched() {
    let client = shared().await;
    for target in [Target::ResumeId("none".into()), Target::ThreadId("none".into())] {
        let watched = client.watch_or(target).await;
        refused(watched, Code::NotFound, "RESUME_NOT_FOUND");
    }
    let request = GetResumeRequest {
        resume_id: "none".into(),
        ..Default::default()
    };
    refused(
        client.get_resume(request).await,
        Code::NotFound,
        "RESUME_NOT_FOUND",
    );
    let request = crate::support::pb::CancelResumeRequest {
        resume_id: "none".into(),
        ..Default::default()
    };
    refused(
        client.cancel_resume(request).await,
        Code::NotFound,
        "RESUME_NOT_FOUND",
    );
    let bad = client.watch_or(Target::ResumeId("a/b".into())).await;
    invalid(bad, "resume_id");
}

#[tokio::test]
async fn a_resume_that_is_called_off_leaves_nothing() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 2).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    let canceled = client.cancel(&started.resume_id).await;
    assert_eq!(canceled.state(), ResumeState::Canceled);
    assert_eq!(engine.called_off().await, begin.seed_id);
    assert!(client.all_threads().await.is_empty());
    assert!(client.session(&session).await.thread_id.is_empty());
    engine.acks(&begin.seed_id, 2).await;
    assert_eq!(client.end_of(&started.resume_id).await, canceled);
    assert_eq!(client.cancel(&started.resume_id).await, canceled, "it is over");

    // It is not in the way of another one.
    let again = client.resuming(on_engine(&session, "one")).await;
    assert_ne!(again.resume_id, started.resume_id);
    engine.takes_over().await;
    let end = client.end_of(&again.resume_id).await;
    assert_eq!(end.state(), ResumeState::Ready);
    assert_eq!(client.cancel(&again.resume_id).await, end);
    assert_eq!(client.all_threads().await.len(), 1);
}

#[tokio::test]
async fn a_thread_that_stood_before_stands_after_a_cancel() {
    let client = shared().await;
    let session = stored(&client, 2).await;
    client.resumed(of_session(&session)).await;
    let mut engine = Wire::attach(&client, "one").await;
    let before = client.session(&session).await.thread_id;
    assert!(!before.is_empty());
    let held = client.thread(&before).await;
    client
        .append(
            &session,
            vec![crate::support::build::entry(crate::support::build::user("more"))],
        )
        .await;
    let started = client.resuming(on_engine(&session, "one")).await;
    assert_eq!(started.thread_id, before);
    engine.begun().await;
    client.cancel(&started.resume_id).await;
    assert_eq!(client.thread(&before).await, held);
}

#[tokio::test]
async fn a_deletion_of_the_session_ends_it() {
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 2).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    engine.batch().await;
    client.delete(&session).await;
    let end = client.end_of(&started.resume_id).await;
    assert_eq!(end.state(), ResumeState::Failed);
    let error = end.error.unwrap();
    assert_eq!(error.code, Code::FailedPrecondition as i32, "{error:?}");
    assert_eq!(engine.called_off().await, begin.seed_id);
    assert!(client.all_threads().await.is_empty());
}

#[tokio::test]
async fn resumes_are_listed_newest_first_with_filters_and_pages() {
    let client = shared().await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let session = stored(&client, 2).await;
        client.resumed(of_session(&session)).await;
        sessions.push(session);
    }
    let _engine = Wire::attach(&client, "one").await;
    let canceled = client.resuming(on_engine(&sessions[0], "one")).await;
    client.cancel(&canceled.resume_id).await;
    let mut request = ListResumesRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut listed = Vec::new();
    loop {
        let page = client.list_resumes(request.clone()).await.unwrap();
        assert!(page.resumes.len() <= 2);
        listed.extend(page.resumes);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        let changed = ListResumesRequest {
            states: vec![ResumeState::Failed.into()],
            ..request.clone()
        };
        refused(
            client.list_resumes(changed).await,
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
        );
    }
    assert_eq!(listed.len(), 6);
    assert_eq!(listed[0].resume_id, canceled.resume_id);
    let order: Vec<_> = listed[1..]
        .iter()
        .rev()
        .map(|resume| resume.session_id.clone())
        .collect();
    assert_eq!(order, sessions);
    let filtered = ListResumesRequest {
        states: vec![ResumeState::Canceled.into()],
        ..Default::default()
    };
    assert_eq!(client.list_resumes(filtered).await.unwrap().resumes.len(), 1);
    assert_eq!(client.resumes_of(&sessions[0]).await.len(), 2);
    let negative = ListResumesRequest {
        page_size: -1,
        ..Default::default()
    };
    invalid(client.list_resumes(negative).await, "page_size");
}

#[tokio::test]
async fn an_engine_that_gives_up_fails_it_with_its_own_error() {
    use crate::support::pb::SeedFailed;
    use crate::support::pb::attach_request::Frame as Up;
    let client = shared().await;
    let mut engine = Wire::attach(&client, "one").await;
    let session = stored(&client, 2).await;
    let started = client.resuming(on_engine(&session, "one")).await;
    let begin = engine.begun().await;
    let error = tonic_types::pb::Status {
        code: Code::ResourceExhausted.into(),
        message: "no room".into(),
        details: Vec::new(),
    };
    let failed = SeedFailed {
        seed_id: begin.seed_id,
        error: Some(error),
    };
    engine.send(Up::SeedFailed(failed)).await;
    let end = client.end_of(&started.resume_id).await;
    assert_eq!(end.state(), ResumeState::Failed);
    let error = end.error.unwrap();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::ResourceExhausted as i32, "no room")
    );
    assert!(client.all_threads().await.is_empty());
    assert!(Failure::of(&status_of(&error)).reason == "ENGINE_DECLINED");
}

/// A status as a call would have ended with it.
fn status_of(error: &tonic_types::pb::Status) -> crate::support::Status {
    use prost::Message as _;
    crate::support::Status::with_details(
        error.code.into(),
        error.message.clone(),
        error.encode_to_vec().into(),
    )
}

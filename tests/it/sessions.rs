//! Sessions as resources: made, read, changed, and kept apart by namespace.

mod deletion;
mod listing;
mod pages;
mod updates;
mod values;

use std::collections::BTreeMap;

use crate::support::build::{assistant, at, entries, entry, usage, user};
use crate::support::failure::invalid;
use crate::support::pb::{
    GetSessionRequest, Origin, Session, SessionState, TitleSource, UpdateSessionRequest,
};
use crate::support::{Code, fresh, pb, refused, shared};

fn full(id: &str) -> Session {
    Session {
        session_id: id.into(),
        title: "A river".into(),
        workspace: "/maps".into(),
        provider: "provider".into(),
        endpoint: "https://api.example".into(),
        model: "model".into(),
        mode: "agent".into(),
        task_type: "walk".into(),
        system_prompt: " Be kind.\n".into(),
        labels: BTreeMap::from([("a".into(), "1".into()), ("b".into(), String::new())]),
        settings_json: r#"{ "n": 1e400, "n": 9007199254740993 }"#.into(),
        metadata_json: "[null ]".into(),
        starred: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_session_has_the_facts_it_was_made_with() {
    let client = shared().await;
    let made = client.create(full("s")).await;
    let expected = Session {
        namespace: client.namespace().into(),
        title_source: TitleSource::User.into(),
        state: SessionState::Active.into(),
        revision: 1,
        etag: made.etag.clone(),
        usage: made.usage,
        create_time: made.create_time,
        update_time: made.update_time,
        ..full("s")
    };
    assert_eq!(made, expected);
    assert!(!made.etag.is_empty());
    assert!(made.create_time.is_some() && made.create_time == made.update_time);
    assert_eq!(made.usage.unwrap_or_default(), usage(0));
    assert_eq!(client.session("s").await, made);
}

#[tokio::test]
async fn what_the_service_sets_is_ignored_in_requests() {
    let client = shared().await;
    let given = Session {
        namespace: "elsewhere".into(),
        usage: Some(usage(7)),
        message_count: 7,
        entry_count: 7,
        has_user_interaction: true,
        revision: 7,
        etag: "etag".into(),
        thread_id: "thread".into(),
        origin: Some(Origin {
            session_id: "other".into(),
            ..Default::default()
        }),
        preview: "preview".into(),
        incomplete_turn: true,
        create_time: Some(at(1)),
        update_time: Some(at(1)),
        archive_time: Some(at(1)),
        delete_time: Some(at(1)),
        purge_time: Some(at(1)),
        title_source: TitleSource::Engine.into(),
        ..Default::default()
    };
    let made = client.create(given.clone()).await;
    assert_eq!(made.namespace, client.namespace());
    assert_eq!((made.message_count, made.entry_count, made.revision), (0, 0, 1));
    assert_eq!((made.has_user_interaction, made.incomplete_turn), (false, false));
    assert_eq!(
        (
            made.thread_id.as_str(),
            made.preview.as_str(),
            made.origin.clone()
        ),
        ("", "", None)
    );
    assert_eq!(made.usage.unwrap_or_default(), usage(0));
    assert_ne!(made.etag, "etag");
    assert!(made.create_time.unwrap().seconds > 1 && made.update_time.unwrap().seconds > 1);
    assert_eq!(
        (made.archive_time, made.delete_time, made.purge_time),
        (None, None, None)
    );
    assert_eq!((made.title.as_str(), made.state()), ("", SessionState::Active));

    let mut update = Session {
        session_id: made.session_id.clone(),
        model: "m".into(),
        ..given
    };
    update.set_state(SessionState::Unspecified);
    let request = UpdateSessionRequest {
        session: Some(update),
        ..Default::default()
    };
    let changed = client.update_session(request).await.unwrap().session.unwrap();
    let expected = Session {
        model: "m".into(),
        etag: changed.etag.clone(),
        update_time: changed.update_time,
        ..made
    };
    assert_eq!(changed, expected);
}

#[tokio::test]
async fn an_id_is_given_or_generated_and_taken_once() {
    let client = shared().await;
    let first = client.blank().await;
    let second = client.blank().await;
    assert!(first < second, "UUIDv7 sorts by time: {first} {second}");
    assert_eq!(first.len(), 36);

    let given = client
        .create(Session {
            session_id: " a.B:c-_9\t".into(),
            ..Default::default()
        })
        .await;
    assert_eq!(given.session_id, "a.B:c-_9");
    assert_eq!(client.session(" a.B:c-_9 ").await, given);

    let again = pb::CreateSessionRequest {
        session_id: Some("a.B:c-_9".into()),
        session: None,
        ..Default::default()
    };
    let failure = refused(
        client.create_session(again).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    assert!(failure.names("a.B:c-_9"), "{failure:?}");

    let inside = Session {
        session_id: "inside".into(),
        ..Default::default()
    };
    let request = pb::CreateSessionRequest {
        session: Some(inside),
        ..Default::default()
    };
    let made = client.create_session(request).await.unwrap().session.unwrap();
    assert_ne!(made.session_id, "inside", "an id in the session is ignored");
}

#[tokio::test]
async fn a_session_that_is_not_there_is_not_found_by_any_call() {
    let client = shared().await;
    let id = "nowhere";
    let failure = refused(client.session_or(id).await, Code::NotFound, "SESSION_NOT_FOUND");
    assert!(failure.names(id), "{failure:?}");
    let update = client.update_or(
        Session {
            session_id: id.into(),
            ..Default::default()
        },
        &["title"],
    );
    refused(update.await, Code::NotFound, "SESSION_NOT_FOUND");
    let delete = pb::DeleteSessionRequest {
        session_id: id.into(),
        ..Default::default()
    };
    refused(
        client.delete_session(delete).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    let undelete = pb::UndeleteSessionRequest {
        session_id: id.into(),
        ..Default::default()
    };
    refused(
        client.undelete_session(undelete).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    refused(
        client.append_or(id, entries([user("a")])).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    let list = pb::ListEntriesRequest {
        session_id: id.into(),
        ..Default::default()
    };
    refused(
        client.list_entries(list).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    let read = pb::ReadMessagesRequest {
        session_id: id.into(),
        ..Default::default()
    };
    refused(
        client.read_messages(read).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    let fork = client.fork_or(id, pb::fork_session_request::Point::MessageIndex(0));
    refused(fork.await, Code::NotFound, "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn namespaces_see_nothing_of_each_other() {
    let (one, other) = (shared().await, shared().await);
    assert_ne!(one.namespace(), other.namespace());
    let mine = one
        .create(Session {
            session_id: "same".into(),
            title: "mine".into(),
            ..Default::default()
        })
        .await;
    refused(
        other.session_or("same").await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    assert_eq!(other.listed(pb::ListSessionsRequest::default()).await, []);
    let theirs = other.create(Session {
        session_id: "same".into(),
        title: "theirs".into(),
        ..Default::default()
    });
    assert_eq!(theirs.await.title, "theirs");
    other.append("same", entries([user("a")])).await;
    other.delete("same").await;
    assert_eq!(one.session("same").await, mine);
}

#[tokio::test]
async fn the_empty_namespace_is_default() {
    let client = shared().await;
    let id = fresh("default");
    let request = pb::CreateSessionRequest {
        session_id: Some(id.clone()),
        ..Default::default()
    };
    let made = client
        .sessions()
        .create_session(request)
        .await
        .unwrap()
        .into_inner()
        .session
        .unwrap();
    assert_eq!(made.namespace, "default");
    assert_eq!(client.in_namespace("default").session(&id).await, made);
}

#[tokio::test]
async fn a_namespace_is_lower_case_and_short() {
    let client = shared().await;
    for good in ["a", "0", "a.b_c-d", &"a".repeat(63)] {
        client
            .in_namespace(good)
            .listed(pb::ListSessionsRequest::default())
            .await;
    }
    for bad in [
        "A",
        "-a",
        ".a",
        "_a",
        "a b",
        "a/b",
        " ",
        "é",
        "..",
        &"a".repeat(64),
    ] {
        let request = GetSessionRequest {
            namespace: bad.into(),
            session_id: "s".into(),
            revision: None,
        };
        invalid(client.get_session(request).await, "namespace");
        let thread = pb::GetThreadRequest {
            namespace: bad.into(),
            thread_id: "t".into(),
        };
        invalid(client.get_thread(thread).await, "namespace");
    }
}

#[tokio::test]
async fn only_the_present_revision_is_there() {
    let client = shared().await;
    let id = client.holding([user("a")]).await;
    let present = client
        .append(&id, vec![entry(assistant("b"))])
        .await
        .session
        .unwrap();
    let get = |revision| GetSessionRequest {
        session_id: id.clone(),
        revision: Some(revision),
        ..Default::default()
    };
    assert_eq!(
        client
            .get_session(get(present.revision))
            .await
            .unwrap()
            .session
            .unwrap(),
        present
    );
    for revision in [1, present.revision - 1, present.revision + 1, u64::MAX] {
        refused(
            client.get_session(get(revision)).await,
            Code::NotFound,
            "REVISION_NOT_FOUND",
        );
        let list = pb::ListEntriesRequest {
            session_id: id.clone(),
            revision: Some(revision),
            ..Default::default()
        };
        refused(
            client.list_entries(list).await,
            Code::NotFound,
            "REVISION_NOT_FOUND",
        );
        let read = pb::ReadMessagesRequest {
            session_id: id.clone(),
            revision: Some(revision),
            ..Default::default()
        };
        refused(
            client.read_messages(read).await,
            Code::NotFound,
            "REVISION_NOT_FOUND",
        );
        let fork = pb::ForkSessionRequest {
            session_id: id.clone(),
            point: Some(pb::fork_session_request::Point::MessageIndex(0)),
            revision: Some(revision),
            ..Default::default()
        };
        refused(
            client.fork_session(fork).await,
            Code::NotFound,
            "REVISION_NOT_FOUND",
        );
    }
}

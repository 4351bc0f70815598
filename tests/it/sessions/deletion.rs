//! Deleting and bringing back: what is refused meanwhile, what goes along, and what does not.

use crate::support::build::{asks, assistant, entries, user};
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    DeleteSessionRequest, ListSessionsRequest, Session, SessionState, UndeleteSessionRequest,
};
use crate::support::{Client, Code, Status, pb, refused, shared};

const PURGE_AFTER_SECONDS: i64 = 30 * 24 * 60 * 60;

async fn child(client: &Client, id: &str, parent: &str) -> String {
    let session = Session {
        session_id: id.into(),
        parent_session_id: parent.into(),
        ..Default::default()
    };
    client.create(session).await.session_id
}

async fn undelete_or(client: &Client, id: &str) -> Result<Session, Status> {
    let request = UndeleteSessionRequest {
        session_id: id.into(),
        ..Default::default()
    };
    Ok(client.undelete_session(request).await?.session.unwrap())
}

async fn purge_or(client: &Client, id: &str) -> Result<Option<Session>, Status> {
    let request = DeleteSessionRequest {
        session_id: id.into(),
        force: true,
        ..Default::default()
    };
    Ok(client.delete_session(request).await?.session)
}

async fn states(client: &Client, ids: &[&str]) -> Vec<SessionState> {
    let mut states = Vec::new();
    for id in ids {
        states.push(client.session(id).await.state());
    }
    states
}

#[tokio::test]
async fn a_deleted_session_is_shown_and_closed_to_writes() {
    let client = shared().await;
    let id = client.holding([user("a"), assistant("b")]).await;
    let thread = client.running(vec![asks("c")]).await;
    let deleted = client.delete(&id).await;
    assert_eq!(deleted.state(), SessionState::Deleted);
    let kept = deleted.purge_time.unwrap().seconds - deleted.delete_time.unwrap().seconds;
    assert_eq!(kept, PURGE_AFTER_SECONDS);
    assert_eq!(client.session(&id).await, deleted);
    assert_eq!(client.listed(ListSessionsRequest::default()).await, []);

    let refuse = |what: &str, status: Result<(), Status>| {
        let failure = refused(status, Code::FailedPrecondition, "SESSION_DELETED");
        assert!(failure.names(&id), "{what}: {failure:?}");
    };
    refuse(
        "append",
        client.append_or(&id, entries([user("c")])).await.map(drop),
    );
    let update = Session {
        session_id: id.clone(),
        starred: true,
        ..Default::default()
    };
    refuse("update", client.update_or(update, &["starred"]).await.map(drop));
    refuse(
        "fork",
        client.fork_or(&id, Point::MessageIndex(0)).await.map(drop),
    );
    let delete = DeleteSessionRequest {
        session_id: id.clone(),
        ..Default::default()
    };
    refuse("delete", client.delete_session(delete).await.map(drop));
    let save = pb::SaveSessionRequest {
        thread_id: thread,
        session_id: Some(id.clone()),
        ..Default::default()
    };
    refuse("save", client.save_session(save).await.map(drop));
    let create = pb::CreateSessionRequest {
        session: Some(Session {
            parent_session_id: id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    refuse(
        "create a sub-session",
        client.create_session(create).await.map(drop),
    );

    let taken = pb::CreateSessionRequest {
        session_id: Some(id.clone()),
        ..Default::default()
    };
    refused(
        client.create_session(taken).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    assert_eq!(client.session(&id).await, deleted, "refusals change nothing");

    let back = undelete_or(&client, &id).await.unwrap();
    assert_eq!(
        (back.state(), back.delete_time, back.purge_time),
        (SessionState::Active, None, None)
    );
    assert_eq!((back.message_count, back.revision), (2, deleted.revision));
    client.append(&id, entries([user("c")])).await;
}

#[tokio::test]
async fn an_archived_session_comes_back_archived() {
    let client = shared().await;
    let id = client.blank().await;
    let archived = Session {
        session_id: id.clone(),
        state: SessionState::Archived.into(),
        ..Default::default()
    };
    client.update_or(archived, &["state"]).await.unwrap();
    client.delete(&id).await;
    let back = undelete_or(&client, &id).await.unwrap();
    assert_eq!(
        (back.state(), back.archive_time.is_some()),
        (SessionState::Archived, true)
    );
}

#[tokio::test]
async fn a_forced_deletion_purges_and_frees_the_id() {
    let client = shared().await;
    let id = client.holding([user("a")]).await;
    let fork = client.fork(&id, Point::MessageIndex(0)).await.session.unwrap();
    client.delete(&id).await;
    purge_or(&client, &id).await.unwrap();
    refused(client.session_or(&id).await, Code::NotFound, "SESSION_NOT_FOUND");
    refused(
        undelete_or(&client, &id).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    refused(purge_or(&client, &id).await, Code::NotFound, "SESSION_NOT_FOUND");

    let anew = client
        .create(Session {
            session_id: id.clone(),
            ..Default::default()
        })
        .await;
    assert_eq!((anew.revision, anew.entry_count), (1, 0));
    assert_eq!(client.entries(&id).await, []);
    purge_or(&client, &id).await.unwrap();
    assert_eq!(client.session(&fork.session_id).await, fork);
}

#[tokio::test]
async fn sub_sessions_go_along_and_forks_stay() {
    let client = shared().await;
    let root = client.holding([user("a"), assistant("b"), user("c")]).await;
    child(&client, "kid", &root).await;
    child(&client, "grandkid", "kid").await;
    let fork = client.fork(&root, Point::MessageIndex(2)).await.session.unwrap();
    let family = [root.as_str(), "kid", "grandkid", &fork.session_id];

    client.delete(&root).await;
    let gone = SessionState::Deleted;
    assert_eq!(
        states(&client, &family).await,
        [gone, gone, gone, SessionState::Active]
    );
    assert_eq!(client.messages(&fork.session_id).await.len(), 2);
    undelete_or(&client, &root).await.unwrap();
    assert_eq!(states(&client, &family).await, [SessionState::Active; 4]);

    purge_or(&client, &root).await.unwrap();
    for id in &family[..3] {
        refused(client.session_or(id).await, Code::NotFound, "SESSION_NOT_FOUND");
    }
    assert_eq!(
        client.messages(&fork.session_id).await.len(),
        2,
        "what a fork inherits stays"
    );
    assert_eq!(client.session(&fork.session_id).await, fork);
}

#[tokio::test]
async fn what_was_deleted_before_is_not_brought_back_along() {
    let client = shared().await;
    let root = client.blank().await;
    child(&client, "early", &root).await;
    child(&client, "late", &root).await;
    client.delete("early").await;
    client.delete(&root).await;
    let back = undelete_or(&client, &root).await.unwrap();
    assert_eq!(back.state(), SessionState::Active);
    assert_eq!(
        states(&client, &["early", "late"]).await,
        [SessionState::Deleted, SessionState::Active]
    );
    undelete_or(&client, "early").await.unwrap();
}

#[tokio::test]
async fn a_parent_must_be_there() {
    let client = shared().await;
    let request = pb::CreateSessionRequest {
        session: Some(Session {
            parent_session_id: "nobody".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let failure = refused(
        client.create_session(request).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    assert!(failure.names("nobody"), "{failure:?}");
}

#[tokio::test]
async fn deleting_frees_nobodys_log() {
    let client = shared().await;
    let root = client
        .holding([user("a"), assistant("b"), user("c"), assistant("d")])
        .await;
    let fork = client
        .fork(&root, Point::UserMessageIndex(1))
        .await
        .session
        .unwrap()
        .session_id;
    client.append(&fork, entries([user("mine")])).await;
    let leaf = client
        .fork(&fork, Point::UserMessageIndex(1))
        .await
        .session
        .unwrap()
        .session_id;
    purge_or(&client, &root).await.unwrap();
    purge_or(&client, &fork).await.unwrap();
    assert_eq!(client.messages(&leaf).await.len(), 2);
    client.append(&leaf, entries([user("still here")])).await;
    assert_eq!(
        client
            .entries(&leaf)
            .await
            .iter()
            .map(|entry| entry.seq)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

#[tokio::test]
async fn a_living_session_is_not_brought_back() {
    let client = shared().await;
    let id = client.blank().await;
    let failure = refused(
        undelete_or(&client, &id).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    assert!(failure.names(&id), "{failure:?}");
}

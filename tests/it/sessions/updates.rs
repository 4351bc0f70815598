//! UpdateSession: masks, what cannot be written, etags, and the archive.

use std::collections::BTreeMap;

use crate::support::build::{assistant, entries, user};
use crate::support::failure::invalid;
use crate::support::pb::{Session, SessionState, TitleSource, UpdateSessionRequest};
use crate::support::{Code, fresh, pb, refused, shared};

use super::full;

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let client = shared().await;
    let made = client.create(full("s")).await;
    let other = Session {
        session_id: "s".into(),
        title: "Another".into(),
        workspace: "/seas/.".into(),
        provider: "p2".into(),
        endpoint: "e2".into(),
        model: "m2".into(),
        mode: "plan".into(),
        task_type: "swim".into(),
        system_prompt: "s2".into(),
        labels: BTreeMap::from([("c".into(), "3".into())]),
        settings_json: "{}".into(),
        metadata_json: "2".into(),
        starred: false,
        ..Default::default()
    };
    let changed = client.update_or(other.clone(), &["model"]).await.unwrap();
    let mut expected = Session {
        model: "m2".into(),
        ..made
    };
    (expected.etag, expected.update_time) = (changed.etag.clone(), changed.update_time);
    assert_eq!(changed, expected);

    let every = [
        "title",
        "workspace",
        "provider",
        "endpoint",
        "model",
        "mode",
        "task_type",
        "system_prompt",
        "labels",
        "settings_json",
        "metadata_json",
        "starred",
    ];
    let changed = client.update_or(other.clone(), &every).await.unwrap();
    let expected = Session {
        namespace: client.namespace().into(),
        workspace: "/seas".into(),
        title_source: TitleSource::User.into(),
        state: SessionState::Active.into(),
        revision: 1,
        etag: changed.etag.clone(),
        usage: changed.usage,
        create_time: expected.create_time,
        update_time: changed.update_time,
        ..other
    };
    assert_eq!(changed, expected);
    assert_eq!(client.session("s").await, changed);

    let cleared = client
        .update_or(
            Session {
                session_id: "s".into(),
                ..Default::default()
            },
            &every[1..],
        )
        .await
        .unwrap();
    let expected = Session {
        session_id: "s".into(),
        namespace: client.namespace().into(),
        title: "Another".into(),
        title_source: TitleSource::User.into(),
        state: SessionState::Active.into(),
        revision: 1,
        etag: cleared.etag.clone(),
        usage: cleared.usage,
        create_time: changed.create_time,
        update_time: cleared.update_time,
        ..Default::default()
    };
    assert_eq!(cleared, expected, "a path without a value clears");
}

#[tokio::test]
async fn an_update_without_a_mask_changes_what_is_set() {
    let client = shared().await;
    let made = client.create(full("s")).await;
    let given = Session {
        session_id: "s".into(),
        model: "m2".into(),
        title: "T2".into(),
        ..Default::default()
    };
    for update_mask in [None, Some(prost_types::FieldMask::default())] {
        let request = UpdateSessionRequest {
            session: Some(given.clone()),
            update_mask,
            ..Default::default()
        };
        let changed = client.update_session(request).await.unwrap().session.unwrap();
        let mut expected = Session {
            model: "m2".into(),
            title: "T2".into(),
            ..made.clone()
        };
        (expected.etag, expected.update_time) = (changed.etag.clone(), changed.update_time);
        assert_eq!(changed, expected);
    }
}

#[tokio::test]
async fn other_paths_cannot_be_written() {
    let client = shared().await;
    let made = client.create(full("s")).await;
    for path in [
        "session_id",
        "namespace",
        "title_source",
        "usage",
        "message_count",
        "revision",
        "etag",
        "thread_id",
        "origin",
        "parent_session_id",
        "preview",
        "create_time",
        "delete_time",
        "labels.a",
        "nonsense",
        "",
    ] {
        invalid(client.update_or(full("s"), &["model", path]).await, "update_mask");
    }
    let nothing = UpdateSessionRequest::default();
    invalid(client.update_session(nothing).await, "session_id");
    for state in [SessionState::Deleted, SessionState::Unspecified] {
        let mut session = full("s");
        session.set_state(state);
        invalid(client.update_or(session, &["state"]).await, "state");
    }
    assert_eq!(client.session("s").await, made);
}

#[tokio::test]
async fn an_archived_session_takes_writes_and_comes_back() {
    let client = shared().await;
    let id = client.blank().await;
    let in_state = |state: SessionState| Session {
        session_id: id.clone(),
        state: state.into(),
        ..Default::default()
    };
    let archived = client
        .update_or(in_state(SessionState::Archived), &["state"])
        .await
        .unwrap();
    assert_eq!(
        (archived.state(), archived.archive_time.is_some()),
        (SessionState::Archived, true)
    );
    let appended = client.append(&id, entries([user("a")])).await.session.unwrap();
    assert_eq!(
        (appended.state(), appended.message_count),
        (SessionState::Archived, 1)
    );
    assert_eq!(appended.archive_time, archived.archive_time);
    let back = client
        .update_or(in_state(SessionState::Active), &["state"])
        .await
        .unwrap();
    assert_eq!((back.state(), back.archive_time), (SessionState::Active, None));
}

#[tokio::test]
async fn revision_follows_the_log_and_etag_everything() {
    let client = shared().await;
    let id = client.blank().await;
    let mut seen = vec![client.session(&id).await];
    seen.push(
        client
            .append(&id, entries([user("a"), assistant("b")]))
            .await
            .session
            .unwrap(),
    );
    seen.push(
        client
            .update_or(
                Session {
                    session_id: id.clone(),
                    starred: true,
                    ..Default::default()
                },
                &["starred"],
            )
            .await
            .unwrap(),
    );
    seen.push(client.append(&id, entries([user("c")])).await.session.unwrap());
    assert_eq!(
        seen.iter().map(|session| session.revision).collect::<Vec<_>>(),
        [1, 2, 2, 3]
    );
    let etags: std::collections::HashSet<_> = seen.iter().map(|session| session.etag.clone()).collect();
    assert_eq!(etags.len(), seen.len());
    let last = seen.last().unwrap();
    assert_eq!(client.session(&id).await, *last, "reading changes nothing");

    let known = client.entries(&id).await;
    let again = client.append(&id, known).await;
    assert_eq!(
        (again.entries_added, again.session.unwrap()),
        (0, last.clone()),
        "nothing new is no commit"
    );
}

#[tokio::test]
async fn an_old_etag_is_refused_with_the_present_one() {
    let client = shared().await;
    let made = client.create(full("s")).await;
    let update = |etag: &str| UpdateSessionRequest {
        session: Some(Session {
            session_id: "s".into(),
            model: fresh("m"),
            ..Default::default()
        }),
        etag: Some(etag.into()),
        ..Default::default()
    };
    let changed = client
        .update_session(update(&made.etag))
        .await
        .unwrap()
        .session
        .unwrap();
    for old in [made.etag.as_str(), "garbage"] {
        let failure = refused(
            client.update_session(update(old)).await,
            Code::Aborted,
            "REVISION_MISMATCH",
        );
        assert!(failure.names(&changed.etag), "{failure:?}");
        let delete = pb::DeleteSessionRequest {
            session_id: "s".into(),
            etag: Some(old.into()),
            ..Default::default()
        };
        let failure = refused(
            client.delete_session(delete).await,
            Code::Aborted,
            "REVISION_MISMATCH",
        );
        assert!(failure.names(&changed.etag), "{failure:?}");
    }
    assert_eq!(client.session("s").await, changed);
    client.update_session(update("")).await.unwrap();
}

#[tokio::test]
async fn a_cleared_title_is_derived_anew() {
    let client = shared().await;
    client.create(full("s")).await;
    let blank = Session {
        session_id: "s".into(),
        ..Default::default()
    };
    let cleared = client.update_or(blank, &["title"]).await.unwrap();
    assert_eq!(cleared.title, "");
    let session = client
        .append("s", entries([user("A new one")]))
        .await
        .session
        .unwrap();
    assert_eq!(
        (session.title.as_str(), session.title_source()),
        ("A new one", TitleSource::Derived)
    );
    let fork = pb::fork_session_request::Point::MessageIndex(0);
    assert_eq!(
        client.fork("s", fork).await.session.unwrap().title,
        "A new one (fork 1)"
    );
}

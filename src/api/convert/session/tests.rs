//! Sessions and what is asked of them, to and from the wire.

use std::collections::BTreeMap;

use prost_types::{FieldMask, Timestamp};

use super::*;

fn limits() -> Limits {
    Limits::default()
}

fn created(session: pb::Session) -> Result<Draft, String> {
    let request = pb::CreateSessionRequest {
        session: Some(session),
        ..Default::default()
    };
    create(request, &limits())
        .map(|(_, draft)| draft)
        .map_err(|invalid| invalid.field)
}

fn updated(session: pb::Session, paths: &[&str]) -> Result<Change, String> {
    let session = pb::Session {
        session_id: "s".into(),
        ..session
    };
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = Some(FieldMask { paths });
    let request = pb::UpdateSessionRequest {
        session: Some(session),
        update_mask,
        ..Default::default()
    };
    update(request, &limits())
        .map(|(_, change, _)| change)
        .map_err(|invalid| invalid.field)
}

fn queried(request: pb::ListSessionsRequest) -> Result<query::Sessions, String> {
    query(Namespace::parse("").expect("valid"), request).map_err(|invalid| invalid.field)
}

fn titled(title: &str) -> pb::Session {
    pb::Session {
        title: title.into(),
        ..Default::default()
    }
}

#[test]
fn creates() {
    let draft = created(pb::Session {
        session_id: "ignored / and wrong".into(),
        title: " A\u{202e}B ".into(),
        workspace: " /w/./x/ ".into(),
        settings_json: "{\"n\": 1e400}".into(),
        state: pb::SessionState::Archived.into(),
        parent_session_id: "p".into(),
        ..Default::default()
    })
    .expect("valid");
    assert_eq!(draft.title.as_ref().map(Title::as_str), Some("AB"));
    assert_eq!(
        (draft.setting.workspace.as_str(), draft.archived),
        ("/w/x", Archived::Yes)
    );
    assert_eq!(draft.texts.settings_json, "{\"n\": 1e400}");
    assert_eq!(created(pb::Session::default()).map(|draft| draft.title), Ok(None));
}

#[test]
fn refuses_sessions_that_cannot_be() {
    let large = "x".repeat(1024 * 1024 + 1);
    let labels = |key: usize, value: usize, count: usize| pb::Session {
        labels: (0..count)
            .map(|n| (format!("{n:0>key$}"), "v".repeat(value)))
            .collect(),
        ..Default::default()
    };
    assert!(created(labels(64, 256, 64)).is_ok());
    for (session, field) in [
        (titled("\u{202e} "), "session.title"),
        (titled(&"é".repeat(201)), "session.title"),
        (
            pb::Session {
                state: pb::SessionState::Deleted.into(),
                ..Default::default()
            },
            "session.state",
        ),
        (
            pb::Session {
                state: 99,
                ..Default::default()
            },
            "session.state",
        ),
        (
            pb::Session {
                settings_json: "{".into(),
                ..Default::default()
            },
            "session.settings_json",
        ),
        (
            pb::Session {
                metadata_json: large.clone(),
                ..Default::default()
            },
            "session.metadata_json",
        ),
        (
            pb::Session {
                system_prompt: large,
                ..Default::default()
            },
            "session.system_prompt",
        ),
        (
            pb::Session {
                model: "m".repeat(4097),
                ..Default::default()
            },
            "session.model",
        ),
        (
            pb::Session {
                parent_session_id: "a/b".into(),
                ..Default::default()
            },
            "session.parent_session_id",
        ),
        (labels(65, 1, 1), "session.labels"),
        (labels(1, 257, 1), "session.labels"),
        (labels(2, 1, 65), "session.labels"),
    ] {
        assert_eq!(created(session).expect_err("invalid"), field);
    }
    let request = pb::CreateSessionRequest {
        session_id: Some(String::new()),
        ..Default::default()
    };
    assert_eq!(
        create(request, &limits()).expect_err("invalid").field,
        "session_id"
    );
}

#[test]
fn updates_set_what_the_mask_says() {
    let session = pb::Session {
        model: "m".into(),
        starred: true,
        ..titled("T")
    };
    let filled = updated(session.clone(), &[]).expect("valid");
    let title = Title::parse("T", "title", 200).expect("valid");
    let expected = Change {
        title: Some(Some(title)),
        model: Some("m".into()),
        starred: Some(true),
        ..Change::default()
    };
    assert_eq!(filled, expected);
    let named = updated(session.clone(), &["model", "labels"]).expect("valid");
    let expected = Change {
        model: Some("m".into()),
        labels: Some(BTreeMap::new()),
        ..Change::default()
    };
    assert_eq!(named, expected);
    let all = updated(pb::Session::default(), &["*"]).expect("valid");
    assert_eq!(
        (all.title, all.starred, all.mode, all.archived),
        (Some(None), Some(false), Some(String::new()), None)
    );
    let archived = pb::Session {
        state: pb::SessionState::Archived.into(),
        ..Default::default()
    };
    assert_eq!(
        updated(archived, &["state"]).map(|change| change.archived),
        Ok(Some(Archived::Yes))
    );
}

#[test]
fn refuses_updates_that_cannot_be() {
    for (session, paths, field) in [
        (titled(" \n"), ["title"], "session.title"),
        (titled("T"), ["labels.key"], "update_mask"),
        (titled("T"), ["revision"], "update_mask"),
        (titled("T"), ["parent_session_id"], "update_mask"),
        (titled("T"), ["state"], "session.state"),
    ] {
        assert_eq!(updated(session, &paths).expect_err("invalid"), field);
    }
    let none = pb::UpdateSessionRequest::default();
    assert_eq!(
        update(none, &limits()).expect_err("invalid").field,
        "session.session_id"
    );
}

#[test]
fn queries() {
    let all = queried(pb::ListSessionsRequest::default()).expect("valid");
    assert_eq!(
        (all.states, all.order, all.parent),
        (vec![State::Active], Order::UpdateTimeDesc, None)
    );
    let roots = queried(pb::ListSessionsRequest {
        parent_session_id: Some(String::new()),
        origin_session_id: Some(String::new()),
        title_contains: Some(String::new()),
        workspace: Some(" /a/../b/ ".into()),
        states: vec![3, 2, 3],
        order_by: Some(" title  desc ".into()),
        ..Default::default()
    })
    .expect("valid");
    assert_eq!(
        (roots.parent, roots.origin, roots.title_contains),
        (Some(None), None, None)
    );
    assert_eq!(roots.workspace.as_deref(), Some("/b"));
    assert_eq!(
        (roots.states, roots.order),
        (vec![State::Deleted, State::Archived], Order::TitleDesc)
    );
}

#[test]
fn refuses_queries_that_cannot_be() {
    let list = pb::ListSessionsRequest::default;
    let late = Some(Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    for (request, field) in [
        (
            pb::ListSessionsRequest {
                states: vec![1, 0],
                ..list()
            },
            "states",
        ),
        (
            pb::ListSessionsRequest {
                states: vec![99],
                ..list()
            },
            "states",
        ),
        (
            pb::ListSessionsRequest {
                order_by: Some("size".into()),
                ..list()
            },
            "order_by",
        ),
        (
            pb::ListSessionsRequest {
                order_by: Some("title,create_time".into()),
                ..list()
            },
            "order_by",
        ),
        (
            pb::ListSessionsRequest {
                parent_session_id: Some("a b".into()),
                ..list()
            },
            "parent_session_id",
        ),
        (
            pb::ListSessionsRequest {
                updated_after: late,
                ..list()
            },
            "updated_after",
        ),
    ] {
        assert_eq!(queried(request).expect_err("invalid"), field);
    }
}

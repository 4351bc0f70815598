//! PruneSessions and policies: what goes, what stays whatever is asked, and what a retry is told.

use crate::support::build::{asks, assistant, entry, says, system, user};
use crate::support::engine::configured;
use crate::support::failure::invalid;
use crate::support::pb::{self, PruneAction, PruneSessionsRequest, Session, SessionState};
use crate::support::{Client, Code, Wire, refused, shared, until};

/// Everything goes: whatever was updated before now.
fn everything(action: PruneAction) -> PruneSessionsRequest {
    PruneSessionsRequest {
        older_than: Some(prost_types::Duration::default()),
        action: action.into(),
        ..Default::default()
    }
}

/// All but so many of each workspace go.
fn keeping(keep: i64) -> PruneSessionsRequest {
    PruneSessionsRequest {
        keep_per_workspace: Some(keep),
        action: PruneAction::Delete.into(),
        ..Default::default()
    }
}

impl Client {
    async fn pruned(&self, request: PruneSessionsRequest) -> Vec<String> {
        let pruned = self.prune_sessions(request).await.unwrap();
        assert_eq!(pruned.session_ids.len() as u64, pruned.count);
        let mut ids = pruned.session_ids;
        ids.sort();
        ids
    }

    /// A session of a workspace, in which a user speaks.
    async fn spoken(&self, id: &str, workspace: &str) {
        self.made(id, workspace, "").await;
        self.append(id, vec![entry(user("hello"))]).await;
    }

    async fn made(&self, id: &str, workspace: &str, parent: &str) {
        self.create(Session {
            session_id: id.into(),
            workspace: workspace.into(),
            parent_session_id: parent.into(),
            ..Default::default()
        })
        .await;
    }

    async fn set(&self, id: &str, path: &str) {
        let session = Session {
            session_id: id.into(),
            starred: true,
            state: SessionState::Archived.into(),
            ..Default::default()
        };
        self.update_or(session, &[path]).await.unwrap();
    }

    /// The sessions in a state.
    async fn standing(&self, state: SessionState) -> Vec<String> {
        let request = pb::ListSessionsRequest {
            states: vec![state.into()],
            ..Default::default()
        };
        let mut ids: Vec<_> = self
            .listed(request)
            .await
            .into_iter()
            .map(|session| session.session_id)
            .collect();
        ids.sort();
        ids
    }
}

#[tokio::test]
async fn something_must_be_asked_for() {
    let client = shared().await;
    let nothing = PruneSessionsRequest {
        action: PruneAction::Delete.into(),
        ..Default::default()
    };
    invalid(client.prune_sessions(nothing.clone()).await, "older_than");
    let negative = prost_types::Duration {
        seconds: -1,
        nanos: 0,
    };
    let negative = PruneSessionsRequest {
        older_than: Some(negative),
        ..nothing.clone()
    };
    invalid(client.prune_sessions(negative).await, "older_than");
    invalid(client.prune_sessions(keeping(-1)).await, "keep_per_workspace");
    for action in [0, 9] {
        let request = PruneSessionsRequest { action, ..keeping(1) };
        invalid(client.prune_sessions(request).await, "action");
    }
}

#[tokio::test]
async fn old_ones_go_and_young_ones_stay() {
    let client = shared().await;
    client.spoken("a", "").await;
    client.spoken("b", "/w").await;
    let hour = prost_types::Duration {
        seconds: 3_600,
        nanos: 0,
    };
    let young = PruneSessionsRequest {
        older_than: Some(hour),
        ..everything(PruneAction::Delete)
    };
    assert_eq!(client.pruned(young.clone()).await, [""; 0]);
    let both = PruneSessionsRequest {
        keep_per_workspace: Some(0),
        ..young
    };
    assert_eq!(client.pruned(both).await, [""; 0], "both must hold");
    assert_eq!(client.pruned(everything(PruneAction::Delete)).await, ["a", "b"]);
    let deleted = client.session("a").await;
    assert_eq!(deleted.state(), SessionState::Deleted);
    let wait = deleted.purge_time.unwrap().seconds - deleted.delete_time.unwrap().seconds;
    assert_eq!(wait, 30 * 24 * 60 * 60, "as DeleteSession does");
    let undelete = pb::UndeleteSessionRequest {
        session_id: "a".into(),
        ..Default::default()
    };
    client.undelete_session(undelete).await.unwrap();
    assert_eq!(client.messages("a").await.len(), 1);
}

#[tokio::test]
async fn the_newest_of_each_workspace_are_kept() {
    let client = shared().await;
    for at in 0..4 {
        client.spoken(&format!("none{at}"), "").await;
        client.spoken(&format!("w{at}"), "/w/.").await;
    }
    client.made("silent", "/w", "").await;
    client
        .append(
            "silent",
            vec![entry(system("x")), entry(assistant("y")), entry(user("  "))],
        )
        .await;
    // The oldest is updated last.
    client.append("w0", vec![entry(user("again"))]).await;
    let dry = PruneSessionsRequest {
        dry_run: true,
        ..keeping(2)
    };
    let gone = ["none0", "none1", "w1", "w2"];
    assert_eq!(client.pruned(dry).await, gone);
    let all = client.standing(SessionState::Active).await;
    assert_eq!(all.len(), 9, "nothing was done");
    assert_eq!(
        client.pruned(keeping(2)).await,
        gone,
        "one in which nobody spoke takes no place"
    );
    assert_eq!(client.pruned(keeping(2)).await, [""; 0]);
    let old = PruneSessionsRequest {
        keep_per_workspace: Some(2),
        ..everything(PruneAction::Delete)
    };
    assert_eq!(client.pruned(old).await, ["silent"], "it goes for its age");
    assert_eq!(
        client.standing(SessionState::Active).await,
        ["none2", "none3", "w0", "w3"]
    );
}

#[tokio::test]
async fn archived_and_starred_ones_stay_unless_included() {
    let client = shared().await;
    for id in ["archived", "both", "plain", "starred"] {
        client.spoken(id, "").await;
    }
    for (id, path) in [
        ("archived", "state"),
        ("starred", "starred"),
        ("both", "state"),
        ("both", "starred"),
    ] {
        client.set(id, path).await;
    }
    let wanted = |starred, archived| PruneSessionsRequest {
        include_starred: starred,
        include_archived: archived,
        dry_run: true,
        ..everything(PruneAction::Delete)
    };
    assert_eq!(client.pruned(wanted(false, false)).await, ["plain"]);
    assert_eq!(client.pruned(wanted(true, false)).await, ["plain", "starred"]);
    assert_eq!(client.pruned(wanted(false, true)).await, ["archived", "plain"]);
    assert_eq!(
        client.pruned(wanted(true, true)).await,
        ["archived", "both", "plain", "starred"]
    );
    let archive = PruneSessionsRequest {
        include_archived: true,
        ..everything(PruneAction::Archive)
    };
    assert_eq!(
        client.pruned(archive).await,
        ["plain"],
        "what is archived is archived"
    );
    assert!(client.session("plain").await.archive_time.is_some());
    client.spoken("new", "").await;
    let keep = PruneSessionsRequest {
        include_archived: true,
        ..keeping(2)
    };
    assert_eq!(
        client.pruned(keep).await,
        ["archived", "plain"],
        "active ones take the places first, the starred one too"
    );
}

#[tokio::test]
async fn sub_sessions_go_and_forks_stay() {
    let client = shared().await;
    client.spoken("root", "").await;
    client.made("child", "", "root").await;
    let point = pb::fork_session_request::Point::UserMessageIndex(0);
    let fork = client.fork("root", point).await.session.unwrap().session_id;
    client.set(&fork, "starred").await;
    client.made("kept", "", "").await;
    client.made("starred-child", "", "kept").await;
    client.set("starred-child", "starred").await;
    let dry = PruneSessionsRequest {
        dry_run: true,
        ..everything(PruneAction::Delete)
    };
    assert_eq!(client.pruned(dry).await, ["child", "root"], "each is told once");
    assert_eq!(
        client.pruned(everything(PruneAction::Delete)).await,
        ["child", "root"]
    );
    assert_eq!(client.session(&fork).await.state(), SessionState::Active);
    assert_eq!(client.session("kept").await.state(), SessionState::Active);
}

#[tokio::test]
async fn a_parent_of_one_that_is_kept_is_kept() {
    let client = shared().await;
    client.spoken("root", "/other").await;
    client.made("middle", "/other", "root").await;
    client.made("leaf", "/w", "middle").await;
    client.append("leaf", vec![entry(user("hello"))]).await;
    client.spoken("loose", "/other").await;
    client.spoken("newest", "/other").await;
    assert_eq!(client.pruned(keeping(1)).await, ["loose"]);
}

#[tokio::test]
async fn what_is_in_use_stays() {
    let client = shared().await;
    let engine = Wire::attach(&client, "engine").await;
    let thread = client.open(pb::Thread::default()).await;
    client.turn(&thread, vec![asks("q"), says("a")]).await;
    let held = client.save(&thread).await.session.unwrap().session_id;
    engine.opens(&thread).await;
    assert_eq!(
        client.pruned(everything(PruneAction::Delete)).await,
        [""; 0],
        "an engine holds it"
    );
    engine.leaves().await;
    client.without("engine").await;
    let epoch = client.thread(&thread).await.epoch;
    let turn = pb::StartTurnRequest {
        thread_id: thread.clone(),
        epoch: Some(epoch),
        ..Default::default()
    };
    let turn = client.start_turn(turn).await.unwrap().turn.unwrap().turn_id;
    assert_eq!(
        client.pruned(everything(PruneAction::Archive)).await,
        [""; 0],
        "a turn runs"
    );
    client.finish(&thread, &turn).await;
    assert_eq!(client.pruned(everything(PruneAction::Archive)).await, [held]);
}

#[tokio::test]
async fn a_retry_is_told_what_the_first_call_did() {
    let client = shared().await;
    for at in 0..120 {
        client.made(&format!("s{at:03}"), "", "").await;
    }
    let named = PruneSessionsRequest {
        request_id: "prune-1".into(),
        ..everything(PruneAction::Archive)
    };
    let (one, other) = tokio::join!(
        client.prune_sessions(named.clone()),
        client.prune_sessions(named.clone())
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.count, one.session_ids.len()), (120, 120));
    assert_eq!(one, other, "a duplicate does not share the work");
    client.made("later", "", "").await;
    assert_eq!(client.prune_sessions(named.clone()).await.unwrap(), one);
    let reused = PruneSessionsRequest {
        include_starred: true,
        ..named.clone()
    };
    refused(
        client.prune_sessions(reused).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    let invalid = PruneSessionsRequest {
        older_than: None,
        ..named
    };
    refused(
        client.prune_sessions(invalid).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    assert_eq!(client.session("later").await.state(), SessionState::Active);
}

#[tokio::test]
async fn at_most_a_thousand_are_named_and_all_are_counted() {
    let client = shared().await;
    let make = |at: usize| {
        let client = client.clone();
        async move { client.made(&format!("s{at}"), "", "").await }
    };
    for chunk in (0..1_100).collect::<Vec<_>>().chunks(100) {
        futures_util::future::join_all(chunk.iter().map(|at| make(*at))).await;
    }
    let pruned = client
        .prune_sessions(everything(PruneAction::Delete))
        .await
        .unwrap();
    assert_eq!((pruned.session_ids.len(), pruned.count), (1_000, 1_100));
    assert_eq!(client.standing(SessionState::Active).await, [""; 0]);
}

#[tokio::test]
async fn a_policy_prunes_by_itself() {
    let policy = "[upkeep]\ninterval_s = 1\n[retention]\ninterval_s = 1\n\
        [retention.namespaces.scratch]\nkeep_per_workspace = 2\narchive_first = true\n";
    let server = configured(policy).await;
    let client = server.client().await;
    let scratch = client.in_namespace("scratch");
    for at in 0..5 {
        for client in [&client, &scratch] {
            client.spoken(&format!("s{at}"), "").await;
        }
    }
    until("the policy is carried out", async || {
        let archived = scratch.standing(SessionState::Archived).await;
        (archived == ["s0", "s1", "s2"]).then_some(())
    })
    .await;
    assert_eq!(scratch.standing(SessionState::Active).await, ["s3", "s4"]);
    assert_eq!(
        client.standing(SessionState::Active).await.len(),
        5,
        "others have no policy"
    );
    assert!(server.log().contains("retention"), "{}", server.log());
}

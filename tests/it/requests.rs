//! `request_id`: a retry does nothing again, and another request under the id is refused before anything else is looked
//! at.

mod mutations;

use futures_util::future::join_all;
use prost::Message as _;

use crate::support::build::{assistant, entries, user};
use crate::support::failure::invalid;
use crate::support::pb::Session;
use crate::support::pb::fork_session_request::Point;
use crate::support::raw::{field, unary};
use crate::support::{Client, Code, Server, fresh, pb, refused, shared};

use mutations::{Mutation, everything, one_of_each, removes};

#[tokio::test]
async fn a_retry_answers_the_same_and_changes_nothing_even_across_a_restart() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let mutations = one_of_each(&client).await;
    let mut answers = Vec::new();
    for mutation in &mutations {
        answers.push(mutation.send(&client).await.unwrap());
    }
    let before = everything(&client).await;
    let retry = async |client: &Client| {
        for (mutation, answer) in mutations.iter().zip(&answers) {
            match mutation.send(client).await {
                Ok(again) if removes(mutation) || again == *answer => {}
                again => panic!("{mutation:?}\nfirst answered {answer}\nand then {again:?}"),
            }
        }
        assert_eq!(everything(client).await, before);
    };
    retry(&client).await;
    server.kill();
    server.restart().await;
    retry(&server.client_of(&client).await).await;
}

#[tokio::test]
async fn the_same_id_with_another_request_is_refused_over_all_calls() {
    let client = shared().await;
    let mutations = one_of_each(&client).await;
    for mutation in &mutations {
        mutation.send(&client).await.unwrap();
    }
    let before = everything(&client).await;
    for offset in 1..mutations.len() {
        for (n, mutation) in mutations.iter().enumerate() {
            let other = &mutations[(n + offset) % mutations.len()];
            let answer = other.clone().under(&format!("request {n}")).send(&client).await;
            let reused = refused(answer, Code::InvalidArgument, "REQUEST_ID_REUSED");
            assert!(!reused.message.contains("renamed"), "{mutation:?}: {reused:?}");
        }
    }
    assert_eq!(everything(&client).await, before);
}

#[tokio::test]
async fn the_id_is_looked_up_before_every_other_check() {
    let client = shared().await;
    let session = client.holding([user("a")]).await;
    let first = pb::CreateSessionRequest {
        request_id: "once".into(),
        ..Default::default()
    };
    client.create_session(first).await.unwrap();
    let bad_session = Session {
        labels: [("k".repeat(65), String::new())].into(),
        ..Default::default()
    };
    let id = |id: &str| id.to_owned();
    for second in [
        Mutation::CreateSession(pb::CreateSessionRequest {
            session_id: Some(id("a/b")),
            ..Default::default()
        }),
        Mutation::CreateSession(pb::CreateSessionRequest {
            session: Some(bad_session),
            ..Default::default()
        }),
        Mutation::DeleteSession(pb::DeleteSessionRequest {
            session_id: id("nobody"),
            ..Default::default()
        }),
        Mutation::UpdateSession(pb::UpdateSessionRequest::default()),
        Mutation::AppendEntries(pb::AppendEntriesRequest {
            session_id: session.clone(),
            ..Default::default()
        }),
        Mutation::AppendEntries(pb::AppendEntriesRequest {
            session_id: session.clone(),
            entries: vec![pb::Entry::default()],
            ..Default::default()
        }),
        Mutation::AppendEntries(pb::AppendEntriesRequest {
            session_id: session.clone(),
            entries: entries([user("b")]),
            expected_revision: Some(77),
            ..Default::default()
        }),
        Mutation::SaveSession(pb::SaveSessionRequest {
            thread_id: id(" "),
            ..Default::default()
        }),
        Mutation::ForkSession(pb::ForkSessionRequest {
            session_id: session,
            ..Default::default()
        }),
        Mutation::StartTurn(pb::StartTurnRequest {
            thread_id: id("nobody"),
            ..Default::default()
        }),
        Mutation::FinishTurn(pb::FinishTurnRequest {
            thread_id: id("a"),
            turn_id: id("b"),
            ..Default::default()
        }),
    ] {
        let answer = second.clone().under("once").send(&client).await;
        refused(answer, Code::InvalidArgument, "REQUEST_ID_REUSED");
        let error = second.send(&client).await.unwrap_err();
        assert_ne!(crate::support::Failure::of(&error).reason, "REQUEST_ID_REUSED");
    }
}

#[tokio::test]
async fn concurrent_duplicates_have_one_effect() {
    let client = shared().await;
    let mutations = one_of_each(&client).await;
    for mutation in &mutations {
        let sent = join_all((0..12).map(|_| mutation.send(&client))).await;
        let answers: Vec<_> = sent.into_iter().map(|answer| answer.unwrap()).collect();
        if !removes(mutation) {
            assert!(
                answers.iter().all(|answer| *answer == answers[0]),
                "{mutation:?}: {answers:#?}"
            );
        }
    }
    let all = pb::ListSessionsRequest {
        states: vec![1, 2, 3],
        ..Default::default()
    };
    assert_eq!(
        client.listed(all).await.len(),
        5 + 3,
        "the ones that stayed, and a new, a saved and a forked one"
    );
}

#[tokio::test]
async fn concurrent_duplicates_on_many_connections_have_one_effect() {
    let clients = join_all((0..6).map(|_| shared())).await;
    let namespace = clients[0].namespace().to_owned();
    let id = clients[0].blank().await;
    for round in 0..20 {
        let request = pb::AppendEntriesRequest {
            namespace: namespace.clone(),
            session_id: id.clone(),
            entries: entries([user("a")]),
            request_id: format!("round {round}"),
            ..Default::default()
        };
        let answers = join_all(
            clients
                .iter()
                .map(|client| client.append_entries(request.clone())),
        )
        .await;
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!(
                (answer.first_seq, answer.last_seq, answer.entries_added),
                (round + 1, round + 1, 1)
            );
        }
    }
    assert_eq!(clients[0].entries(&id).await.len(), 20);
}

#[tokio::test]
async fn only_successful_calls_are_remembered() {
    let client = shared().await;
    let append = pb::AppendEntriesRequest {
        session_id: "later".into(),
        entries: entries([user("a")]),
        request_id: "again".into(),
        ..Default::default()
    };
    refused(
        client.append_entries(append.clone()).await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
    client
        .create(Session {
            session_id: "later".into(),
            ..Default::default()
        })
        .await;
    let wrong = pb::AppendEntriesRequest {
        expected_revision: Some(9),
        ..append.clone()
    };
    refused(
        client.append_entries(wrong).await,
        Code::Aborted,
        "REVISION_MISMATCH",
    );
    assert_eq!(client.append_entries(append.clone()).await.unwrap().last_seq, 1);
    assert_eq!(client.append_entries(append).await.unwrap().last_seq, 1);
    assert_eq!(client.session("later").await.entry_count, 1);
}

#[tokio::test]
async fn a_retry_shows_the_resource_as_it_stands_now() {
    let client = shared().await;
    let id = client.blank().await;
    let append = pb::AppendEntriesRequest {
        session_id: id.clone(),
        entries: entries([user("a"), assistant("b")]),
        request_id: fresh("r"),
        ..Default::default()
    };
    let first = client.append_entries(append.clone()).await.unwrap();
    client.append(&id, entries([user("c")])).await;
    let again = client.append_entries(append.clone()).await.unwrap();
    assert_eq!((again.first_seq, again.last_seq, again.entries_added), (1, 2, 2));
    assert_eq!(first.session.unwrap().entry_count, 2);
    assert_eq!(again.session.unwrap(), client.session(&id).await);

    client.delete(&id).await;
    let late = client.append_entries(append).await.unwrap();
    assert_eq!((late.first_seq, late.last_seq), (1, 2));
    assert_eq!(
        late.session.unwrap().state(),
        pb::SessionState::Deleted,
        "the retry is no new write"
    );
}

#[tokio::test]
async fn a_forks_retry_names_the_same_fork_and_message() {
    let client = shared().await;
    let id = client.holding([user("a"), assistant("b"), user("c")]).await;
    let fork = pb::ForkSessionRequest {
        session_id: id.clone(),
        point: Some(Point::TurnsFromEnd(0)),
        request_id: fresh("r"),
        ..Default::default()
    };
    let first = client.fork_session(fork.clone()).await.unwrap();
    client.append(&id, entries([user("d")])).await;
    assert_eq!(client.fork_session(fork).await.unwrap(), first);
}

#[tokio::test]
async fn the_scope_is_the_namespace() {
    let (one, other) = (shared().await, shared().await);
    let create = pb::CreateSessionRequest {
        request_id: "same".into(),
        ..Default::default()
    };
    let mine = one.create_session(create.clone()).await.unwrap().session.unwrap();
    let theirs = other.create_session(create).await.unwrap().session.unwrap();
    assert_ne!(mine.session_id, theirs.session_id);
    assert_eq!(
        (mine.namespace.as_str(), theirs.namespace.as_str()),
        (one.namespace(), other.namespace())
    );
}

#[tokio::test]
async fn the_order_of_a_map_does_not_make_another_request() {
    let client = shared().await;
    let label = |key: &str| field(12, [field(1, key), field(2, "v")].concat());
    let wire = |labels: [&str; 3]| {
        let namespace = field(1, client.namespace());
        let session = field(3, labels.map(label).concat());
        [namespace, session, field(15, "with labels")].concat()
    };
    let first = unary(&client, "SessionService/CreateSession", wire(["a", "b", "c"]))
        .await
        .unwrap();
    let again = unary(&client, "SessionService/CreateSession", wire(["c", "a", "b"]))
        .await
        .unwrap();
    assert_eq!(first, again);
    let other = unary(&client, "SessionService/CreateSession", wire(["c", "a", "d"])).await;
    refused(other, Code::InvalidArgument, "REQUEST_ID_REUSED");
    assert_eq!(
        pb::CreateSessionResponse::decode(first)
            .unwrap()
            .session
            .unwrap()
            .labels
            .len(),
        3
    );
}

#[tokio::test]
async fn content_makes_another_request() {
    let client = shared().await;
    let id = client.blank().await;
    let append = |said: &str| pb::AppendEntriesRequest {
        session_id: id.clone(),
        entries: entries([user(said)]),
        request_id: "one".into(),
        ..Default::default()
    };
    client.append_entries(append("a")).await.unwrap();
    refused(
        client.append_entries(append("b")).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    assert_eq!(client.session(&id).await.entry_count, 1);
}

#[tokio::test]
async fn a_request_id_holds_no_control_characters() {
    let client = shared().await;
    let create = pb::CreateSessionRequest {
        request_id: "a\nb".into(),
        ..Default::default()
    };
    invalid(client.create_session(create).await, "request_id");
}

//! ForkSession: what a fork holds, what it is called, and that neither side sees the other again.

mod points;
mod titles;

use crate::support::build::{assistant, checkpoint, entries, entry, event, named, system, talk, usage, user};
use crate::support::failure::invalid;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    Entry, ForkSessionRequest, ListEntriesRequest, Origin, Session, SessionState, TitleSource,
};
use crate::support::{Client, Code, pb, refused, shared};

fn costing(n: u64, message: pb::Message) -> pb::Message {
    pb::Message {
        usage: Some(usage(n)),
        ..message
    }
}

/// A session with everything that a log may hold: four visible messages, the third of them the second user message.
async fn mixed(client: &Client, facts: Session) -> Session {
    let id = client.create(facts).await.session_id;
    let log = vec![
        entry(system("rules")),
        entry(costing(1, user("first"))),
        entry(costing(2, assistant("answer"))),
        event("{}"),
        checkpoint(vec![user("in short")]),
        entry(system("more rules")),
        entry(costing(4, named("cut", user("second")))),
        entry(costing(8, assistant("last"))),
    ];
    client.append(&id, log).await.session.unwrap()
}

#[tokio::test]
async fn a_fork_holds_what_came_before_the_cut() {
    let client = shared().await;
    let parent = mixed(&client, Session::default()).await;
    let all = client.entries(&parent.session_id).await;
    let forked = client.fork(&parent.session_id, Point::MessageIndex(2)).await;
    let fork = forked.session.unwrap();
    assert_eq!(
        forked.removed_message.unwrap(),
        client.messages(&parent.session_id).await[2]
    );

    assert_eq!(
        client.entries(&fork.session_id).await,
        all[..6],
        "ids, seqs and times stay"
    );
    assert_eq!(
        talk(&client.messages(&fork.session_id).await),
        ["user: first", "assistant: answer"]
    );
    assert_eq!(
        talk(&client.context(&fork.session_id).await),
        ["user: in short", "system: more rules"]
    );
    assert_eq!((fork.entry_count, fork.message_count, fork.revision), (6, 2, 1));
    assert_eq!(
        (fork.has_user_interaction, fork.preview.as_str()),
        (true, "first")
    );
    assert_eq!(
        fork.usage.unwrap(),
        pb::Usage {
            cost_micros: 0,
            ..usage(3)
        }
    );
    let origin = Origin {
        session_id: parent.session_id.clone(),
        entry_seq: 6,
        message_count: 2,
        root_session_id: parent.session_id.clone(),
        depth: 1,
    };
    assert_eq!(fork.origin, Some(origin));
    assert_eq!(client.session(&fork.session_id).await, fork);
    assert_eq!(client.session(&parent.session_id).await, parent);
}

#[tokio::test]
async fn a_fork_before_the_first_message_has_none() {
    let client = shared().await;
    let id = client.holding([user("first"), assistant("answer")]).await;
    let fork = client.fork(&id, Point::MessageIndex(0)).await.session.unwrap();
    assert_eq!(
        (fork.entry_count, fork.message_count, fork.has_user_interaction),
        (0, 0, false)
    );
    assert_eq!(
        (fork.preview.as_str(), fork.origin.clone().unwrap().entry_seq),
        ("", 0)
    );
    let appended = client.append(&fork.session_id, entries([user("instead")])).await;
    assert_eq!((appended.first_seq, appended.session.unwrap().revision), (1, 2));
}

#[tokio::test]
async fn some_facts_are_copied_and_some_are_not() {
    let client = shared().await;
    let facts = Session {
        title: "Mine".into(),
        workspace: "/w".into(),
        provider: "p".into(),
        endpoint: "e".into(),
        model: "m".into(),
        mode: "agent".into(),
        task_type: "t".into(),
        system_prompt: "s".into(),
        labels: [("a".into(), "b".into())].into(),
        settings_json: "[1e400]".into(),
        metadata_json: "{}".into(),
        starred: true,
        ..Default::default()
    };
    let parent = mixed(&client, facts).await;
    let archived = Session {
        session_id: parent.session_id.clone(),
        state: SessionState::Archived.into(),
        ..Default::default()
    };
    let parent = client.update_or(archived, &["state"]).await.unwrap();
    let fork = client
        .fork(&parent.session_id, Point::MessageIndex(2))
        .await
        .session
        .unwrap();
    let expected = Session {
        session_id: fork.session_id.clone(),
        title: "Mine (fork 1)".into(),
        title_source: TitleSource::Derived.into(),
        metadata_json: String::new(),
        starred: false,
        state: SessionState::Active.into(),
        archive_time: None,
        usage: Some(pb::Usage {
            cost_micros: 0,
            ..usage(3)
        }),
        message_count: 2,
        entry_count: 6,
        revision: 1,
        etag: fork.etag.clone(),
        origin: fork.origin.clone(),
        preview: "first".into(),
        create_time: fork.create_time,
        update_time: fork.update_time,
        ..parent.clone()
    };
    assert_eq!(fork, expected);
    assert!(fork.create_time.unwrap().seconds >= parent.create_time.unwrap().seconds);
}

#[tokio::test]
async fn the_cost_of_a_fork_is_its_own() {
    let client = shared().await;
    let parent = mixed(&client, Session::default()).await;
    let fork = client
        .fork(&parent.session_id, Point::MessageIndex(2))
        .await
        .session
        .unwrap()
        .session_id;
    let spent = client
        .append(&fork, entries([costing(10, user("x"))]))
        .await
        .session
        .unwrap();
    assert_eq!(
        spent.usage.unwrap(),
        pb::Usage {
            cost_micros: 60,
            ..usage(13)
        }
    );
    let deeper = client
        .fork(&fork, Point::UserMessageIndex(1))
        .await
        .session
        .unwrap();
    assert_eq!(
        deeper.usage.unwrap(),
        pb::Usage {
            cost_micros: 0,
            ..usage(3)
        }
    );
}

#[tokio::test]
async fn later_changes_never_show_on_the_other_side() {
    let client = shared().await;
    let parent = mixed(
        &client,
        Session {
            title: "Mine".into(),
            ..Default::default()
        },
    )
    .await;
    let fork = client
        .fork(&parent.session_id, Point::MessageIndex(2))
        .await
        .session
        .unwrap();
    let (of_parent, of_fork) = (
        client.entries(&parent.session_id).await,
        client.entries(&fork.session_id).await,
    );

    client
        .append(
            &fork.session_id,
            entries([named("cut", user("mine")), assistant("own")]),
        )
        .await;
    let renamed = Session {
        session_id: fork.session_id.clone(),
        title: "Other".into(),
        ..Default::default()
    };
    client.update_or(renamed, &["title"]).await.unwrap();
    assert_eq!(client.entries(&parent.session_id).await, of_parent);
    assert_eq!(client.session(&parent.session_id).await, parent);

    client
        .append(&parent.session_id, vec![checkpoint(vec![]), entry(user("more"))])
        .await;
    let fork_entries = client.entries(&fork.session_id).await;
    assert_eq!(fork_entries[..6], of_fork);
    assert_eq!(
        fork_entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        (1..=8).collect::<Vec<_>>()
    );
    let said = ["user: first", "assistant: answer", "user: mine", "assistant: own"];
    assert_eq!(talk(&client.messages(&fork.session_id).await), said);
}

#[tokio::test]
async fn forks_of_forks_know_their_root() {
    let client = shared().await;
    let root = client.holding([user("0"), assistant("0")]).await;
    let mut id = root.clone();
    for depth in 1..=20u32 {
        client
            .append(&id, entries([user(&format!("to be cut {depth}"))]))
            .await;
        let fork = client.fork(&id, Point::TurnsFromEnd(0)).await.session.unwrap();
        let origin = fork.origin.clone().unwrap();
        assert_eq!(
            (origin.session_id.as_str(), origin.root_session_id.as_str()),
            (id.as_str(), root.as_str())
        );
        assert_eq!((origin.depth, origin.entry_seq), (depth, u64::from(depth) + 1));
        id = fork.session_id;
        client.append(&id, entries([assistant(&depth.to_string())])).await;
    }
    let expected: Vec<_> = ["user: 0".to_owned()]
        .into_iter()
        .chain((0..=20).map(|n| format!("assistant: {n}")))
        .collect();
    assert_eq!(talk(&client.messages(&id).await), expected);
    let mut paged = Vec::new();
    let mut request = ListEntriesRequest {
        session_id: id.clone(),
        newest: true,
        page_size: 3,
        ..Default::default()
    };
    loop {
        let page = client.list_entries(request.clone()).await.unwrap();
        paged.splice(0..0, page.entries);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(
        paged,
        client.entries(&id).await,
        "pages from the end cross every cut"
    );
}

#[tokio::test]
async fn a_given_id_and_title_are_taken() {
    let client = shared().await;
    let id = client.holding([user("a")]).await;
    let request = |new_id: &str, title: &str| ForkSessionRequest {
        session_id: id.clone(),
        point: Some(Point::MessageIndex(0)),
        new_session_id: Some(new_id.into()),
        title: Some(title.into()),
        ..Default::default()
    };
    let fork = client
        .fork_session(request(" mine ", " My\u{7} title "))
        .await
        .unwrap()
        .session
        .unwrap();
    assert_eq!(
        (fork.session_id.as_str(), fork.title.as_str()),
        ("mine", "My title")
    );
    assert_eq!(fork.title_source(), TitleSource::User);
    for taken in ["mine", &id] {
        refused(
            client.fork_session(request(taken, "x")).await,
            Code::AlreadyExists,
            "ALREADY_EXISTS",
        );
    }
    invalid(client.fork_session(request("other", " ")).await, "title");
    let long = client.fork_session(request("other", &"é".repeat(201))).await;
    refused(long, Code::InvalidArgument, "LIMIT_EXCEEDED");
    refused(
        client.session_or("other").await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
}

#[tokio::test]
async fn sub_sessions_are_not_forked_along() {
    let client = shared().await;
    let root = client.holding([user("a"), assistant("b"), user("c")]).await;
    let sub = Session {
        session_id: "sub".into(),
        parent_session_id: root.clone(),
        ..Default::default()
    };
    client.create(sub).await;
    client
        .append("sub", entries([user("x"), assistant("y"), user("z")]))
        .await;
    let fork = client
        .fork(&root, Point::UserMessageIndex(1))
        .await
        .session
        .unwrap();
    let children = pb::ListSessionsRequest {
        parent_session_id: Some(fork.session_id),
        ..Default::default()
    };
    assert_eq!(client.listed(children).await, []);
    let of_sub = client
        .fork("sub", Point::UserMessageIndex(1))
        .await
        .session
        .unwrap();
    assert_eq!(of_sub.message_count, 2);
    assert_eq!(of_sub.origin.unwrap().session_id, "sub");
}

#[tokio::test]
async fn an_entry_known_to_the_parent_alone_is_new_to_the_fork() {
    let client = shared().await;
    let id = client
        .holding([named("a", user("a")), named("b", user("b"))])
        .await;
    let fork = client
        .fork(&id, Point::MessageIndex(1))
        .await
        .session
        .unwrap()
        .session_id;
    let given: Vec<Entry> = entries([named("a", user("x")), named("b", user("mine"))]);
    let appended = client.append(&fork, given).await;
    assert_eq!(
        (appended.first_seq, appended.last_seq, appended.entries_added),
        (1, 2, 1)
    );
    assert_eq!(talk(&client.messages(&fork).await), ["user: a", "user: mine"]);
}

#[tokio::test]
async fn a_long_line_of_forks_reads_like_any_session() {
    const FORKS: usize = 80;
    let client = shared().await;
    let mut id = client.holding([user("0"), user("cut")]).await;
    for n in 1..=FORKS {
        id = client
            .fork(&id, Point::TurnsFromEnd(0))
            .await
            .session
            .unwrap()
            .session_id;
        client
            .append(&id, entries([user(&n.to_string()), user("cut")]))
            .await;
    }
    let expected: Vec<_> = (0..=FORKS)
        .map(|n| format!("user: {n}"))
        .chain(["user: cut".into()])
        .collect();
    assert_eq!(talk(&client.messages(&id).await), expected);
    assert_eq!(talk(&client.context(&id).await), expected);
    let middle = client.fork(&id, Point::UserMessageIndex(40)).await;
    assert_eq!(talk(&[middle.removed_message.unwrap()]), ["user: 40"]);
    assert_eq!(
        talk(&client.messages(&middle.session.unwrap().session_id).await),
        expected[..40]
    );
}

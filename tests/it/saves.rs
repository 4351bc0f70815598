//! SaveSession: which session a thread is saved to, when that is refused, and that saving again adds what came since.

mod rebuild;
mod refusals;

use crate::support::build::{asks, assistant, entries, says, talk, usage, user};
use crate::support::failure::invalid;
use crate::support::pb::fork_session_request::Point;
use crate::support::pb::{
    DeleteSessionRequest, FinishTurnRequest, SaveSessionRequest, SaveSessionResponse, Session, Thread,
    TitleSource, TurnStatus,
};
use crate::support::{Client, Code, Status, refused, shared};

async fn save_to(client: &Client, thread: &str, session: &str) -> Result<SaveSessionResponse, Status> {
    let request = SaveSessionRequest {
        thread_id: thread.into(),
        session_id: Some(session.into()),
        ..Default::default()
    };
    client.save_session(request).await
}

async fn save_as(client: &Client, thread: &str, title: &str) -> Session {
    let request = SaveSessionRequest {
        thread_id: thread.into(),
        title: Some(title.into()),
        ..Default::default()
    };
    client.save_session(request).await.unwrap().session.unwrap()
}

#[tokio::test]
async fn the_first_save_makes_the_threads_session() {
    let client = shared().await;
    let facts = Thread {
        workspace: "/w".into(),
        provider: "p".into(),
        endpoint: "e".into(),
        model: "m".into(),
        mode: "agent".into(),
        task_type: "t".into(),
        system_prompt: "s".into(),
        labels: [("a".into(), "b".into())].into(),
        settings_json: "[1e400]".into(),
        ..Default::default()
    };
    let thread = client.open(facts.clone()).await;
    let turn_id = client.start(&thread).await;
    client
        .add(&thread, &turn_id, vec![asks("What now?"), says("This.")])
        .await;
    let finish = FinishTurnRequest {
        thread_id: thread.clone(),
        turn_id: turn_id.clone(),
        status: TurnStatus::Completed.into(),
        usage: Some(usage(5)),
        ..Default::default()
    };
    client.finish_turn(finish).await.unwrap();

    let saved = client.save(&thread).await;
    assert_eq!((saved.created, saved.message_count), (true, 2));
    let session = saved.session.unwrap();
    let kept = |s: &Session| {
        let texts = [
            &s.workspace,
            &s.provider,
            &s.endpoint,
            &s.model,
            &s.mode,
            &s.task_type,
            &s.system_prompt,
        ];
        (
            texts.map(String::clone),
            s.labels.clone(),
            s.settings_json.clone(),
        )
    };
    let expected = Session {
        workspace: facts.workspace,
        provider: facts.provider,
        endpoint: facts.endpoint,
        model: facts.model,
        mode: facts.mode,
        task_type: facts.task_type,
        system_prompt: facts.system_prompt,
        labels: facts.labels,
        settings_json: facts.settings_json,
        ..Default::default()
    };
    assert_eq!(kept(&session), kept(&expected));
    assert_eq!(
        (session.title.as_str(), session.title_source()),
        ("What now?", TitleSource::Derived)
    );
    assert_eq!(
        (
            session.thread_id.as_str(),
            session.revision,
            session.message_count
        ),
        (thread.as_str(), 1, 2)
    );
    assert_eq!(
        (session.usage, session.preview.as_str()),
        (Some(usage(5)), "What now?")
    );
    assert_eq!(
        (session.has_user_interaction, session.origin.clone()),
        (true, None)
    );
    assert_eq!(client.session(&session.session_id).await, session);
    assert_eq!(client.thread(&thread).await.session_id, session.session_id);

    let messages = client.messages(&session.session_id).await;
    assert_eq!(talk(&messages), ["user: What now?", "assistant: This."]);
    assert!(
        messages
            .iter()
            .all(|message| message.turn_id == turn_id && message.create_time.is_some())
    );
    assert_eq!(
        (messages[0].usage, messages[1].usage),
        (None, Some(usage(5))),
        "on the turn's last message"
    );
}

#[tokio::test]
async fn a_later_save_adds_what_came_since() {
    let client = shared().await;
    let thread = client.running(vec![asks("1"), says("2")]).await;
    let first = client.save(&thread).await.session.unwrap();
    let before = client.entries(&first.session_id).await;

    let again = client.save(&thread).await;
    assert_eq!((again.created, again.message_count), (false, 2));
    assert_eq!(again.session.unwrap(), first, "nothing new changes nothing");

    client.turn(&thread, vec![asks("3"), says("4")]).await;
    client.turn(&thread, vec![asks("5")]).await;
    let later = client.save(&thread).await;
    assert_eq!((later.created, later.message_count), (false, 5));
    let session = later.session.unwrap();
    assert_eq!((&session.session_id, session.revision), (&first.session_id, 2));
    let after = client.entries(&first.session_id).await;
    assert_eq!(after[..2], before);
    assert_eq!(
        after.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert_eq!(session.title, "1");
}

#[tokio::test]
async fn a_session_id_names_a_new_session_or_picks_one() {
    let client = shared().await;
    let thread = client.running(vec![asks("1"), says("2")]).await;
    let new = save_to(&client, &thread, "new").await.unwrap();
    assert_eq!(
        (new.created, new.session.unwrap().session_id.as_str()),
        (true, "new")
    );
    let again = save_to(&client, &thread, "new").await.unwrap();
    assert_eq!((again.created, again.message_count), (false, 2));

    let titled = Session {
        session_id: "empty".into(),
        title: "Mine".into(),
        ..Default::default()
    };
    let made = client.create(titled).await;
    let filled = save_to(&client, &thread, "empty").await.unwrap();
    assert_eq!((filled.created, filled.message_count), (false, 2));
    let session = filled.session.unwrap();
    assert_eq!(
        (session.title.as_str(), session.create_time),
        ("Mine", made.create_time)
    );
    assert_eq!(session.thread_id, thread);

    client.turn(&thread, vec![asks("3")]).await;
    let both = [
        save_to(&client, &thread, "new").await.unwrap(),
        save_to(&client, &thread, "empty").await.unwrap(),
    ];
    assert!(
        both.iter()
            .all(|saved| !saved.created && saved.message_count == 3),
        "{both:?}"
    );
    assert_eq!(
        talk(&client.messages("new").await),
        talk(&client.messages("empty").await)
    );
}

#[tokio::test]
async fn a_title_is_given_or_the_threads_or_derived() {
    let client = shared().await;
    let thread = client.running(vec![asks("Derived\nfrom this")]).await;
    let derived = client.save(&thread).await.session.unwrap();
    assert_eq!(
        (derived.title.as_str(), derived.title_source()),
        ("Derived", TitleSource::Derived)
    );
    let named = save_as(&client, &thread, " Named\u{7} ").await;
    assert_eq!(
        (named.title.as_str(), named.title_source()),
        ("Named", TitleSource::User)
    );
    assert_eq!(
        (named.revision, named.session_id.as_str()),
        (1, derived.session_id.as_str())
    );
    assert_ne!(named.etag, derived.etag);
    assert_eq!(
        client.save(&thread).await.session.unwrap(),
        named,
        "it stays without a title"
    );
    assert_eq!(save_as(&client, &thread, "Renamed").await.title, "Renamed");
    let blank = SaveSessionRequest {
        thread_id: thread,
        title: Some("\u{202e}".into()),
        ..Default::default()
    };
    invalid(client.save_session(blank).await, "title");

    let titled = client
        .open(Thread {
            title: "The thread's".into(),
            ..Default::default()
        })
        .await;
    client.turn(&titled, vec![asks("something")]).await;
    assert_eq!(client.save(&titled).await.session.unwrap().title, "The thread's");
    let silent = client.running(vec![says("only me")]).await;
    assert_eq!(client.save(&silent).await.session.unwrap().title, "New Session");
    client.turn(&silent, vec![asks("A question at last")]).await;
    assert_eq!(
        client.save(&silent).await.session.unwrap().title,
        "A question at last"
    );
}

#[tokio::test]
async fn concurrent_saves_make_one_session() {
    let client = shared().await;
    let thread = client
        .running((0..40).map(|n| asks(&n.to_string())).collect())
        .await;
    let saves = futures_util::future::join_all((0..12).map(|_| client.save_or(&thread))).await;
    let mut ids = std::collections::HashSet::new();
    let mut created = 0;
    for saved in saves {
        match saved {
            Ok(saved) => {
                assert_eq!(saved.message_count, 40);
                created += usize::from(saved.created);
                ids.insert(saved.session.unwrap().session_id);
            }
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status:?}"),
        }
    }
    assert_eq!((created, ids.len()), (1, 1));
    assert_eq!(client.listed(Default::default()).await.len(), 1);
}

#[tokio::test]
async fn a_fork_of_a_saved_session_goes_its_own_way() {
    let client = shared().await;
    let thread = client.running(vec![asks("1"), says("2"), asks("3")]).await;
    let session = client.save(&thread).await.session.unwrap().session_id;
    let fork = client
        .fork(&session, Point::TurnsFromEnd(0))
        .await
        .session
        .unwrap();
    assert_eq!(fork.thread_id, "");
    client
        .append(
            &fork.session_id,
            entries([user("another question"), assistant("x")]),
        )
        .await;
    client.turn(&thread, vec![asks("4")]).await;
    assert_eq!(client.save(&thread).await.message_count, 4);
    let forked = client.messages(&fork.session_id).await;
    assert_eq!(
        talk(&forked),
        [
            "user: 1",
            "assistant: 2",
            "user: another question",
            "assistant: x"
        ]
    );
}

#[tokio::test]
async fn a_thread_whose_session_is_gone_is_saved_anew() {
    let client = shared().await;
    let thread = client.running(vec![asks("1"), says("2")]).await;
    let session = client.save(&thread).await.session.unwrap().session_id;
    client.delete(&session).await;
    refused(
        client.save_or(&thread).await,
        Code::FailedPrecondition,
        "SESSION_DELETED",
    );
    let purge = DeleteSessionRequest {
        session_id: session.clone(),
        force: true,
        ..Default::default()
    };
    client.delete_session(purge).await.unwrap();
    assert_eq!(client.thread(&thread).await.session_id, "");
    let anew = client.save(&thread).await;
    assert_eq!((anew.created, anew.message_count), (true, 2));
    let named = save_to(&client, &thread, &session).await.unwrap();
    assert_eq!((named.created, named.message_count), (true, 2));
}

#[tokio::test]
async fn a_large_thread_is_saved_and_goes_on() {
    const ITEMS: usize = 3_000;
    let client = shared().await;
    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    let items = (0..ITEMS).map(|n| {
        if n % 2 == 0 {
            asks(&n.to_string())
        } else {
            says(&n.to_string())
        }
    });
    client.add(&thread, &turn, items.collect()).await;
    client.finish(&thread, &turn).await;
    let saved = client.save(&thread).await;
    let session = saved.session.unwrap();
    assert_eq!(
        (saved.created, saved.message_count, session.revision),
        (true, ITEMS as u64, 1)
    );
    let next = (ITEMS - 1).to_string();
    assert_eq!(
        (session.title.as_str(), session.preview.as_str()),
        ("0", (ITEMS - 2).to_string().as_str())
    );

    client.turn(&thread, vec![asks("one more"), says("turn")]).await;
    let again = client.save(&thread).await;
    assert_eq!((again.created, again.message_count), (false, ITEMS as u64 + 2));
    let entries = client.entries(&session.session_id).await;
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
    let messages = client.messages(&session.session_id).await;
    let expected: Vec<_> = (0..ITEMS)
        .map(|n| {
            if n % 2 == 0 {
                format!("user: {n}")
            } else {
                format!("assistant: {n}")
            }
        })
        .chain(["user: one more".into(), "assistant: turn".into()])
        .collect();
    assert_eq!(talk(&messages), expected);
    assert_eq!(messages[ITEMS - 1].content, [crate::support::build::text(&next)]);

    let more = (0..ITEMS).map(|n| asks(&format!("later {n}")));
    let turn = client.start(&thread).await;
    client.add(&thread, &turn, more.collect()).await;
    client.finish(&thread, &turn).await;
    let last = client.save(&thread).await;
    assert_eq!((last.created, last.message_count), (false, 2 * ITEMS as u64 + 2));
    assert_eq!(
        last.session.unwrap().revision,
        3,
        "a large addition is one commit too"
    );
    assert_eq!(client.entries(&session.session_id).await.len(), 2 * ITEMS + 2);
}

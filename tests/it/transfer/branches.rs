//! Imports of what is there already: nothing twice, what is new at the end, and a fork where the ways part.

use crate::support::build::{assistant, entries, named, user};
use crate::support::pb::{ImportHeader, ListSessionsRequest, Session};
use crate::support::transfer::{header, import_or, imported, jsonl, lines, problems, sum, with_facts};
use crate::support::{Code, refused, shared};

use super::talk_of;

#[tokio::test]
async fn the_same_file_again_adds_nothing() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 4).await;
    let text = jsonl(&client, &id).await;
    imported(&elsewhere, &text).await;
    let before = elsewhere.session(&id).await;
    let again = imported(&elsewhere, &text).await;
    assert_eq!(sum(&again), (vec![id.clone()], 0, 4));
    // A part of what is there is nothing new either.
    let start = imported(&elsewhere, &lines(&text, 0..3)).await;
    assert_eq!(sum(&start), (vec![id.clone()], 0, 2));
    assert_eq!(elsewhere.session(&id).await, before);
}

#[tokio::test]
async fn a_longer_version_goes_on() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 3).await;
    imported(&elsewhere, &jsonl(&client, &id).await).await;
    let (before, first) = (elsewhere.session(&id).await, elsewhere.entries(&id).await);
    client
        .append(
            &id,
            entries([named("m3", assistant("more")), named("m4", user("and more"))]),
        )
        .await;
    let longer = jsonl(&client, &id).await;
    let answer = imported(&elsewhere, &longer).await;
    assert_eq!(sum(&answer), (vec![id.clone()], 2, 3));
    let after = elsewhere.session(&id).await;
    assert_eq!(after.revision, before.revision + 1);
    assert_eq!(after.preview, "and more");
    assert_eq!(elsewhere.entries(&id).await[..3], first);
    assert_eq!(jsonl(&elsewhere, &id).await, longer);
    assert_eq!(sum(&imported(&elsewhere, &longer).await), (vec![id], 0, 5));
}

#[tokio::test]
async fn another_way_is_a_fork() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 4).await;
    let text = jsonl(&client, &id).await;
    imported(&elsewhere, &text).await;
    let before = elsewhere.session(&id).await;

    // The last entry says something else, under the same id.
    let other = talk_with(&client, &id, 3, "another 3").await;
    let answer = imported(&elsewhere, &other).await;
    let (ids, added, skipped) = sum(&answer);
    assert_eq!((added, skipped), (1, 3));
    let fork = elsewhere.session(&ids[0]).await;
    assert_ne!(fork.session_id, id);
    let origin = fork.origin.clone().unwrap();
    assert_eq!((origin.session_id.as_str(), origin.entry_seq), (id.as_str(), 3));
    assert_eq!((origin.message_count, origin.depth), (3, 1));
    assert_eq!(fork.title, format!("{} (fork 1)", before.title));
    assert_eq!(elsewhere.session(&id).await, before, "nothing is rewritten");
    assert_eq!(elsewhere.messages(&ids[0]).await.len(), 4);

    // Both ways are known from now on.
    assert_eq!(sum(&imported(&elsewhere, &text).await), (vec![id.clone()], 0, 4));
    assert_eq!(sum(&imported(&elsewhere, &other).await), (ids.clone(), 0, 4));
    let all = elsewhere.listed(ListSessionsRequest::default()).await;
    assert_eq!(all.len(), 2);

    // And either goes on where it ends.
    let longer = talk_with(&client, &id, 4, "a fifth").await;
    let goes_on = imported(&elsewhere, &longer).await;
    assert_eq!(sum(&goes_on), (vec![id.clone()], 1, 4));

    // An entry that is missing where the session has others is another way too.
    let gap = imported(&elsewhere, &lines(&text, [0, 1, 3, 4])).await;
    let (ids, added, skipped) = sum(&gap);
    assert_eq!((added, skipped), (2, 1));
    let origin = elsewhere.session(&ids[0]).await.origin.unwrap();
    assert_eq!((origin.session_id, origin.entry_seq), (id, 1));
}

/// The text of a session whose first entries are those of `id`, and whose last is something else.
async fn talk_with(client: &crate::support::Client, id: &str, kept: usize, last: &str) -> String {
    let text = jsonl(client, id).await;
    let other = client.blank().await;
    let message = if kept.is_multiple_of(2) {
        user(last)
    } else {
        assistant(last)
    };
    client
        .append(&other, entries([named(&format!("m{kept}"), message)]))
        .await;
    let line =
        lines(&jsonl(client, &other).await, [1]).replacen("\"seq\":1,", &format!("\"seq\":{},", kept + 1), 1);
    format!("{}{line}", lines(&text, 0..=kept))
}

#[tokio::test]
async fn what_was_said_here_meanwhile_is_kept() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 2).await;
    imported(&elsewhere, &jsonl(&client, &id).await).await;
    elsewhere.append(&id, entries([user("said here")])).await;
    let before = elsewhere.session(&id).await;
    client.append(&id, entries([user("said there")])).await;
    let answer = imported(&elsewhere, &jsonl(&client, &id).await).await;
    let (ids, added, skipped) = sum(&answer);
    assert_eq!((added, skipped), (1, 2));
    assert_ne!(ids[0], id);
    assert_eq!(elsewhere.session(&id).await, before);
    assert_eq!(elsewhere.session(&ids[0]).await.preview, "said there");
    // A fork off something that has nothing in common shares nothing.
    let strange =
        lines(&jsonl(&client, &talk_of(&client, 1).await).await, [1]).replace("\"seq\":1", "\"seq\":9");
    let header_line = lines(&jsonl(&client, &id).await, [0]);
    let apart = format!("{header_line}{}", strange.replace("m0", "z0"));
    let answer = imported(&elsewhere, &apart).await;
    assert_eq!(problems(&answer).len(), 1, "its id is not the one in the body");
}

#[tokio::test]
async fn a_session_from_elsewhere_is_left_alone() {
    let client = shared().await;
    let id = talk_of(&client, 2).await;
    let text = jsonl(&client, &id).await;
    let answer = import_or(&client, header(), &text).await;
    assert!(refused(answer, Code::AlreadyExists, "ALREADY_EXISTS").names(&id));
    let named = ImportHeader {
        session_id: Some("taken".into()),
        ..header()
    };
    client
        .create(Session {
            session_id: "taken".into(),
            ..Default::default()
        })
        .await;
    refused(
        import_or(&client, named, &text).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    // Nothing of a text is kept if one of its sessions cannot be.
    let other = with_facts(&text, |facts| facts["session_id"] = "fine".into());
    let both = format!("{other}{text}");
    refused(
        import_or(&client, header(), &both).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    refused(
        client.session_or("fine").await,
        Code::NotFound,
        "SESSION_NOT_FOUND",
    );
}

#[tokio::test]
async fn a_source_is_what_a_transcript_is_found_by() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 2).await;
    let text = jsonl(&client, &id).await;
    let from = |source: &str, id: Option<&str>| ImportHeader {
        session_id: id.map(Into::into),
        source: Some(source.into()),
        ..header()
    };
    let first = import_or(&elsewhere, from("/a/file.jsonl", Some("mine")), &text).await;
    assert_eq!(sum(&first.unwrap()).1, 2);
    // The same source under another id of its own, and without a word on where it goes.
    let renamed = with_facts(&text, |facts| facts["session_id"] = "renamed".into());
    let again = import_or(&elsewhere, from("/a/file.jsonl", None), &renamed)
        .await
        .unwrap();
    assert_eq!(sum(&again), (vec!["mine".to_owned()], 0, 2));
    // Another source cannot have that id, but one of its own.
    let other = import_or(&elsewhere, from("b", Some("mine")), &text).await;
    refused(other, Code::AlreadyExists, "ALREADY_EXISTS");
    let other = import_or(&elsewhere, from("b", None), &text).await.unwrap();
    assert_eq!(sum(&other), (vec![id], 2, 0));
}

#[tokio::test]
async fn a_deleted_import_says_so() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 2).await;
    let text = jsonl(&client, &id).await;
    imported(&elsewhere, &text).await;
    elsewhere.delete(&id).await;
    let answer = import_or(&elsewhere, header(), &text).await;
    refused(answer, Code::FailedPrecondition, "SESSION_DELETED");
}

#[tokio::test]
async fn a_file_of_several_sessions_is_several() {
    let (client, elsewhere) = (shared().await, shared().await);
    let (first, second) = (talk_of(&client, 3).await, talk_of(&client, 1_500).await);
    let third = client.blank().await;
    let (a, b, c) = (
        jsonl(&client, &first).await,
        jsonl(&client, &second).await,
        jsonl(&client, &third).await,
    );
    let whole = format!("{a}{b}{c}");
    let answer = imported(&elsewhere, &whole).await;
    assert_eq!(
        sum(&answer),
        (vec![first.clone(), second.clone(), third.clone()], 1_503, 0)
    );
    for (id, text) in [(&first, &a), (&second, &b), (&third, &c)] {
        assert!(jsonl(&elsewhere, id).await == *text, "{id}");
    }
    // The same one twice in a file is one; under a source of its own too.
    let twice = imported(&elsewhere, &format!("{a}{a}")).await;
    assert_eq!(sum(&twice), (vec![first.clone()], 0, 6));
    let fresh = shared().await;
    let twice = imported(&fresh, &format!("{a}{b}{a}")).await;
    assert_eq!(sum(&twice), (vec![first.clone(), second], 1_503, 3));
    let named = ImportHeader {
        source: Some("a file".into()),
        ..header()
    };
    let fresh = shared().await;
    import_or(&fresh, named.clone(), &whole).await.unwrap();
    let again = import_or(&fresh, named, &whole).await.unwrap();
    assert_eq!((again.entries_added, again.entries_skipped), (0, 1_503));
}

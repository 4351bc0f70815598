//! What a field may hold: ids, titles, workspaces, labels and JSON texts.

use std::collections::BTreeMap;

use crate::support::build::{asks, call, checkpoint, entries, entry, event, message, named, user};
use crate::support::failure::invalid;
use crate::support::pb::{Entry, Item, Role, Session, Thread, TitleSource};
use crate::support::{Client, Code, Status, pb, refused, shared};

const BAD_IDS: [&str; 12] = [
    "../../etc/passwd",
    "..\\..\\x",
    "a/b",
    "-",
    "",
    "sess bad",
    ".",
    "..",
    "-a",
    ":a",
    "a\u{0}",
    "é",
];

async fn created(client: &Client, session: Session) -> Result<Session, Status> {
    let request = pb::CreateSessionRequest {
        session: Some(session),
        ..Default::default()
    };
    Ok(client.create_session(request).await?.session.unwrap())
}

#[tokio::test]
async fn bad_ids_are_refused_wherever_one_is_given() {
    let client = shared().await;
    let session = client.holding([user("a")]).await;
    let thread = client.open(Thread::default()).await;
    let turn = client.start(&thread).await;
    let long = "a".repeat(129);
    for bad in BAD_IDS.into_iter().chain([long.as_str()]) {
        let id = || Some(bad.to_owned());
        let create = pb::CreateSessionRequest {
            session_id: id(),
            ..Default::default()
        };
        invalid(client.create_session(create).await, "session_id");
        invalid(client.session_or(bad).await, "session_id");
        invalid(client.append_or(bad, entries([user("a")])).await, "session_id");
        let fork = pb::ForkSessionRequest {
            session_id: session.clone(),
            point: Some(pb::fork_session_request::Point::MessageIndex(0)),
            new_session_id: id(),
            ..Default::default()
        };
        invalid(client.fork_session(fork).await, "new_session_id");
        let create = pb::CreateThreadRequest {
            thread_id: id(),
            ..Default::default()
        };
        invalid(client.create_thread(create).await, "thread_id");
        invalid(client.start_or(bad).await, "thread_id");
        invalid(client.save_or(bad).await, "thread_id");
        let start = pb::StartTurnRequest {
            thread_id: thread.clone(),
            turn_id: id(),
            ..Default::default()
        };
        invalid(client.start_turn(start).await, "turn_id");
        invalid(client.add_or(&thread, bad, vec![asks("a")]).await, "turn_id");
        let save = pb::SaveSessionRequest {
            thread_id: thread.clone(),
            session_id: id(),
            ..Default::default()
        };
        invalid(client.save_session(save).await, "session_id");
        if bad.is_empty() {
            continue;
        }
        let under = Entry {
            entry_id: bad.into(),
            ..entry(user("a"))
        };
        invalid(
            client.append_or(&session, vec![under]).await,
            "entries[0].entry_id",
        );
        invalid(
            client
                .append_or(&session, vec![entry(named(bad, user("a")))])
                .await,
            "message_id",
        );
        let item = Item {
            item_id: bad.into(),
            ..asks("a")
        };
        invalid(
            client.add_or(&thread, &turn, vec![item]).await,
            "items[0].item_id",
        );
        let parent = Session {
            parent_session_id: bad.into(),
            ..Default::default()
        };
        invalid(created(&client, parent).await, "parent_session_id");
    }
    assert_eq!(client.session(&session).await.entry_count, 1);
    assert_eq!(client.thread(&thread).await.item_count, 0);
}

#[tokio::test]
async fn an_id_may_have_128_characters() {
    let client = shared().await;
    let id = "a".repeat(128);
    client
        .create(Session {
            session_id: id.clone(),
            ..Default::default()
        })
        .await;
    client
        .append(
            &id,
            vec![Entry {
                entry_id: id.clone(),
                ..entry(user("a"))
            }],
        )
        .await;
    client
        .open(Thread {
            thread_id: id,
            ..Default::default()
        })
        .await;
}

#[tokio::test]
async fn titles_are_cleaned() {
    let client = shared().await;
    for (given, kept) in [
        ("Ev\u{1b}]0;PWNED\u{7}il\u{202e}RZ", "Ev]0;PWNEDilRZ"),
        ("  plain \n", "plain"),
        ("family 👩\u{200d}👧", "family 👩\u{200d}👧"),
        ("نامه\u{200c}ها", "نامه\u{200c}ها"),
        ("\u{2066}a\u{2069}\u{202a}b\u{202c}", "ab"),
        (&"é".repeat(200), &"é".repeat(200)),
    ] {
        let made = created(
            &client,
            Session {
                title: given.into(),
                ..Default::default()
            },
        )
        .await
        .unwrap();
        assert_eq!(
            (made.title.as_str(), made.title_source()),
            (kept, TitleSource::User)
        );
        let renamed = Session {
            session_id: made.session_id,
            title: given.into(),
            ..Default::default()
        };
        assert_eq!(client.update_or(renamed, &["title"]).await.unwrap().title, kept);
        let thread = client
            .open(Thread {
                title: given.into(),
                ..Default::default()
            })
            .await;
        assert_eq!(client.thread(&thread).await.title, kept);
    }
    let id = client.blank().await;
    for bad in [" ", "\u{1b}\u{202e}\t"] {
        invalid(
            created(
                &client,
                Session {
                    title: bad.into(),
                    ..Default::default()
                },
            )
            .await,
            "title",
        );
        let renamed = Session {
            session_id: id.clone(),
            title: bad.into(),
            ..Default::default()
        };
        invalid(client.update_or(renamed, &["title"]).await, "title");
    }
    let long = Session {
        title: "é".repeat(201),
        ..Default::default()
    };
    refused(
        created(&client, long).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
}

#[tokio::test]
async fn a_missing_title_is_derived_and_a_given_one_stays() {
    let client = shared().await;
    for (said, title) in [
        ("Line 1\nLine 2", "Line 1"),
        (&"é".repeat(50), &"é".repeat(50)),
        (&"é".repeat(51), &format!("{}...", "é".repeat(47))),
        ("<turn_meta>now</turn_meta>\n\n  Ask me \n", "Ask me"),
        ("<turn_meta>now</turn_meta>", "New Session"),
    ] {
        let id = client.blank().await;
        assert_eq!(client.session(&id).await.title, "");
        let session = client.append(&id, entries([user(said)])).await.session.unwrap();
        assert_eq!(
            (session.title.as_str(), session.title_source()),
            (title, TitleSource::Derived),
            "{said:?}"
        );
    }
    let id = client
        .holding([user(" "), user("First words"), user("Others")])
        .await;
    assert_eq!(client.session(&id).await.title, "First words");

    let given = client
        .create(Session {
            title: "Mine".into(),
            ..Default::default()
        })
        .await
        .session_id;
    client.append(&given, entries([user("Something else")])).await;
    let session = client.session(&given).await;
    assert_eq!(
        (session.title.as_str(), session.title_source()),
        ("Mine", TitleSource::User)
    );
}

#[tokio::test]
async fn workspaces_are_resolved_as_text() {
    let client = shared().await;
    for (given, kept) in [
        ("", ""),
        ("  ", ""),
        (" /a/b/ ", "/a/b"),
        ("/a/./b/../c//", "/a/c"),
        ("/..", "/"),
        ("/", "/"),
        ("a/../b", "b"),
        ("project", "project"),
    ] {
        let session = created(
            &client,
            Session {
                workspace: given.into(),
                ..Default::default()
            },
        )
        .await
        .unwrap();
        assert_eq!(session.workspace, kept, "{given:?}");
        let thread = client
            .open(Thread {
                workspace: given.into(),
                ..Default::default()
            })
            .await;
        assert_eq!(client.thread(&thread).await.workspace, kept, "{given:?}");
        let changed = Session {
            session_id: session.session_id,
            workspace: given.into(),
            ..Default::default()
        };
        assert_eq!(
            client.update_or(changed, &["workspace"]).await.unwrap().workspace,
            kept,
            "{given:?}"
        );
    }
}

fn labelled(count: usize, key: usize, value: usize) -> BTreeMap<String, String> {
    (0..count)
        .map(|n| (format!("{n:é>key$}"), "ü".repeat(value)))
        .collect()
}

#[tokio::test]
async fn labels_have_limits_in_characters() {
    let client = shared().await;
    let most = labelled(64, 64, 256);
    let made = created(
        &client,
        Session {
            labels: most.clone(),
            ..Default::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(made.labels, most);
    let thread = client
        .open(Thread {
            labels: most.clone(),
            ..Default::default()
        })
        .await;
    assert_eq!(client.thread(&thread).await.labels, most);
    for labels in [labelled(65, 2, 1), labelled(1, 65, 1), labelled(1, 1, 257)] {
        let session = Session {
            labels: labels.clone(),
            ..Default::default()
        };
        refused(
            created(&client, session).await,
            Code::InvalidArgument,
            "LIMIT_EXCEEDED",
        );
        let update = Session {
            session_id: made.session_id.clone(),
            labels: labels.clone(),
            ..Default::default()
        };
        refused(
            client.update_or(update, &["labels"]).await,
            Code::InvalidArgument,
            "LIMIT_EXCEEDED",
        );
        let thread = Some(Thread {
            labels,
            ..Default::default()
        });
        let create = pb::CreateThreadRequest {
            thread,
            ..Default::default()
        };
        refused(
            client.create_thread(create).await,
            Code::InvalidArgument,
            "LIMIT_EXCEEDED",
        );
    }
}

#[tokio::test]
async fn settings_and_metadata_are_json_and_come_back_as_they_came() {
    let client = shared().await;
    for good in [
        "{}",
        " [1e400, 9007199254740993,\t-0.0]\n",
        r#"{"b":1,"a":2,"b":"\ud83d\ude00 \u0000"}"#,
        "null",
        "\"\"",
        &format!("{}{}", "[".repeat(100), "]".repeat(100)),
    ] {
        let session = Session {
            settings_json: good.into(),
            metadata_json: good.into(),
            ..Default::default()
        };
        let made = created(&client, session).await.unwrap();
        let read = client.session(&made.session_id).await;
        assert_eq!(
            (read.settings_json.as_str(), read.metadata_json.as_str()),
            (good, good)
        );
    }
    let id = client.blank().await;
    for bad in [
        "{",
        "{}}",
        "nul",
        "{'a':1}",
        "[1,]",
        "01",
        "\"\u{1}\"",
        "{} {}",
        "NaN",
        " ",
    ] {
        let settings = Session {
            session_id: id.clone(),
            settings_json: bad.into(),
            ..Default::default()
        };
        invalid(created(&client, settings.clone()).await, "settings_json");
        invalid(
            client.update_or(settings, &["settings_json"]).await,
            "settings_json",
        );
        let metadata = Session {
            session_id: id.clone(),
            metadata_json: bad.into(),
            ..Default::default()
        };
        invalid(created(&client, metadata.clone()).await, "metadata_json");
        invalid(
            client.update_or(metadata, &["metadata_json"]).await,
            "metadata_json",
        );
        let mut said = user("a");
        said.metadata_json = bad.into();
        invalid(client.append_or(&id, entries([said])).await, "metadata_json");
        invalid(client.append_or(&id, vec![event(bad)]).await, "data_json");
        let thread = Some(Thread {
            settings_json: bad.into(),
            ..Default::default()
        });
        invalid(
            client
                .create_thread(pb::CreateThreadRequest {
                    thread,
                    ..Default::default()
                })
                .await,
            "settings_json",
        );
    }
    assert_eq!(client.session(&id).await.entry_count, 0);
}

#[tokio::test]
async fn content_is_never_parsed() {
    let client = shared().await;
    let odd = ["1e400", "{", "\u{0}", "", "not json", "9007199254740993"];
    let blocks = odd.map(|text| call(text, text)).to_vec();
    let id = client.holding([message(Role::Assistant, blocks.clone())]).await;
    assert_eq!(client.messages(&id).await[0].content, blocks);
    client
        .append(
            &id,
            vec![checkpoint(vec![message(Role::Assistant, blocks.clone())])],
        )
        .await;
    assert_eq!(client.context(&id).await[0].content, blocks);
}

#[tokio::test]
async fn texts_of_a_session_hold_a_mebibyte() {
    let client = shared().await;
    let full = format!("\"{}\"", "a".repeat((1 << 20) - 2));
    let over = format!("{full} ");
    let made = Session {
        system_prompt: full.clone(),
        settings_json: full.clone(),
        metadata_json: full.clone(),
        ..Default::default()
    };
    let id = client.create(made.clone()).await.session_id;
    let read = client.session(&id).await;
    assert_eq!(
        (&read.system_prompt, &read.settings_json, &read.metadata_json),
        (&full, &full, &full)
    );
    for over in [
        Session {
            system_prompt: over.clone(),
            ..Default::default()
        },
        Session {
            settings_json: over.clone(),
            ..Default::default()
        },
        Session {
            metadata_json: over.clone(),
            ..Default::default()
        },
    ] {
        refused(
            created(&client, over).await,
            Code::InvalidArgument,
            "LIMIT_EXCEEDED",
        );
    }
    let thread = Some(Thread {
        system_prompt: over,
        ..Default::default()
    });
    let create = pb::CreateThreadRequest {
        thread,
        ..Default::default()
    };
    refused(
        client.create_thread(create).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
    );
}

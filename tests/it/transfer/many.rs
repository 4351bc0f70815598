//! Files of many sessions, and of large ones: what one commit and one answer have room for.

use serde_json::{Value, json};

use crate::support::pb::ListSessionsRequest;
use crate::support::transfer::{header, import_or, imported, problems};
use crate::support::{Code, refused, shared};

/// The header of a session that has these facts beside its id.
fn session(id: &str, mut facts: Value) -> String {
    facts["session_id"] = id.into();
    let header = json!({"format": "sessiond", "version": 1, "session": facts});
    format!("{header}\n")
}

#[tokio::test]
async fn an_answer_has_room_for_a_thousand_sessions() {
    let client = shared().await;
    // More than an answer may have, in labels alone.
    let labels: Value = (0..25)
        .map(|number| (format!("label{number}"), "v".repeat(256).into()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let headers = (0..1_001).map(|number| {
        let facts = json!({"title": "t", "labels": labels, "system_prompt": "p"});
        session(&format!("s{number}"), facts)
    });
    let text: String = headers.collect();
    let stray = "{\"seq\":1,\"kind\":\"event\",\"body\":\"\"}\n";
    let answer = imported(
        &client,
        &format!("{text}{stray}{stray}{}", session("late", json!({}))),
    )
    .await;
    assert_eq!(
        problems(&answer),
        ["1001: an import has at most 1000 sessions: all lines from here on"]
    );
    assert_eq!(answer.sessions.len(), 1_000);
    let shown = |at: usize| {
        let session = &answer.sessions[at];
        assert_eq!(session.session_id, format!("s{at}"));
        (session.system_prompt.as_str(), session.labels.len())
    };
    assert_eq!(shown(0), ("p", 25));
    assert_eq!(shown(350), ("", 25));
    assert_eq!(shown(999), ("", 0));
    let there = client.session("s999").await;
    assert_eq!((there.labels.len(), there.system_prompt.as_str()), (25, "p"));
}

#[tokio::test]
async fn large_facts_come_in_commits_of_their_own() {
    let client = shared().await;
    let large = || {
        let text = "x".repeat(1 << 20);
        json!({"system_prompt": text, "settings_json": format!("{:?}", &text[2..]), "metadata_json": "{}"})
    };
    let there = client.blank().await;
    // What has come in goes before more would come than a commit may have; the rest is given up with the import.
    let file = [
        session("one", large()),
        session("two", large()),
        session("three", large()),
        session("four", json!({})),
        session(&there, json!({})),
    ];
    let answer = import_or(&client, header(), &file.concat()).await;
    refused(answer, Code::AlreadyExists, "ALREADY_EXISTS");
    let listed = client.listed(ListSessionsRequest::default()).await;
    let mut ids: Vec<&str> = listed.iter().map(|session| session.session_id.as_str()).collect();
    ids.sort_unstable();
    let mut expected = ["one", "two", there.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

//! Lines that cannot be read: each is named, and none spoils the rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;

use crate::support::build::{entries, named, user};
use crate::support::shared;
use crate::support::transfer::{imported, jsonl, lines, problems, sum, with_facts};

use super::talk_of;

#[tokio::test]
async fn lines_that_cannot_be_read_are_named() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 3).await;
    let text = jsonl(&client, &id).await;
    let entry = |number: usize| lines(&text, [number]);
    let large = STANDARD.encode(user(&"x".repeat(17 << 20)).encode_to_vec());
    let file = [
        "\u{feff}",
        &entry(0),
        "garbage with sk-secretsecret\n",
        &entry(1),
        "\n  \r\n",
        "{\"seq\": 2, \"kind\": \"message\"}\n",
        "{\"seq\": 2, \"kind\": \"message\", \"body\": \"!\"}\n",
        "{\"seq\": 2, \"kind\": \"dream\", \"body\": \"\"}\n",
        "{\"seq\": \"two\"}\n",
        "{\"seq\": 2, \"kind\": \"message\", \"body\": \"AAAA\"}\n",
        &format!("{{\"seq\": 2, \"kind\": \"message\", \"body\": {large:?}}}\n"),
        &format!("{}\n", "x".repeat(60 << 20)),
        &entry(2),
        &entry(1),
        &entry(3),
        &entry(3).replace("\"seq\":3", "\"seq\":2").replace("m2", "m9"),
        &entry(2)[..40],
    ];
    let answer = imported(&elsewhere, &file.concat()).await;
    assert_eq!(sum(&answer), (vec![id.clone()], 3, 1));
    assert_eq!(
        problems(&answer),
        [
            "2: is not JSON, at column 1",
            "6: body: is missing",
            "7: body: is not base64",
            "8: kind: must be message, checkpoint or event",
            "9: has a value of the wrong kind, at column 13",
            "10: message: the bytes are not a Message",
            "11: message: at most 16777728 (message_bytes_max)",
            "12: is longer than 58720256 bytes",
            "16: entry_id: differs from message.message_id; the two are one",
            "17: the last line is torn off",
        ]
    );
    assert_eq!(jsonl(&elsewhere, &id).await, text, "what could be read is there");
}

#[tokio::test]
async fn an_entry_out_of_order_is_left_out() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 4).await;
    let text = jsonl(&client, &id).await;
    let answer = imported(&elsewhere, &lines(&text, [0, 1, 3, 2, 4, 4])).await;
    assert_eq!(sum(&answer), (vec![id.clone()], 3, 1));
    assert_eq!(
        problems(&answer),
        ["4: seq: is not above that of the line before"]
    );
    let ids: Vec<_> = elsewhere
        .entries(&id)
        .await
        .into_iter()
        .map(|entry| entry.entry_id)
        .collect();
    assert_eq!(ids, ["m0", "m2", "m3"]);
    // An id that is there already is not added under another seq.
    let fresh = shared().await;
    let again = lines(&text, [1]).replace("\"seq\":1", "\"seq\":9");
    let answer = imported(&fresh, &format!("{text}{again}")).await;
    assert_eq!(sum(&answer), (vec![id.clone()], 4, 1));
    let answer = imported(&fresh, &format!("{text}{again}")).await;
    assert_eq!(sum(&answer), (vec![id], 0, 5));
}

#[tokio::test]
async fn entries_without_a_header_have_no_place() {
    let (client, elsewhere) = (shared().await, shared().await);
    let text = jsonl(&client, &talk_of(&client, 2).await).await;
    let other = jsonl(&client, &talk_of(&client, 1).await).await;
    let file = format!(
        "{}{}{}",
        lines(&text, [0]).replace("\"version\":1", "\"version\":99"),
        lines(&text, [1, 2]),
        other
    );
    let answer = imported(&elsewhere, &file).await;
    assert_eq!((answer.entries_added, answer.sessions.len()), (1, 1));
    assert_eq!(
        problems(&answer),
        [
            "1: version: 99 is not known, only up to 1",
            "2: belongs to a session that is left out, as do the entries behind it",
        ]
    );
    let headless = imported(&elsewhere, &lines(&text, [1, 2])).await;
    assert_eq!(
        problems(&headless),
        [
            "1: stands before the header of its session",
            "2: stands before the header of its session",
        ]
    );
    let nothing = imported(&elsewhere, "").await;
    assert_eq!((sum(&nothing), nothing.problems.len()), ((vec![], 0, 0), 0));
    let torn = imported(&elsewhere, "{\"format\"").await;
    assert_eq!(problems(&torn), ["1: the last line is torn off"]);
}

#[tokio::test]
async fn a_session_without_its_header_is_not_added_to_the_one_before() {
    let client = shared().await;
    let (first, second) = (talk_of(&client, 3).await, talk_of(&client, 10).await);
    let other = client.blank().await;
    let said = (0..10).map(|number| named(&format!("n{number}"), user("hi")));
    client.append(&other, entries(said)).await;
    let (a, b) = (jsonl(&client, &first).await, jsonl(&client, &second).await);
    let c = jsonl(&client, &talk_of(&client, 1).await).await;
    // Nothing of the second one is the first one's; or all that the first one has, as in a fork.
    for whole in [jsonl(&client, &other).await, b.clone()] {
        let (header, entries) = (lines(&whole, [0]), lines(&whole, 1..11));
        for (header, reason) in [
            (
                header.replace("\"version\":1", "\"version\":99"),
                "5: version: 99 is not known, only up to 1",
            ),
            (
                header.replace("\"version\":1", "\"version\":\"1\""),
                "5: has a value of the wrong kind, at column",
            ),
            (
                format!("{}\n", &header[..50]),
                "5: ends in the middle, at column 50",
            ),
            (format!("x{header}"), "5: is not JSON, at column 1"),
        ] {
            let elsewhere = shared().await;
            let answer = imported(&elsewhere, &format!("{a}{header}{entries}{c}")).await;
            assert_eq!((answer.entries_added, answer.sessions.len()), (4, 2), "{reason}");
            let found = problems(&answer);
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(found[0].starts_with(reason), "{found:?}");
            let rest = found[1].starts_with("6: ") && found[1].ends_with("the entries behind it");
            assert!(rest, "{found:?}");
            assert_eq!(jsonl(&elsewhere, &first).await, a);
        }
    }
    // Files that were put together may have a mark each.
    let elsewhere = shared().await;
    let answer = imported(&elsewhere, &format!("\u{feff}{a}\u{feff}{b}")).await;
    assert_eq!(sum(&answer), (vec![first, second.clone()], 13, 0));
    assert_eq!(problems(&answer), Vec::<String>::new());
    assert_eq!(jsonl(&elsewhere, &second).await, b);
}

#[tokio::test]
async fn garbage_within_a_session_does_not_end_it() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 3).await;
    let text = jsonl(&client, &id).await;
    let entry = |number: usize| lines(&text, [number]);
    let file = [entry(0), entry(1), entry(2), "x\n".into(), entry(2), entry(3)].concat();
    let answer = imported(&elsewhere, &file).await;
    assert_eq!(sum(&answer), (vec![id.clone()], 3, 1));
    assert_eq!(problems(&answer), ["4: is not JSON, at column 1"]);
    assert_eq!(jsonl(&elsewhere, &id).await, text);
}

#[tokio::test]
async fn a_file_that_lost_its_end_says_so() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 4).await;
    let text = jsonl(&client, &id).await;
    let answer = imported(&elsewhere, &lines(&text, 0..3)).await;
    assert_eq!(sum(&answer), (vec![id.clone()], 2, 0));
    assert_eq!(problems(&answer), ["1: session.entry_count: is 4, but 2 came"]);
    // What was left out by its line has been said.
    let answer = imported(&elsewhere, &format!("{}x\n", lines(&text, 0..3))).await;
    assert_eq!(problems(&answer), ["4: is not JSON, at column 1"]);
    let whole = imported(&elsewhere, &text).await;
    assert_eq!((sum(&whole), problems(&whole)), ((vec![id], 2, 2), vec![]));
}

#[tokio::test]
async fn a_last_line_may_lack_its_end() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 2).await;
    let text = jsonl(&client, &id).await;
    let answer = imported(&elsewhere, text.trim_end()).await;
    assert_eq!(problems(&answer), Vec::<String>::new());
    assert_eq!(jsonl(&elsewhere, &id).await, text);
}

#[tokio::test]
async fn facts_that_cannot_be_used_are_left_out_alone() {
    let (client, elsewhere) = (shared().await, shared().await);
    let id = talk_of(&client, 1).await;
    let text = with_facts(&jsonl(&client, &id).await, |facts| {
        facts["title"] = "x".repeat(201).into();
        facts["labels"] = serde_json::json!({"k".repeat(65): "v"});
        facts["settings_json"] = "{".into();
        facts["create_time"] = "yesterday".into();
        facts["parent_session_id"] = "a/b".into();
        facts["provider"] = "kept".into();
        facts["endpoint"] = 5.into();
        facts["mode"] = serde_json::Value::Null;
        facts["message_count"] = "many".into();
    });
    let answer = imported(&elsewhere, &text).await;
    assert_eq!(sum(&answer), (vec![id.clone()], 1, 0));
    let found = problems(&answer);
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(
        found.iter().all(|problem| problem.starts_with("1: session.")),
        "{found:?}"
    );
    let there = elsewhere.session(&id).await;
    assert_eq!(
        (there.provider.as_str(), there.title.as_str()),
        ("kept", "message 0")
    );
}

#[tokio::test]
async fn a_file_of_garbage_is_named_line_by_line_and_no_further() {
    let elsewhere = shared().await;
    let answer = imported(&elsewhere, &"x\n".repeat(1_500)).await;
    assert_eq!(answer.problems.len(), 1_001);
    assert_eq!(
        problems(&answer).last().map(String::as_str),
        Some("1001: and further lines were left out")
    );
    assert_eq!(answer.sessions, []);
}

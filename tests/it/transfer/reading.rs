//! What a reader gets: Markdown, and transcripts without their secrets.

use crate::support::build::{
    answer, assistant, block, by, call, checkpoint, entries, entry, event, message, named, system, text,
    thinking, user,
};
use crate::support::pb::content_block::Block;
use crate::support::pb::{ExportFormat, Role, Session};
use crate::support::transfer::{exported, imported, jsonl, problems};
use crate::support::{pb, shared};

const SECRET: &str = "Zx9Zx9Zx9Zx9Zx9Zx9";

#[tokio::test]
async fn markdown_is_for_readers() {
    let client = shared().await;
    let facts = Session {
        title: "Bees & ants".into(),
        provider: "p".into(),
        endpoint: "https://e".into(),
        model: "m".into(),
        ..Default::default()
    };
    let id = client.create(facts).await.session_id;
    let failed = block(Block::ToolResult(pb::ToolResultBlock {
        tool_use_id: "c2".into(),
        content: vec![text("no ``` such\nfile")],
        is_error: true,
    }));
    let log = vec![
        entry(system("Be kind.")),
        entry(user("How **far**?\n```rust\nfn main() {}")),
        entry(message(
            Role::Assistant,
            vec![thinking("hm\nhm"), text("Look:"), call("c1", "{\"n\":1e400}")],
        )),
        entry(message(Role::User, vec![answer("c1", "42"), failed])),
        event("{}"),
        checkpoint(vec![user("in short")]),
        entry(by("reviewer/2", assistant("Far \u{1b}[31menough."))),
    ];
    client.append(&id, log).await;
    let text = exported(&client, &id, ExportFormat::Markdown, false).await;
    let session = client.session(&id).await;
    let times = |time: Option<prost_types::Timestamp>| time.unwrap().to_string();
    let head = format!(
        "# Bees & ants\n\n- Session: `{id}`\n- Created: {}, updated: {}\n- Model: p / https://e / m\n- Messages: 4\n",
        times(session.create_time),
        times(session.update_time)
    );
    let body: String = text
        .strip_prefix(&head)
        .unwrap_or_else(|| panic!("{text}"))
        .lines()
        .filter(|line| !line.starts_with("*20"))
        .map(|line| format!("{line}\n"))
        .collect();
    let expected = "
## System


Be kind.

## User


How **far**?
```rust
fn main() {}
```

## Assistant


> hm
> hm

Look:

**Tool call** `tool` `c1`

```json
{\"n\":1e400}
```

## User


**Tool result** `c1`

```
42
```

**Tool result (error)** `c2`

````
no ``` such
file
````

---

*Checkpoint: the context starts anew here, with 1 message*

## Assistant (reviewer/2)


Far ␛[31menough.
";
    assert_eq!(body, expected);
}

#[tokio::test]
async fn secrets_are_masked_before_anything_is_cut() {
    let client = shared().await;
    let facts = Session {
        system_prompt: format!("password={SECRET}"),
        settings_json: format!("{{\"api_key\":\"{SECRET}\"}}"),
        metadata_json: format!("[\"Bearer {SECRET}\"]"),
        labels: [("token".to_owned(), SECRET.to_owned())].into(),
        endpoint: format!("https://x/?key={SECRET}"),
        ..Default::default()
    };
    let id = client.create(facts).await.session_id;
    // The preview is cut at 120 characters, in the middle of the key; the title at 50.
    let long = format!("{} sk-{SECRET}", "a".repeat(40));
    let late = format!("{} ghp_{SECRET}", "b".repeat(110));
    let log = vec![
        entry(user(&long)),
        entry(message(
            Role::Assistant,
            vec![call("1", &format!("{{\"password\":\"{SECRET}\"}}"))],
        )),
        entry(message(
            Role::User,
            vec![answer(
                "1",
                &format!(
                    "AKIA{} and\n-----BEGIN PRIVATE KEY-----\n{SECRET}",
                    "A1".repeat(8)
                ),
            )],
        )),
        event(&format!("{{\"secret\":\"{SECRET}\"}}")),
        checkpoint(vec![user(&format!("token={SECRET}"))]),
        entry(user(&late)),
    ];
    client.append(&id, log).await;
    for format in [ExportFormat::Markdown, ExportFormat::Jsonl] {
        let text = exported(&client, &id, format, true).await;
        assert!(!text.contains("Zx9") && !text.contains("A1A1"), "{text}");
        assert!(text.contains("[redacted]"));
        let plain = exported(&client, &id, format, false).await;
        assert!(plain.contains(SECRET));
    }
    let text = exported(&client, &id, ExportFormat::Jsonl, true).await;
    assert!(text.starts_with("{\"format\":\"sessiond\",\"version\":1,\"redacted\":true,"));

    // The bytes hold no more than what is seen: come in again, there is nothing left to mask.
    let elsewhere = shared().await;
    assert_eq!(problems(&imported(&elsewhere, &text).await), Vec::<String>::new());
    let plain = jsonl(&elsewhere, &id).await;
    assert!(!plain.contains("Zx9"));
    assert_eq!(exported(&elsewhere, &id, ExportFormat::Jsonl, true).await, text);
    let said = elsewhere.messages(&id).await;
    assert_eq!(
        said[0].content,
        [text_of(&format!("{} sk-[redacted]", "a".repeat(40)))]
    );
    assert!(!format!("{:?}", elsewhere.entries(&id).await).contains("Zx9"));
    assert!(elsewhere.session(&id).await.preview.ends_with(" ghp_[reda"));
}

fn text_of(said: &str) -> pb::ContentBlock {
    text(said)
}

#[tokio::test]
async fn a_session_without_a_word_is_a_transcript_too() {
    let client = shared().await;
    let id = client.blank().await;
    let text = exported(&client, &id, ExportFormat::Markdown, true).await;
    assert!(text.starts_with("# \n\n- Session: `"), "{text}");
    client.append(&id, entries([named("m", user("hi"))])).await;
    let text = exported(&client, &id, ExportFormat::Markdown, false).await;
    assert!(text.starts_with("# hi\n") && text.ends_with("\n\nhi\n"), "{text}");
}

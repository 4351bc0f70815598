//! Secrets in sessions and in bodies. A masked body is written anew: fields that this version does not know are not in
//! it, as nobody can tell what they hold.

use std::sync::Arc;

use bytes::Bytes;
use prost::{DecodeError, Message as _};

use crate::domain::limits::{PREVIEWED_BYTES_MAX, SETTING_CHARS_MAX, TITLE_CHARS_MAX};
use crate::domain::session::{Profile, Texts};
use crate::domain::title::{self, ForkName, KEY_CHARS_MAX};
use crate::domain::{Kind, Limits, Session};
use crate::pb::client as pb;
use crate::pb::client::content_block::Block;
use crate::pb::client::{document_block, image_block};

use super::{MASK, masked, masked_json, pair};

/// What a token that was cut off may have gone on with.
const REST: &str = "0000000000000000.0000.0000";

/// The end of a title that was cut.
const CUT: &str = "...";

/// The session with its secrets masked. `spoken` is the message that its preview comes from: what is cut first may be
/// cut in the middle of a secret. A mask may be longer than what it hides; short facts are cut to their limits again.
pub fn session(session: &Session, spoken: Option<&Bytes>, limits: &Limits) -> Result<Session, DecodeError> {
    let mut profile = Profile::clone(&session.profile);
    profile.title = fitting(cut(&profile.title), limits.title_chars_max);
    for text in [&mut profile.setting.workspace, &mut profile.setting.endpoint] {
        hide_short(text, SETTING_CHARS_MAX);
    }
    for (name, value) in &mut profile.labels {
        if pair::is_secret(name) {
            MASK.clone_into(value);
        } else {
            hide_short(value, limits.label_value_chars_max);
        }
    }
    let Texts {
        system_prompt,
        settings_json,
        metadata_json,
    } = &*profile.texts;
    profile.texts = Arc::new(Texts {
        system_prompt: masked(system_prompt).into_owned(),
        settings_json: masked_json(settings_json).into_owned(),
        metadata_json: masked_json(metadata_json).into_owned(),
    });
    let preview = match spoken {
        Some(spoken) => preview(spoken)?,
        None => masked(&session.preview).into_owned(),
    };
    Ok(Session {
        profile: Arc::new(profile),
        preview,
        ..session.clone()
    })
}

/// A body with its secrets masked.
pub fn body(kind: Kind, body: &Bytes) -> Result<Bytes, DecodeError> {
    Ok(match kind {
        Kind::Message => {
            let mut said = pb::Message::decode(body.clone())?;
            message(&mut said);
            said.encode_to_vec()
        }
        Kind::Checkpoint => {
            let mut checkpoint = pb::Checkpoint::decode(body.clone())?;
            checkpoint.context.iter_mut().for_each(message);
            checkpoint.encode_to_vec()
        }
        Kind::Event => {
            let mut event = pb::Event::decode(body.clone())?;
            hide_json(&mut event.data_json);
            event.encode_to_vec()
        }
    }
    .into())
}

/// The preview that a message gives once its secrets are masked.
fn preview(body: &Bytes) -> Result<String, DecodeError> {
    let said = pb::Message::decode(body.clone())?;
    let texts = said.content.iter().filter_map(|block| match &block.block {
        Some(Block::Text(text)) => Some(masked(beginning(&text.text))),
        Some(
            Block::Thinking(_)
            | Block::ToolUse(_)
            | Block::ToolResult(_)
            | Block::Image(_)
            | Block::Document(_)
            | Block::Opaque(_),
        )
        | None => None,
    });
    let first = texts.into_iter().find(|text| !text.trim().is_empty());
    Ok(first.map(|text| title::preview(&text)).unwrap_or_default())
}

/// As much of a text as its preview may come from: what is cut off is no part of a secret that shows in it.
fn beginning(text: &str) -> &str {
    let text = text.trim_start();
    let mut end = text.len().min(PREVIEWED_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A title; one that was cut is read as if a token at its end had gone on. A fork's may have been cut before its number.
fn cut(title: &str) -> String {
    let base = ForkName::of(title).base;
    if base.len() < title.len() {
        return format!("{}{}", cut(&base), &title[base.len()..]);
    }
    // Beside one that says so, one may have been cut that a number once had to fit behind.
    let start = match title.strip_suffix(CUT) {
        Some(start) => start,
        None if title.chars().count() >= KEY_CHARS_MAX => title,
        None => return masked(title).into_owned(),
    };
    let end = &title[start.len()..];
    let whole = format!("{start}{REST}");
    let hidden = masked(&whole);
    let start = match (hidden.strip_suffix(REST), hidden.rfind(MASK)) {
        (Some(start), _) => start,
        (None, Some(at)) => &hidden[..at + MASK.len()],
        (None, None) => start,
    };
    format!("{start}{end}")
}

/// A title of at most so many characters; a fork keeps its number.
fn fitting(title: String, chars_max: usize) -> String {
    let long = |title: &str| title.len() > chars_max && title.chars().count() > chars_max;
    if !long(&title) {
        return title;
    }
    let name = ForkName::of(&title);
    let numbered = name.title_within(chars_max.min(TITLE_CHARS_MAX));
    if name.number == 0 || long(&numbered) {
        return title::first_chars(&title, chars_max).trim_end().to_owned();
    }
    numbered
}

fn message(message: &mut pb::Message) {
    message.content.iter_mut().for_each(block);
    hide_json(&mut message.metadata_json);
}

/// Blocks are nested 32 deep at most.
fn block(block: &mut pb::ContentBlock) {
    hide_json(&mut block.cache_control_json);
    match &mut block.block {
        Some(Block::Text(text)) => hide(&mut text.text),
        Some(Block::Thinking(thinking)) => {
            hide(&mut thinking.thinking);
            hide_json(&mut thinking.state_json);
        }
        Some(Block::ToolUse(call)) => hide_json(&mut call.input_json),
        Some(Block::ToolResult(result)) => result.content.iter_mut().for_each(self::block),
        Some(Block::Image(image)) => {
            if let Some(image_block::Source::Uri(uri)) = &mut image.source {
                hide(uri);
            }
        }
        Some(Block::Document(document)) => {
            hide(&mut document.name);
            match &mut document.source {
                Some(document_block::Source::Uri(uri)) => hide(uri),
                Some(document_block::Source::Data(data)) => hide_data(data),
                None => {}
            }
        }
        Some(Block::Opaque(opaque)) => hide_json(&mut opaque.json),
        None => {}
    }
}

fn hide(text: &mut String) {
    if let std::borrow::Cow::Owned(hidden) = masked(text) {
        *text = hidden;
    }
}

/// Hides what is secret in a text of at most so many characters.
fn hide_short(text: &mut String, chars_max: usize) {
    if let std::borrow::Cow::Owned(hidden) = masked(text) {
        title::first_chars(&hidden, chars_max).clone_into(text);
    }
}

fn hide_json(text: &mut String) {
    if let std::borrow::Cow::Owned(hidden) = masked_json(text) {
        *text = hidden;
    }
}

/// A file that is text.
fn hide_data(data: &mut Vec<u8>) {
    if let Ok(text) = std::str::from_utf8(data)
        && let std::borrow::Cow::Owned(hidden) = masked(text)
    {
        *data = hidden.into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    fn text(text: &str) -> pb::ContentBlock {
        let text = pb::TextBlock { text: text.into() };
        pb::ContentBlock {
            block: Some(Block::Text(text)),
            ..pb::ContentBlock::default()
        }
    }

    #[test]
    fn every_text_of_a_body_is_looked_at() {
        let secret = "password=Zx9Zx9";
        let json = r#"{"password":"Zx9Zx9","n":1e400}"#;
        let block = |block| pb::ContentBlock {
            block: Some(block),
            cache_control_json: json.into(),
        };
        let result = pb::ToolResultBlock {
            content: vec![text(secret)],
            ..pb::ToolResultBlock::default()
        };
        let said = pb::Message {
            message_id: "m".into(),
            role: pb::Role::User.into(),
            content: vec![
                text(secret),
                block(Block::Thinking(pb::ThinkingBlock {
                    thinking: secret.into(),
                    state_json: json.into(),
                    signature: "kept".into(),
                })),
                block(Block::ToolUse(pb::ToolUseBlock {
                    input_json: json.into(),
                    ..pb::ToolUseBlock::default()
                })),
                block(Block::ToolResult(result)),
                block(Block::Document(pb::DocumentBlock {
                    source: Some(document_block::Source::Data(secret.into())),
                    ..pb::DocumentBlock::default()
                })),
                block(Block::Image(pb::ImageBlock {
                    source: Some(image_block::Source::Uri("https://x/?token=Zx9Zx9&a=b".into())),
                    ..pb::ImageBlock::default()
                })),
                block(Block::Opaque(pb::OpaqueBlock {
                    json: json.into(),
                    ..pb::OpaqueBlock::default()
                })),
            ],
            metadata_json: json.into(),
            ..pb::Message::default()
        };
        let checkpoint = pb::Checkpoint {
            context: vec![said.clone()],
            ..pb::Checkpoint::default()
        };
        let event = pb::Event {
            data_json: json.into(),
            ..pb::Event::default()
        };
        for (kind, wire) in [
            (Kind::Message, said.encode_to_vec()),
            (Kind::Checkpoint, checkpoint.encode_to_vec()),
            (Kind::Event, event.encode_to_vec()),
        ] {
            let hidden = super::body(kind, &wire.into()).unwrap();
            assert!(!String::from_utf8_lossy(&hidden).contains("Zx9"), "{kind:?}");
            assert!(String::from_utf8_lossy(&hidden).contains("1e400"), "{kind:?}");
            assert_eq!(super::body(kind, &hidden).unwrap(), hidden, "{kind:?}");
        }
        let hidden = super::body(Kind::Message, &said.encode_to_vec().into()).unwrap();
        assert_eq!(body::text_of(&hidden).unwrap(), "password=[redacted]");
    }

    #[test]
    fn what_was_cut_in_the_middle_of_a_secret_is_hidden() {
        for (title, hidden) in [
            ("use sk-abc...", "use sk-[redacted]..."),
            ("see eyJhbGciOi...", "see eyJ[redacted]..."),
            ("all is well...", "all is well..."),
            ("password=hunt...", "password=[redacted]..."),
            ("token sk-abcdefgh1234", "token sk-[redacted]"),
        ] {
            assert_eq!(cut(title), hidden);
            let (fork, hidden) = (
                format!("{title} (fork 1) (fork 2)"),
                format!("{hidden} (fork 1) (fork 2)"),
            );
            assert_eq!(cut(&fork), hidden);
        }
        // What makes room for a number is cut without a word.
        let base = format!("{} sk-abcdefgh1234", "x".repeat(180));
        let forked = ForkName { base, number: 12 }.title();
        assert_eq!(forked.len(), TITLE_CHARS_MAX);
        assert_eq!(
            cut(&forked),
            format!("{} sk-[redacted] (fork 12)", "x".repeat(180))
        );
        let long = format!("{} sk-abcdefgh1234", "x".repeat(111));
        let said = pb::Message {
            content: vec![text(" "), text(&long)],
            ..pb::Message::default()
        };
        let preview = preview(&said.encode_to_vec().into()).unwrap();
        assert!(preview.ends_with(" sk-[reda"), "{preview}");
        // No more of a message is looked at than its preview may come from.
        let said = pb::Message {
            content: vec![text(&format!(
                "{}key=\"{}",
                " ".repeat(1 << 20),
                "x y ".repeat(1 << 20)
            ))],
            ..pb::Message::default()
        };
        assert_eq!(
            self::preview(&said.encode_to_vec().into()).unwrap(),
            "key=\"[redacted]"
        );
    }

    #[test]
    fn masks_fit_where_what_they_hide_did() {
        let title = |title: &str| fitting(cut(title), TITLE_CHARS_MAX);
        let long = format!("key=a {}", "x".repeat(194));
        assert_eq!(title(&long), format!("key=[redacted] {}", "x".repeat(185)));
        let fork = format!("key=a {} (fork 7)", "x".repeat(185));
        assert_eq!(
            title(&fork),
            format!("key=[redacted] {} (fork 7)", "x".repeat(176))
        );
        assert_eq!(title("key=a"), "key=[redacted]");
        let mut value = format!("{} key=a", "x".repeat(250));
        hide_short(&mut value, 256);
        assert_eq!(value, format!("{} key=[", "x".repeat(250)));
    }
}

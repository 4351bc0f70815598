//! What is searched of a message, and what is not.

use super::*;
use crate::body::tests::{block, call, result, text, thinking};
use crate::pb::Role;

fn of(content: Vec<pb::ContentBlock>) -> String {
    let message = pb::Message {
        role: Role::Assistant.into(),
        content,
        ..Default::default()
    };
    searchable(&message.encode_to_vec().into())
        .expect("a message")
        .text
}

#[test]
fn text_inputs_and_outputs() {
    let image = block(Block::Image(pb::ImageBlock::default()));
    let content = vec![
        text("one"),
        thinking("not this", ""),
        call("id", r#"{"cmd":"two"}"#),
        image,
        result("id", vec![text("three"), result("id", vec![text("four")])]),
    ];
    assert_eq!(of(content), "one\n{\"cmd\":\"two\"}\nthree\nfour");
    assert_eq!(of(Vec::new()), "");
}

#[test]
fn escapes_are_read_in_strings_alone() {
    for (json, seen) in [
        (r#"{"a":"x\ny\t\"z\" \\n \/"}"#, "{\"a\":\"x\ny\t\"z\" \\n /\"}"),
        (r#"["caf\u00e9 \ud83d\ude00 \ud83d!"]"#, "[\"café 😀 \u{fffd}!\"]"),
        (r#"not \n json"#, r"not \n json"),
        (r#""\q \u12 \"#, r#""\q \u12 \"#),
        (r#""\u12é4""#, r#""\u12é4""#),
    ] {
        assert_eq!(of(vec![call("id", json)]), seen);
    }
}

#[test]
fn no_more_than_its_bound_and_no_half_word() {
    let word = "word ".repeat(SEARCHED_BYTES_MAX / 5);
    let long = of(vec![text(&word), text("behind the bound")]);
    assert!(
        long.len() <= SEARCHED_BYTES_MAX && long.trim_end().ends_with("word"),
        "{}",
        long.len()
    );
    let one_word = of(vec![text(&"é".repeat(SEARCHED_BYTES_MAX))]);
    assert_eq!(one_word.len(), SEARCHED_BYTES_MAX);
    let behind = of(vec![text(&format!(
        "see file\n{}",
        "x".repeat(SEARCHED_BYTES_MAX)
    ))]);
    assert_eq!(behind.len(), SEARCHED_BYTES_MAX, "a word without an end is cut");
    let inputs = of(vec![call(
        "id",
        &format!("\"{}\"", "\\u00e9".repeat(SEARCHED_BYTES_MAX)),
    )]);
    assert!(inputs.len() <= SEARCHED_BYTES_MAX);
    let fits = "x".repeat(SEARCHED_BYTES_MAX);
    assert_eq!(of(vec![text(&fits)]), fits);
}

//! What is written: entries of about 1 KB, with ids given by the client.

use std::sync::LazyLock;

use sessiond::pb::client as pb;
use uuid::Uuid;

/// The encoded size of an entry that these texts make.
const ENTRY_BYTES: usize = 1_024;

/// What ids, roles and tags take of it.
const FRAME_BYTES: usize = 90;

/// Different texts, so that no two neighbours are the same.
static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| (0..TEXTS_COUNT).map(text).collect());

/// How many there are.
const TEXTS_COUNT: usize = 1_024;

/// The most frequent words, as a conversation has them.
const WORDS: [&str; 32] = [
    "the", "session", "is", "read", "from", "a", "branch", "and", "then", "written", "to", "disk", "before",
    "it", "answers", "which", "function", "returns", "early", "when", "no", "entry", "was", "found",
    "please", "try", "again", "with", "more", "context", "tokens", "left",
];

/// How many different words there are in all.
const VOCABULARY: f64 = 20_000.0;

/// A text of the wanted size; the same for the same number. Words are as frequent as in a natural language: the n-th
/// has about the n-th part of the frequency of the first.
fn text(number: usize) -> String {
    let mut text = String::with_capacity(ENTRY_BYTES);
    let mut state = number as u64 + 1;
    while text.len() < ENTRY_BYTES - FRAME_BYTES {
        // A step of a linear congruential generator: any spread of words will do.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "53 bits for a number from 0 to 1, and a rank below the vocabulary"
        )]
        let rank = VOCABULARY.powf((state >> 11) as f64 / (1_u64 << 53) as f64) as usize - 1;
        match WORDS.get(rank) {
            Some(word) => text.push_str(word),
            None => push_word(rank, &mut text),
        }
        text.push(' ');
    }
    text.truncate(ENTRY_BYTES - FRAME_BYTES);
    text
}

/// Adds a word of this rank: five letters and more, for the rare ones are the long ones.
fn push_word(rank: usize, text: &mut String) {
    const SYLLABLES: [&str; 20] = [
        "ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wu", "sta",
        "tre", "pli", "cro", "spu",
    ];
    let mut rest = rank + SYLLABLES.len() * SYLLABLES.len();
    while rest > 0 {
        text.push_str(SYLLABLES[rest % SYLLABLES.len()]);
        rest /= SYLLABLES.len();
    }
}

/// A new UUIDv7, as text.
pub(crate) fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}

/// A message of about 1 KB: questions have even numbers, answers odd ones.
pub(crate) fn message(number: usize) -> pb::Message {
    let role = if number.is_multiple_of(2) {
        pb::Role::User
    } else {
        pb::Role::Assistant
    };
    pb::Message {
        message_id: fresh_id(),
        role: role.into(),
        content: vec![block(number)],
        ..Default::default()
    }
}

/// A text block of about 1 KB.
pub(crate) fn block(number: usize) -> pb::ContentBlock {
    pb::ContentBlock {
        block: Some(pb::content_block::Block::Text(pb::TextBlock {
            text: TEXTS[number % TEXTS.len()].clone(),
        })),
        ..Default::default()
    }
}

/// An entry that holds a message.
pub(crate) fn entry(number: usize) -> pb::Entry {
    let message = message(number);
    pb::Entry {
        entry_id: message.message_id.clone(),
        payload: Some(pb::entry::Payload::Message(message)),
        ..Default::default()
    }
}

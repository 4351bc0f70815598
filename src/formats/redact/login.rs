//! Passwords in URLs: `https://user:password@host`.

use super::{MASK, Stretch, run};

/// What is between a scheme and its host; JSON may have backslashes before slashes.
const BEHIND_SCHEME: [&str; 2] = ["://", ":\\/\\/"];

/// The password of a URL whose scheme ends at `end`.
pub(super) fn password(text: &str, end: usize) -> Option<Stretch<'_>> {
    let mark = BEHIND_SCHEME
        .iter()
        .find(|mark| text[end..].starts_with(**mark))?;
    let user = end + mark.len();
    let authority = &text[user..run(text.as_bytes(), user, |byte| !ends_authority(byte))];
    let login = &authority[..authority.rfind('@')?];
    let start = user + login.find(':')? + 1;
    let end = user + login.len();
    let is_hidden = text[start..end].replace(MASK, "").is_empty();
    (!is_hidden).then_some(Stretch {
        start,
        end,
        quote: "",
    })
}

fn ends_authority(byte: u8) -> bool {
    matches!(
        byte,
        b'/' | b'?' | b'#' | b'\\' | b'"' | b'\'' | b'`' | b'<' | b'>'
    ) || byte <= b' '
}

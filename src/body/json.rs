//! Whether a text is JSON, without building values.

use serde::de::IgnoredAny;

use crate::domain::Invalid;

/// Whether `text` is empty or one well-formed JSON value of at most `bytes_max` bytes. Numbers of any size and nesting
/// of any depth are fine: nothing is built of them.
pub fn well_formed(text: &str, field: &str, bytes_max: usize) -> Result<(), Invalid> {
    if text.len() > bytes_max {
        return Err(Invalid::limit(field, "text_bytes_max", bytes_max as u64));
    }
    if text.is_empty() || serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Ok(());
    }
    Err(Invalid::new(field, "must be well-formed JSON, or empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_json_of_any_size_and_nothing_else() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for good in [
            "",
            "{}",
            " [1e400, 9007199254740993] ",
            r#"{"a":"\ud800"}"#,
            "null",
            &deep,
        ] {
            assert_eq!(
                well_formed(good, "metadata_json", 1 << 20),
                Ok(()),
                "{:.40}",
                good
            );
        }
        for bad in ["{", "{} {}", "nul", "{a:1}", " ", "[1,]", "01"] {
            assert!(well_formed(bad, "metadata_json", 1 << 20).is_err(), "{bad}");
        }
        let limit = well_formed("[1]", "metadata_json", 2).expect_err("too long");
        assert_eq!(limit.limit, Some(("text_bytes_max", 2)));
    }
}

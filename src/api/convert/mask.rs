//! Update masks, as AIP-134 has them.

use prost_types::FieldMask;

use crate::domain::Invalid;

/// Which fields an update sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// Those that have a value.
    Filled,
    /// All that can be written.
    All,
    /// These.
    Named(Vec<String>),
}

impl Mask {
    /// The mask of a request, all of whose paths are among `writable`.
    pub(super) fn parse(mask: Option<FieldMask>, writable: &[&str]) -> Result<Self, Invalid> {
        let paths = mask.unwrap_or_default().paths;
        if paths.is_empty() {
            return Ok(Self::Filled);
        }
        if paths == ["*"] {
            return Ok(Self::All);
        }
        if paths.iter().all(|path| writable.contains(&path.as_str())) {
            return Ok(Self::Named(paths));
        }
        Err(Invalid::new(
            "update_mask",
            format!("every path is one of {}, or * alone", writable.join(", ")),
        ))
    }

    /// The value of the field `path` if the update sets it; `filled` says whether the request has one.
    pub(super) fn pick<T>(
        &self,
        path: &str,
        filled: bool,
        value: impl FnOnce() -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        let sets = match self {
            Self::Filled => filled,
            Self::All => true,
            Self::Named(_) => self.names(path),
        };
        sets.then(value).transpose()
    }

    /// Whether the mask names `path`.
    pub(super) fn names(&self, path: &str) -> bool {
        match self {
            Self::Filled | Self::All => false,
            Self::Named(paths) => paths.iter().any(|named| named == path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(paths: &[&str]) -> Result<Mask, Invalid> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Mask::parse(Some(FieldMask { paths }), &["title", "labels"])
    }

    #[test]
    fn masks() {
        assert_eq!(Mask::parse(None, &["title"]), Ok(Mask::Filled));
        assert_eq!(parse(&[]), Ok(Mask::Filled));
        assert_eq!(parse(&["*"]), Ok(Mask::All));
        assert!(parse(&["title", "labels"]).is_ok_and(|mask| mask.names("title")));
        for bad in [
            ["revision"].as_slice(),
            &["labels.a"],
            &["title", "*"],
            &[""],
            &["Title"],
        ] {
            assert_eq!(parse(bad).expect_err("invalid").field, "update_mask", "{bad:?}");
        }
    }

    #[test]
    fn picks() {
        let picked = |mask: &Mask, filled| mask.pick("title", filled, || Ok(())).expect("valid").is_some();
        assert!(picked(&Mask::Filled, true) && !picked(&Mask::Filled, false));
        assert!(picked(&Mask::All, false));
        assert!(picked(&Mask::Named(vec!["title".into()]), false));
        assert!(!picked(&Mask::Named(vec!["labels".into()]), true));
    }
}

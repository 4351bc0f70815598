//! Columns of a row, borrowed; one that is not of its type is damage.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::store::record::Damage;

/// Reads columns by their places.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a>(pub(super) &'a Row<'a>);

impl<'a> Columns<'a> {
    pub(super) fn text(self, at: usize) -> Result<&'a str, Damage> {
        self.maybe_text(at)?.ok_or_else(|| wrong(at))
    }

    pub(super) fn maybe_text(self, at: usize) -> Result<Option<&'a str>, Damage> {
        match self.value(at)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| wrong(at)),
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => Err(wrong(at)),
        }
    }

    pub(super) fn integer(self, at: usize) -> Result<i64, Damage> {
        self.maybe_integer(at)?.ok_or_else(|| wrong(at))
    }

    pub(super) fn maybe_integer(self, at: usize) -> Result<Option<i64>, Damage> {
        match self.value(at)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            ValueRef::Text(_) | ValueRef::Real(_) | ValueRef::Blob(_) => Err(wrong(at)),
        }
    }

    pub(super) fn blob(self, at: usize) -> Result<&'a [u8], Damage> {
        self.maybe_blob(at)?.ok_or_else(|| wrong(at))
    }

    pub(super) fn maybe_blob(self, at: usize) -> Result<Option<&'a [u8]>, Damage> {
        match self.value(at)? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => Err(wrong(at)),
        }
    }

    /// 16 bytes: a digest.
    pub(super) fn digest(self, at: usize) -> Result<[u8; 16], Damage> {
        self.blob(at)?.try_into().map_err(|_| wrong(at))
    }

    fn value(self, at: usize) -> Result<ValueRef<'a>, Damage> {
        self.0.get_ref(at).map_err(|_| wrong(at))
    }
}

fn wrong(at: usize) -> Damage {
    Damage::new(format_args!("column {at} is not of its type"))
}

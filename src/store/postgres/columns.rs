//! Columns of a row, borrowed; one that is not of its type is damage.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::store::record::Damage;

/// Reads columns by their places.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a>(pub(super) &'a Row);

impl<'a> Columns<'a> {
    /// A name or JSON.
    pub(super) fn text(self, at: usize) -> Result<&'a str, Damage> {
        self.maybe_text(at)?.ok_or_else(|| wrong(at))
    }

    pub(super) fn maybe_text(self, at: usize) -> Result<Option<&'a str>, Damage> {
        self.value(at)
    }

    /// What somebody wrote: stored as bytes, for it may hold any character.
    pub(super) fn written(self, at: usize) -> Result<&'a str, Damage> {
        self.maybe_written(at)?.ok_or_else(|| wrong(at))
    }

    pub(super) fn maybe_written(self, at: usize) -> Result<Option<&'a str>, Damage> {
        let bytes = self.maybe_blob(at)?;
        let text = bytes.map(std::str::from_utf8).transpose();
        text.map_err(|_| wrong(at))
    }

    pub(super) fn integer(self, at: usize) -> Result<i64, Damage> {
        self.maybe_integer(at)?.ok_or_else(|| wrong(at))
    }

    pub(super) fn maybe_integer(self, at: usize) -> Result<Option<i64>, Damage> {
        self.value(at)
    }

    pub(super) fn flag(self, at: usize) -> Result<bool, Damage> {
        self.value::<bool>(at)?.ok_or_else(|| wrong(at))
    }

    pub(super) fn blob(self, at: usize) -> Result<&'a [u8], Damage> {
        self.maybe_blob(at)?.ok_or_else(|| wrong(at))
    }

    pub(super) fn maybe_blob(self, at: usize) -> Result<Option<&'a [u8]>, Damage> {
        self.value(at)
    }

    /// 16 bytes: a digest.
    pub(super) fn digest(self, at: usize) -> Result<[u8; 16], Damage> {
        self.blob(at)?.try_into().map_err(|_| wrong(at))
    }

    fn value<T: FromSql<'a>>(self, at: usize) -> Result<Option<T>, Damage> {
        self.0.try_get(at).map_err(|_| wrong(at))
    }
}

fn wrong(at: usize) -> Damage {
    Damage::new(format_args!("column {at} is not of its type"))
}

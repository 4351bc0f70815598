//! Filling a page: how many rows and bytes still fit.

use crate::domain::query::Bound;

/// How much of a page is left.
#[derive(Debug)]
pub(super) struct Room {
    bound: Bound,
    pub(super) rows: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn of(bound: Bound) -> Self {
        Self {
            bound,
            rows: 0,
            bytes: 0,
        }
    }

    /// Takes a row of so many bytes, if it fits; the first one always does.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.rows < self.bound.rows && self.bytes.saturating_add(bytes) <= self.bound.bytes;
        if fits || self.rows == 0 {
            self.rows += 1;
            self.bytes = self.bytes.saturating_add(bytes);
            true
        } else {
            false
        }
    }

    /// Whether half of it is taken.
    pub(super) fn is_half_full(&self) -> bool {
        self.rows >= self.bound.rows / 2 || self.bytes >= self.bound.bytes / 2
    }

    /// Rows that may still fit, as a statement's limit.
    pub(super) fn rows_left(&self) -> i64 {
        i64::try_from(self.bound.rows.max(1) - self.rows.min(self.bound.rows)).unwrap_or(i64::MAX)
    }
}

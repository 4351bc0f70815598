//! Cursors of watches: opaque text that says where a reader stands.
//!
//! A cursor is a version, a hash and a place. The hash covers what is watched and the place, so that a cursor is good
//! for the session or thread that gave it and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;
use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::domain::{Cursor, Invalid, LogId, Namespace, Revision, Seq, ThreadCursor};

const VERSION: u8 = 1;
const HASH_BYTES: usize = 8;

/// The longest cursor that is looked at.
const CURSOR_CHARS_MAX: usize = 512;

/// What a cursor is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched(u64);

impl Watched {
    /// A session or thread: `noun` tells which.
    pub(super) fn of(noun: &str, ns: &Namespace, id: &str) -> Self {
        let mut hash = Xxh3::new();
        for part in [noun, ns.as_str(), id] {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        Self(hash.digest())
    }

    /// A place as text.
    pub(super) fn cursor(self, at: &impl Place) -> String {
        let place = at.write().encode_to_vec();
        let hash = xxh3_64_with_seed(&place, self.0);
        URL_SAFE_NO_PAD.encode([&[VERSION], &hash.to_be_bytes()[..], &place].concat())
    }

    /// The place that a client gives; none where it is absent or empty.
    pub(super) fn place<P: Place>(self, cursor: Option<&str>) -> Result<Option<P>, Invalid> {
        let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
            return Ok(None);
        };
        let place = self.open(cursor).and_then(P::read);
        let invalid = || Invalid::new("cursor", "must be one that a watch of this resource has given");
        place.map(Some).ok_or_else(invalid)
    }

    fn open(self, cursor: &str) -> Option<Written> {
        if cursor.len() > CURSOR_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (hash, place) = rest.split_first_chunk::<HASH_BYTES>()?;
        let is_ours = version == VERSION && u64::from_be_bytes(*hash) == xxh3_64_with_seed(place, self.0);
        if is_ours {
            Written::decode(place).ok()
        } else {
            None
        }
    }
}

/// A place within a cursor.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Written {
    #[prost(bytes = "vec", tag = "1")]
    log: Vec<u8>,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(bytes = "vec", tag = "4")]
    journal: Vec<u8>,
    #[prost(uint64, tag = "5")]
    base_items: u64,
    #[prost(uint64, tag = "6")]
    item: u64,
    #[prost(uint64, tag = "7")]
    change: u64,
    #[prost(uint64, tag = "8")]
    after: u64,
}

/// Where a reader stands.
pub(super) trait Place: Sized {
    /// The place, to be written.
    fn write(&self) -> Written;

    /// The place that was written.
    fn read(written: Written) -> Option<Self>;
}

impl Place for Cursor {
    fn write(&self) -> Written {
        Written {
            log: self.log.0.as_bytes().to_vec(),
            seq: self.seq.0,
            revision: self.revision.0,
            ..Written::default()
        }
    }

    fn read(written: Written) -> Option<Self> {
        Some(Self {
            log: log(&written.log)?,
            seq: Seq(written.seq),
            revision: Revision(written.revision),
        })
    }
}

impl Place for ThreadCursor {
    fn write(&self) -> Written {
        let (log, seq) = self.base;
        Written {
            log: log.0.as_bytes().to_vec(),
            seq: seq.0,
            journal: self.journal.0.as_bytes().to_vec(),
            base_items: self.base_items.0,
            item: self.item.0,
            change: self.change,
            after: self.after.0,
            revision: 0,
        }
    }

    fn read(written: Written) -> Option<Self> {
        Some(Self {
            journal: log(&written.journal)?,
            base: (log(&written.log)?, Seq(written.seq)),
            base_items: Seq(written.base_items),
            item: Seq(written.item),
            change: written.change,
            after: Seq(written.after),
        })
    }
}

fn log(bytes: &[u8]) -> Option<LogId> {
    Uuid::from_slice(bytes).ok().map(LogId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        Cursor {
            log: LogId(Uuid::from_u128(7)),
            seq: Seq(u64::MAX),
            revision: Revision(3),
        }
    }

    fn watched(noun: &str, namespace: &str, id: &str) -> Watched {
        Watched::of(noun, &Namespace::parse(namespace).expect("valid"), id)
    }

    #[test]
    fn places_come_back() {
        let session = watched("session", "", "s");
        assert_eq!(
            session.place(Some(&session.cursor(&cursor()))),
            Ok(Some(cursor()))
        );
        assert_eq!(session.place::<Cursor>(None), Ok(None));
        assert_eq!(session.place::<Cursor>(Some("")), Ok(None));
        let thread = watched("thread", "", "t");
        let place = ThreadCursor {
            journal: LogId(Uuid::from_u128(1)),
            base: (LogId(Uuid::from_u128(2)), Seq(3)),
            base_items: Seq(4),
            item: Seq(5),
            change: 6,
            after: Seq(7),
        };
        assert_eq!(thread.place(Some(&thread.cursor(&place))), Ok(Some(place)));
    }

    #[test]
    fn cursors_of_something_else_are_refused() {
        let session = watched("session", "", "s");
        let given = session.cursor(&cursor());
        let mut flipped = given.clone().into_bytes();
        flipped[14] = if flipped[14] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).expect("text");
        for (watched, cursor) in [
            (watched("session", "", "other"), &*given),
            (watched("session", "other", "s"), &given),
            (watched("thread", "", "s"), &given),
            (session, &flipped),
            (session, &given[1..]),
            (session, "x"),
            (session, "!!"),
            (session, &"A".repeat(600)),
        ] {
            let invalid = watched.place::<Cursor>(Some(cursor)).expect_err("not good here");
            assert_eq!(invalid.field, "cursor");
        }
    }
}

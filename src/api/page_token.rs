//! Pages: how much one holds, and the opaque token that the next one is asked for with.
//!
//! A token is a version, a hash and the key of the row that the page ended at. The hash covers the method, the
//! namespace, the filters and the key, so that a token is good for the list that gave it and nothing else; the page
//! size may change from page to page.

use std::mem;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;
use tonic::Status;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::domain::limits::{PAGE_BYTES_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use crate::domain::query::{self, Bound, ResumeKey, SessionKey, ThreadKey};
use crate::domain::search::Place;
use crate::domain::{EngineId, Invalid, Namespace, ResumeId, Revision, Seq, SessionId, ThreadId, Time};

use crate::service::search;

use super::frame::Listing;
use super::status::page_token_invalid;

const VERSION: u8 = 1;
const HASH_BYTES: usize = 8;

/// The longest token that is looked at; a key holds a title and an id at most.
const TOKEN_CHARS_MAX: usize = 4096;

/// One page of a list.
pub(super) struct Paging {
    /// How much it may hold.
    pub(super) bound: Bound,
    token: String,
    list: u64,
}

impl Paging {
    /// Takes page_size and page_token out of a request; what is left of it are the filters.
    pub(super) fn of<L: Listing>(namespace: &Namespace, request: &mut L) -> Result<Self, Invalid> {
        let (size, token) = request.page();
        let (size, token) = (mem::take(size), mem::take(token));
        let rows = match usize::try_from(size) {
            Ok(0) => PAGE_ROWS_DEFAULT,
            Ok(rows) => rows.min(PAGE_ROWS_MAX),
            Err(_) => return Err(Invalid::new("page_size", "must not be negative")),
        };
        let mut list = Xxh3::new();
        for part in [L::NAME, namespace.as_str()] {
            list.update(part.as_bytes());
            list.update(&[0]);
        }
        list.update(&request.encode_to_vec());
        Ok(Self {
            bound: Bound {
                rows,
                bytes: PAGE_BYTES_MAX,
            },
            token,
            list: list.digest(),
        })
    }

    /// The key that this page follows; none for the first page.
    pub(super) fn after<K: Key>(&self) -> Result<Option<K>, Status> {
        if self.token.is_empty() {
            return Ok(None);
        }
        self.open()
            .and_then(K::read)
            .map(Some)
            .ok_or_else(page_token_invalid)
    }

    /// The token of the page that follows `key`; empty where there is none.
    pub(super) fn next<K: Key>(&self, key: Option<&K>) -> String {
        let Some(key) = key else { return String::new() };
        let key = key.write().encode_to_vec();
        let hash = xxh3_64_with_seed(&key, self.list);
        URL_SAFE_NO_PAD.encode([&[VERSION], &hash.to_be_bytes()[..], &key].concat())
    }

    fn open(&self) -> Option<Row> {
        if self.token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(&self.token).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (hash, key) = rest.split_first_chunk::<HASH_BYTES>()?;
        let is_ours = version == VERSION && u64::from_be_bytes(*hash) == xxh3_64_with_seed(key, self.list);
        if is_ours { Row::decode(key).ok() } else { None }
    }
}

/// A key within a token.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Row {
    #[prost(sfixed64, optional, tag = "1")]
    time: Option<i64>,
    #[prost(string, optional, tag = "2")]
    title: Option<String>,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(uint64, tag = "4")]
    seq: u64,
    #[prost(sfixed64, optional, tag = "5")]
    newest: Option<i64>,
}

/// The key of a row.
pub(super) trait Key: Sized {
    /// The key, to be written.
    fn write(&self) -> Row;

    /// The key that was written.
    fn read(row: Row) -> Option<Self>;
}

impl Key for SessionKey {
    fn write(&self) -> Row {
        let (time, title) = match &self.place {
            query::Place::Time(time) => (Some(time.0), None),
            query::Place::Title(title) => (None, Some(title.clone())),
        };
        Row {
            time,
            title,
            id: self.id.to_string(),
            ..Row::default()
        }
    }

    fn read(row: Row) -> Option<Self> {
        let place = match (row.time, row.title) {
            (Some(time), None) => query::Place::Time(Time(time)),
            (None, Some(title)) => query::Place::Title(title),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        Some(Self {
            place,
            id: SessionId::parse(&row.id, "page_token").ok()?,
        })
    }
}

impl Key for ThreadKey {
    fn write(&self) -> Row {
        Row {
            time: Some(self.update_time.0),
            id: self.id.to_string(),
            ..Row::default()
        }
    }

    fn read(row: Row) -> Option<Self> {
        Some(Self {
            update_time: Time(row.time?),
            id: ThreadId::parse(&row.id, "page_token").ok()?,
        })
    }
}

impl Key for ResumeKey {
    fn write(&self) -> Row {
        Row {
            time: Some(self.create_time.0),
            id: self.id.to_string(),
            ..Row::default()
        }
    }

    fn read(row: Row) -> Option<Self> {
        Some(Self {
            create_time: Time(row.time?),
            id: ResumeId::parse(&row.id, "page_token").ok()?,
        })
    }
}

impl Key for EngineId {
    fn write(&self) -> Row {
        Row {
            id: self.to_string(),
            ..Row::default()
        }
    }

    fn read(row: Row) -> Option<Self> {
        Self::parse(&row.id, "page_token").ok()
    }
}

impl Key for SessionId {
    fn write(&self) -> Row {
        Row {
            id: self.to_string(),
            ..Row::default()
        }
    }

    fn read(row: Row) -> Option<Self> {
        Self::parse(&row.id, "page_token").ok()
    }
}

impl Key for Revision {
    fn write(&self) -> Row {
        Row {
            seq: self.0,
            ..Row::default()
        }
    }

    fn read(row: Row) -> Option<Self> {
        Some(Self(row.seq))
    }
}

impl Key for Seq {
    fn write(&self) -> Row {
        Row {
            seq: self.0,
            ..Row::default()
        }
    }

    fn read(row: Row) -> Option<Self> {
        Some(Self(row.seq))
    }
}

impl Key for search::Key {
    fn write(&self) -> Row {
        match *self {
            Self::Newest(place) => Row {
                time: Some(place.0),
                ..Row::default()
            },
            Self::Relevance { newest, score, place } => Row {
                time: Some(place.0),
                seq: score,
                newest: Some(newest.0),
                ..Row::default()
            },
        }
    }

    fn read(row: Row) -> Option<Self> {
        let place = Place(row.time?);
        Some(row.newest.map_or(Self::Newest(place), |newest| Self::Relevance {
            newest: Place(newest),
            score: row.seq,
            place,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{ListEntriesRequest, ListSessionsRequest, ListThreadsRequest, SearchMessagesRequest};

    fn paging<L: Listing>(namespace: &str, mut request: L) -> Paging {
        Paging::of(&Namespace::parse(namespace).expect("valid"), &mut request).expect("valid")
    }

    fn sessions(page_size: i32, page_token: &str) -> ListSessionsRequest {
        ListSessionsRequest {
            page_size,
            page_token: page_token.into(),
            ..Default::default()
        }
    }

    #[test]
    fn page_sizes() {
        for (asked, rows) in [(0, 50), (1, 1), (500, 500), (10_000, 500)] {
            assert_eq!(paging("", sessions(asked, "")).bound.rows, rows);
        }
        let ns = Namespace::parse("").expect("valid");
        let negative = Paging::of(&ns, &mut sessions(-1, "")).err().expect("invalid");
        assert_eq!(negative.field, "page_size");
    }

    #[test]
    fn keys_survive() {
        let id = SessionId::parse("s", "id").expect("valid");
        for place in [
            query::Place::Time(Time(-5)),
            query::Place::Title("Zwölf".into()),
            query::Place::Title(String::new()),
        ] {
            let key = SessionKey {
                place,
                id: id.clone(),
            };
            let token = paging("", sessions(3, "")).next(Some(&key));
            assert_eq!(paging("", sessions(7, &token)).after().expect("valid"), Some(key));
        }
        let key = ThreadKey {
            update_time: Time(1),
            id: ThreadId::parse("t", "id").expect("valid"),
        };
        let token = paging("", ListThreadsRequest::default()).next(Some(&key));
        let request = ListThreadsRequest {
            page_token: token,
            ..Default::default()
        };
        assert_eq!(paging("", request).after().expect("valid"), Some(key));
        let found = |page_token: String| SearchMessagesRequest {
            page_token,
            ..Default::default()
        };
        for key in [
            search::Key::Newest(Place(-7)),
            search::Key::Relevance {
                newest: Place(9),
                score: u64::MAX,
                place: Place(0),
            },
        ] {
            let token = paging("", found(String::new())).next(Some(&key));
            assert_eq!(paging("", found(token)).after().expect("valid"), Some(key));
        }
        assert_eq!(paging("", sessions(3, "")).after::<Seq>().expect("valid"), None);
        assert_eq!(paging("", sessions(3, "")).next::<Seq>(None), "");
    }

    #[test]
    fn tokens_of_something_else_are_refused() {
        let list = |session: &str, page_token: &str| ListEntriesRequest {
            session_id: session.into(),
            page_token: page_token.into(),
            ..Default::default()
        };
        let token = paging("", list("a", "")).next(Some(&Seq(7)));
        assert_eq!(
            paging("", list("a", &token)).after().expect("valid"),
            Some(Seq(7))
        );
        assert_eq!(
            paging("default", list("a", &token)).after().expect("valid"),
            Some(Seq(7))
        );

        let refused = |paging: Paging| {
            let status = paging.after::<Seq>().expect_err("invalid");
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert_eq!(status.message(), page_token_invalid().message());
        };
        refused(paging("", list("b", &token)));
        refused(paging("other", list("a", &token)));
        refused(paging("", sessions(0, &token)));
        let mut flipped = token.clone().into_bytes();
        flipped[14] = if flipped[14] == b'A' { b'B' } else { b'A' };
        refused(paging("", list("a", &String::from_utf8(flipped).expect("text"))));
        for garbage in [
            "x",
            "AQ",
            "!!",
            &token[1..],
            &format!("{token}A"),
            &"A".repeat(5000),
        ] {
            refused(paging("", list("a", garbage)));
        }
    }
}

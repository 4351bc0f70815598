//! A limit on everything, in one place. [`Limits`] are those an operator may set.

use std::time::Duration;

/// The longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 200;

/// The longest workspace, provider, endpoint, model, mode or task type, in characters.
pub const SETTING_CHARS_MAX: usize = 4096;

/// A page's rows where the request says 0.
pub const PAGE_ROWS_DEFAULT: usize = 50;

/// The most rows a page has; larger requests are taken for this.
pub const PAGE_ROWS_MAX: usize = 500;

/// The bytes of a page or a stream message, unless one record alone is larger.
pub const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The bytes of entries that a watch sends at once: many readers may be slow at a time.
pub const WATCH_PAGE_BYTES: usize = 64 * 1024;

/// Turns that a watch sends at once.
pub const WATCH_TURNS_MAX: usize = 32;

/// Rows a filter that no index serves looks at before the page ends short.
pub const SCAN_ROWS_MAX: usize = 10_000;

/// Characters of what a search looks for.
pub const QUERY_CHARS_MAX: usize = 1_024;

/// Words and phrases of what a search looks for.
pub const QUERY_PHRASES_MAX: usize = 64;

/// The part of a message that is searched: this many bytes of its text, tool inputs and tool outputs.
pub const SEARCHED_BYTES_MAX: usize = 256 * 1024;

/// The newest matches that an order by relevance compares, and lists.
pub const RANKED_ROWS_MAX: usize = 1_000;

/// The bytes of messages that a page of a search looks into, unless one message alone is larger.
pub const SEARCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Logs of a path that a search looks for by an index; a longer path is a filter that no index serves.
pub const SEARCH_LOGS_MAX: usize = 128;

/// Sessions that share a message, of which the oldest is looked for.
pub const SHARERS_MAX: usize = 10_000;

/// Messages that one commit of the search index takes.
pub const INDEX_ROWS_MAX: usize = 1_000;

/// Bytes of messages that one commit of the search index takes, unless one message alone is larger.
pub const INDEX_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Entries that one short commit may carry; more are staged first.
pub const COMMIT_ENTRIES_MAX: usize = 1_000;

/// Bytes that one short commit may carry; more are staged first.
pub const COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a piece of an exported transcript.
pub const EXPORT_CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Fields of a body that is shown as JSON too, those of the messages in it included.
pub const READABLE_FIELDS_MAX: usize = 50_000;

/// Pages of exports that are written at a time, over all of them.
pub const EXPORT_WRITERS_MAX: usize = 4;

/// The part of a message that a masked preview is made from, in bytes.
pub const PREVIEWED_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the sessions that the answer of an import shows with their large texts.
pub const IMPORTED_WHOLE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of all sessions that the answer of an import shows by more than their ids.
pub const IMPORTED_SHOWN_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Sessions that one import may bring.
pub const IMPORT_SESSIONS_MAX: usize = 1_000;

/// Sessions that one import makes visible in one commit.
pub const IMPORT_COMMIT_SESSIONS_MAX: usize = 100;

/// Sessions that may come from one source: the first and what was forked off it by later imports.
pub const IMPORT_BRANCHES_MAX: usize = 32;

/// Lines left out that an import names.
pub const IMPORT_PROBLEMS_MAX: usize = 1_000;

/// Bytes by which a stored body may pass the limit for messages: an id, a turn's id and a time that were filled in.
pub const FILLED_BYTES_MAX: usize = 512;

/// Sub-sessions that one deletion may take with it.
pub const CASCADE_SESSIONS_MAX: usize = 10_000;

/// Dropped entries that the answer to a rewind shows.
pub const REMOVED_ENTRIES_MAX: usize = 1_000;

/// Ancestors that a tree shows: the nearest ones.
pub const ANCESTORS_MAX: usize = 10_000;

/// Sessions that one commit of a prune looks at.
pub const PRUNE_SESSIONS_MAX: usize = 50;

/// Sub-sessions that one commit of a prune looks at, unless one session alone has more.
pub const PRUNE_MEMBERS_MAX: usize = 1_000;

/// Sessions above one that is pruned which are looked at for whether they take it along.
pub const PRUNE_ABOVE_MAX: usize = 16;

/// Session ids that a prune returns; its count is the whole.
pub const PRUNED_IDS_MAX: usize = 1_000;

/// How often what was computed on a reader is computed again when its session moved meanwhile.
pub const MOVED_RETRIES_MAX: usize = 3;

/// Rows that one commit of upkeep removes.
pub const SWEEP_ROWS_MAX: usize = 1_000;

/// Bytes of bodies that one commit of upkeep removes, unless one row alone has more.
pub const SWEEP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Rows that one commit of a copy into another store takes.
pub const COPY_ROWS_MAX: usize = 2_000;

/// Bytes of bodies and texts that one commit of a copy takes, unless one row alone has more.
pub const COPY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Attached engines of a namespace among which one is chosen: the first by id.
pub const ENGINES_MAX: usize = 10_000;

/// How long a receipt answers retries.
pub const RECEIPT_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a resume is kept after its end.
pub const RESUME_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a head that a session left can be read.
pub const PAST_HEAD_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long an engine without threads is remembered after it left.
pub const ENGINE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a log may be staged before a crash is assumed and it is swept.
pub const STAGING_LIFE: Duration = Duration::from_secs(60 * 60);

/// How often what is staged is said to be still wanted.
pub const STAGING_RENEWED_EVERY: Duration = Duration::from_secs(10 * 60);

/// The limits that an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, checkpoint or event.
    pub message_bytes_max: usize,
    /// Bytes of one request.
    pub request_bytes_max: usize,
    /// Entries of one AppendEntries, items of one AppendItems.
    pub batch_entries_max: usize,
    /// Labels of one session or thread.
    pub labels_max: usize,
    /// Characters of a label's key.
    pub label_key_chars_max: usize,
    /// Characters of a label's value.
    pub label_value_chars_max: usize,
    /// Characters of a title; at most 200.
    pub title_chars_max: usize,
    /// Bytes of settings_json, metadata_json and system_prompt, each.
    pub text_bytes_max: usize,
    /// How long a deleted session is kept.
    pub purge_after: Duration,
}

impl Limits {
    /// Bytes of one line of a transcript: a body in base64 and something of its readable form, or the three large texts
    /// of a session at their longest in JSON.
    pub fn line_bytes_max(&self) -> usize {
        2 * self.message_bytes_max + 20 * self.text_bytes_max + 4 * 1024 * 1024
    }

    /// The same limits for bodies that a service has stored before, and filled in what was missing.
    #[must_use]
    pub fn for_stored_bodies(&self) -> Self {
        Self {
            message_bytes_max: self.message_bytes_max + FILLED_BYTES_MAX,
            ..self.clone()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 16 * 1024 * 1024,
            request_bytes_max: 64 * 1024 * 1024,
            batch_entries_max: 10_000,
            labels_max: 64,
            label_key_chars_max: 64,
            label_value_chars_max: 256,
            title_chars_max: TITLE_CHARS_MAX,
            text_bytes_max: 1024 * 1024,
            purge_after: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

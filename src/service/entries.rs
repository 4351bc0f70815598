//! A session's log: appended to, listed, and read as messages.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::body;
use crate::domain::fork::Count;
use crate::domain::id::{EntryId, Revision};
use crate::domain::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::domain::proposal::SessionCommand;
use crate::domain::query::{Bound, End, Page, Range};
use crate::domain::{
    Command, Entry, Kind, Log, Namespace, NewEntry, Outcome, Refusal, Seq, Session, SessionId, Tip,
};
use crate::store::{self, Store};

use super::sessions::standing;
use super::{Call, Error, Service, mismatched};

/// What an append did.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The session after it.
    pub session: Arc<Session>,
    /// The lowest seq of the given entries, known ones included.
    pub first: Seq,
    /// The highest.
    pub last: Seq,
    /// How many were new.
    pub added: u64,
}

/// Which entries a list shows: bounds are exclusive.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// After this one.
    pub after: Option<Seq>,
    /// Before this one.
    pub before: Option<Seq>,
    /// The end from which pages come.
    pub end: End,
}

/// Which messages a session is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Every message but the system's.
    Visible,
    /// What a model is sent.
    Context,
}

/// Which messages are read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Of this view.
    pub view: View,
    /// From this place in it.
    pub from: u64,
    /// At most so many.
    pub limit: Option<u64>,
    /// As of this revision.
    pub revision: Option<Revision>,
}

/// Where a context view begins.
#[derive(Clone, Debug, Default)]
pub(super) struct ContextStart {
    /// The messages that stand for everything before.
    pub(super) head: Vec<Bytes>,
    /// The messages of the main agent after this entry follow.
    pub(super) after: Seq,
    /// But for this one, which is in the head.
    pub(super) left_out: Option<Seq>,
}

/// Bytes of a small page; a single message may be larger.
const SMALL_PAGE_BYTES: usize = 32 * 1024;

/// Entries in chunks of at most 2 MiB or one entry.
pub(super) type Entries = stream::BoxStream<'static, Result<Vec<Entry>, Error>>;

/// Messages in chunks of at most 2 MiB or one message.
pub type Messages = stream::BoxStream<'static, Result<Vec<Bytes>, Error>>;

impl Service {
    /// Adds entries, all or nothing.
    pub async fn append_entries(
        &self,
        call: Call,
        id: SessionId,
        entries: Vec<NewEntry>,
        expected: Option<Revision>,
    ) -> Result<Appended, Error> {
        let command = SessionCommand::Append {
            id,
            entries,
            expected,
        };
        let committed = self.commit(call, Command::Session(command)).await?;
        match committed.outcome {
            Outcome::Appended {
                session,
                first,
                last,
                added,
            } => Ok(Appended {
                session: standing(committed.session, &session)?,
                first,
                last,
                added,
            }),
            outcome => Err(mismatched(&outcome)),
        }
    }

    /// A page of entries in ascending order. `from` is the key of the page before: an entry that this one
    /// follows, or with `End::Newest` precedes.
    pub async fn list_entries(
        &self,
        ns: &Namespace,
        id: &SessionId,
        revision: Option<Revision>,
        window: Window,
        from: Option<Seq>,
        bound: Bound,
    ) -> Result<Page<Entry, Seq>, Error> {
        let session = self.session(ns, id, revision).await?;
        let last = session.tip.seq();
        let mut after = window.after.unwrap_or(Seq::ZERO);
        let mut to = window
            .before
            .map_or(last, |before| Seq(before.0.saturating_sub(1)).min(last));
        match window.end {
            End::Oldest => after = after.max(from.unwrap_or(Seq::ZERO)),
            End::Newest => to = from.map_or(to, |from| to.min(Seq(from.0.saturating_sub(1)))),
        }
        if after >= to {
            return Ok(Page {
                rows: Vec::new(),
                next: None,
            });
        }
        let range = Range {
            after,
            to,
            from: window.end,
        };
        let rows = self.store.entries(&session.tip.log, range, bound).await?;
        if rows.is_empty() {
            let log = format!("log {}", session.tip.log.id);
            return Err(store::Error::corrupt(log, "entries are missing").into());
        }
        let next = match window.end {
            End::Oldest => rows.last().map(|entry| entry.meta.seq).filter(|seq| *seq < to),
            End::Newest => rows
                .first()
                .map(|entry| entry.meta.seq)
                .filter(|seq| *seq > after.next()),
        };
        Ok(Page { rows, next })
    }

    /// Streams messages. What is read is fixed when the call starts: later changes do not show.
    pub async fn messages(&self, ns: &Namespace, id: &SessionId, read: Read) -> Result<Messages, Error> {
        let session = self.session(ns, id, read.revision).await?;
        match read.view {
            View::Visible => self.visible(&session.tip, read).await,
            View::Context => self.context(&session.tip, read).await,
        }
    }

    async fn visible(&self, tip: &Tip, read: Read) -> Result<Messages, Error> {
        let count = tip.tally.visible;
        in_range(read.from, count)?;
        let wanted = read.limit.unwrap_or(u64::MAX).min(count - read.from);
        if wanted == 0 {
            return Ok(stream::empty().boxed());
        }
        let first = self.store.seek(tip, Count::Visible, read.from).await?;
        let first =
            first.ok_or_else(|| store::Error::corrupt(format!("log {}", tip.log.id), "a tally is off"))?;
        let after = Seq(first.meta.seq.0 - 1);
        let bodies = self.bodies(tip, after, |entry| entry.meta.mark.is_visible());
        Ok(limited(bodies, 0, wanted))
    }

    /// The newest checkpoint's messages, then those after it.
    pub(super) async fn context(&self, tip: &Tip, read: Read) -> Result<Messages, Error> {
        let ContextStart {
            head,
            after,
            left_out,
        } = self.context_start(tip).await?;
        let head = stream::iter(chunks(head)).map(Ok);
        let rest = self.bodies(tip, after, move |entry| {
            entry.meta.mark.is_context() && Some(entry.meta.seq) != left_out
        });
        let wanted = read.limit.unwrap_or(u64::MAX);
        Ok(limited(head.chain(rest).boxed(), read.from, wanted))
    }

    /// What of the context view the newest checkpoint gives, and where the log goes on.
    pub(super) async fn context_start(&self, tip: &Tip) -> Result<ContextStart, Error> {
        let at = tip.tally.checkpoint;
        if at == Seq::ZERO {
            return Ok(ContextStart::default());
        }
        let checkpoint = self.entry_at(tip, at).await?;
        let damaged = |error| store::Error::corrupt(format!("entry {at} of log {}", tip.log.id), error);
        let checkpoint = body::checkpoint(&checkpoint.body).map_err(damaged)?;
        if checkpoint.context.is_empty() && !checkpoint.summary_message_id.is_empty() {
            return self.pointed(tip, &checkpoint).await;
        }
        Ok(ContextStart {
            head: checkpoint.context,
            after: at,
            left_out: None,
        })
    }

    /// A pointer checkpoint: the summary, then every other message after `last_message_id`, or after the
    /// summary where that is not known. A summary that is not there is left out.
    async fn pointed(&self, tip: &Tip, checkpoint: &body::CheckpointBody) -> Result<ContextStart, Error> {
        let summary = self.message_named(tip, &checkpoint.summary_message_id).await?;
        let last = self.message_named(tip, &checkpoint.last_message_id).await?;
        let at = summary.as_ref().map(|entry| entry.meta.seq);
        let after = last
            .map(|entry| entry.meta.seq)
            .or(at)
            .unwrap_or(tip.tally.checkpoint);
        Ok(ContextStart {
            head: summary.map(|entry| entry.body).into_iter().collect(),
            after,
            left_out: at,
        })
    }

    async fn message_named(&self, tip: &Tip, id: &str) -> Result<Option<Entry>, Error> {
        let Ok(id) = EntryId::parse(id, "message_id") else {
            return Ok(None);
        };
        let entry = self.store.entry_by_id(tip, &id).await?;
        Ok(entry.filter(|entry| entry.meta.mark.kind == Kind::Message))
    }

    pub(super) async fn entry_at(&self, tip: &Tip, seq: Seq) -> Result<Entry, Error> {
        let range = Range {
            after: Seq(seq.0 - 1),
            to: seq,
            from: End::Oldest,
        };
        let mut rows = self
            .store
            .entries(
                &tip.log,
                range,
                Bound {
                    rows: 1,
                    bytes: PAGE_BYTES_MAX,
                },
            )
            .await?;
        let missing = || store::Error::corrupt(format!("entry {seq} of log {}", tip.log.id), "missing");
        Ok(rows.pop().ok_or_else(missing)?)
    }

    /// A page of entries after `after`, which has to come before the tip: so many bytes, or one entry.
    pub(super) async fn page_of(&self, tip: &Tip, after: Seq, bytes: usize) -> Result<Vec<Entry>, Error> {
        let bound = Bound {
            rows: PAGE_ROWS_MAX,
            bytes,
        };
        self.reading(tip).rows(after, bound).await
    }

    fn reading(&self, tip: &Tip) -> Reading {
        Reading {
            store: self.store.clone(),
            log: tip.log.clone(),
            to: tip.seq(),
            large: self.live.large_pages.clone(),
        }
    }

    /// The bodies of the entries after `after` that `keep` lets through, a chunk a read.
    fn bodies(&self, tip: &Tip, after: Seq, keep: impl Fn(&Entry) -> bool + Send + 'static) -> Messages {
        let pages = self.entry_pages(tip, after);
        let kept = pages.map_ok(move |rows| rows.into_iter().filter(&keep).map(|entry| entry.body).collect());
        kept.boxed()
    }

    /// The entries after `after`, a chunk a read.
    pub(super) fn entry_pages(&self, tip: &Tip, after: Seq) -> Entries {
        let reading = self.reading(tip);
        let pages = stream::try_unfold(
            (reading, Next::After(after), None),
            |(reading, next, sent)| async move {
                // Whoever asks for more has taken what was sent.
                drop::<Option<OwnedSemaphorePermit>>(sent);
                let page = match next {
                    Next::After(after) if after >= reading.to => return Ok(None),
                    Next::After(after) => reading.clone().page(after).await?,
                    Next::Started(page) => page
                        .await
                        .map_err(|failed| store::Error::unavailable("reading entries", failed))??,
                };
                // While a large page is on its way the next one is read.
                let next = match page.place {
                    Some(_) if page.last < reading.to => {
                        let page = reading.clone().page(page.last);
                        Next::Started(AbortOnDropHandle::new(tokio::spawn(page)))
                    }
                    Some(_) | None => Next::After(page.last),
                };
                Ok::<_, Error>(Some((page.rows, (reading, next, page.place))))
            },
        );
        pages.boxed()
    }
}

/// Entries that are read page by page.
#[derive(Clone)]
struct Reading {
    store: Arc<dyn Store>,
    log: Arc<Log>,
    to: Seq,
    large: Arc<Semaphore>,
}

/// The page that follows.
enum Next {
    /// It is read when it is wanted.
    After(Seq),
    /// It is being read; given up when it is dropped.
    Started(AbortOnDropHandle<Result<EntryPage, Error>>),
}

/// A page of entries, and its place among the large ones.
struct EntryPage {
    rows: Vec<Entry>,
    last: Seq,
    place: Option<OwnedSemaphorePermit>,
}

impl Reading {
    /// The page after `after`: a large one while there are few, else a small one. So one reader is fast, and hundreds
    /// that stop reading hold little.
    async fn page(self, after: Seq) -> Result<EntryPage, Error> {
        let place = self.large.clone().try_acquire_owned().ok();
        let bound = Bound {
            rows: PAGE_ROWS_MAX,
            bytes: if place.is_some() {
                PAGE_BYTES_MAX
            } else {
                SMALL_PAGE_BYTES
            },
        };
        let rows = self.rows(after, bound).await?;
        let last = rows.last().map_or(after, |entry| entry.meta.seq);
        Ok(EntryPage { rows, last, place })
    }

    /// The entries that follow `after`, without a hole.
    async fn rows(&self, after: Seq, bound: Bound) -> Result<Vec<Entry>, Error> {
        let range = Range {
            after,
            to: self.to,
            from: End::Oldest,
        };
        let rows = self.store.entries(&self.log, range, bound).await?;
        if rows.first().map(|entry| entry.meta.seq) != Some(after.next()) {
            let log = format!("log {}", self.log.id);
            return Err(store::Error::corrupt(log, "entries are missing").into());
        }
        Ok(rows)
    }
}

fn in_range(from: u64, count: u64) -> Result<(), Error> {
    if from > count {
        Err(Refusal::IndexOutOfRange { count }.into())
    } else {
        Ok(())
    }
}

/// Leaves out the first `skip` messages and ends after `take`; empty chunks are not sent. Past the end of
/// what is there, `skip` is out of range.
fn limited(messages: Messages, skip: u64, take: u64) -> Messages {
    let start = (messages, skip, take, 0_u64);
    let cut = stream::try_unfold(
        start,
        |(mut messages, mut skip, mut take, mut count)| async move {
            while take > 0 {
                let Some(chunk) = messages.next().await else {
                    return if skip > 0 {
                        Err(Refusal::IndexOutOfRange { count }.into())
                    } else {
                        Ok(None)
                    };
                };
                let mut chunk = chunk?;
                count += chunk.len() as u64;
                let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                chunk.drain(..skipped);
                skip -= skipped as u64;
                chunk.truncate(usize::try_from(take).unwrap_or(usize::MAX));
                take -= chunk.len() as u64;
                if !chunk.is_empty() {
                    return Ok(Some((chunk, (messages, skip, take, count))));
                }
            }
            Ok(None)
        },
    );
    cut.boxed()
}

/// Messages in chunks of at most 2 MiB or one message.
fn chunks(messages: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut chunks: Vec<Vec<Bytes>> = Vec::new();
    let mut room = 0;
    for message in messages {
        match chunks.last_mut() {
            Some(chunk) if message.len() <= room => {
                room -= message.len();
                chunk.push(message);
            }
            Some(_) | None => {
                room = PAGE_BYTES_MAX.saturating_sub(message.len());
                chunks.push(vec![message]);
            }
        }
    }
    chunks
}

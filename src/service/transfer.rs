//! Sessions as transcripts: exported in pieces, and imported line by line.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use prost::DecodeError;
use tokio::sync::Semaphore;

use crate::domain::id::{Revision, Source};
use crate::domain::limits::{EXPORT_CHUNK_BYTES_MAX, EXPORT_WRITERS_MAX};
use crate::domain::outcome::Problem;
use crate::domain::{Entry, Namespace, RequestId, Seq, Session, SessionId};
use crate::formats;
use crate::store;

use super::{Error, Service};

pub use crate::formats::{Format, Secrets};

mod compare;
mod import;
mod importer;
mod section;

/// What a caller wants exported.
#[derive(Clone, Debug)]
pub struct Export {
    /// The session.
    pub id: SessionId,
    /// As what.
    pub format: Format,
    /// With or without its secrets.
    pub secrets: Secrets,
    /// As of this revision.
    pub revision: Option<Revision>,
}

/// What is imported and where it goes.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The session to import to; else the transcript's own.
    pub session: Option<SessionId>,
    /// The workspace; else the transcript's own.
    pub workspace: Option<String>,
    /// What the transcript is known as; else its own session's id.
    pub source: Option<Source>,
}

/// The caller's name for an import.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name.
    pub id: RequestId,
    /// What of the request comes before the transcript.
    pub header: Vec<u8>,
}

/// An import that was made.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The sessions that the transcript is kept in, as they stand now.
    pub sessions: Vec<Shown>,
    /// Entries that were new.
    pub added: u64,
    /// Entries that were there.
    pub skipped: u64,
    /// Lines left out.
    pub problems: Vec<Problem>,
}

/// A session in the answer of an import.
#[derive(Clone, Debug)]
pub enum Shown {
    /// As it stands; past some bytes of answer, its large texts left empty.
    There(Arc<Session>),
    /// By its id alone, where the answer has no room for more.
    Named(SessionId),
}

/// Exports that write at a time: each may hold a body several times over.
static WRITERS: Semaphore = Semaphore::const_new(EXPORT_WRITERS_MAX);

/// A transcript in pieces.
pub type Pieces = BoxStream<'static, Result<Bytes, Error>>;

impl Service {
    /// Streams a session as a transcript. What is read is fixed when the call starts: later changes do not show.
    pub async fn export_session(&self, ns: &Namespace, export: Export) -> Result<Pieces, Error> {
        let session = self.session(ns, &export.id, export.revision).await?;
        let tip = session.tip.clone();
        let format = formats::Export::new(export.format, export.secrets, &self.limits);
        let spoken = match (export.secrets, tip.tally.last_user_text) {
            (Secrets::Kept, _) | (Secrets::Masked, Seq::ZERO) => None,
            (Secrets::Masked, seq) => Some(self.entry_at(&tip, seq).await?.body),
        };
        let log = tip.log.id;
        let damaged =
            move |error| Error::from(store::Error::corrupt(format!("an entry of log {log}"), error));
        let write = format.clone();
        let head = written(move || write.head(&session, spoken.as_ref()));
        let head = head.await?.map_err(damaged)?;
        let pages = self.entry_pages(&tip, Seq::ZERO);
        let pages = pages.and_then(move |page| {
            let format = format.clone();
            async move { written(move || lines(&format, page)).await?.map_err(damaged) }
        });
        let text = stream::once(async move { Ok(head) }).chain(pages);
        Ok(text.map_ok(pieces).try_flatten().boxed())
    }
}

/// Writes a part of a transcript: milliseconds of work, so it is done away from the threads that serve connections.
async fn written<T: Send + 'static>(write: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let unavailable = |failed| store::Error::unavailable("writing a transcript", failed);
    let place = WRITERS.acquire().await;
    let place = place.map_err(|closed| store::Error::unavailable("writing a transcript", closed))?;
    let job = tokio::task::spawn_blocking(move || {
        let text = write();
        // Not before: nobody can stop the job, not even a caller that has gone.
        drop(place);
        text
    });
    Ok(job.await.map_err(unavailable)?)
}

/// A page of entries as text.
fn lines(format: &formats::Export, page: Vec<Entry>) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    for entry in page {
        format.entry(&entry, &mut out)?;
    }
    Ok(out)
}

/// A text in pieces of at most 1 MiB.
fn pieces(text: Vec<u8>) -> impl stream::Stream<Item = Result<Bytes, Error>> + Send {
    let mut rest = Bytes::from(text);
    let next = move || {
        let piece = rest.split_to(rest.len().min(EXPORT_CHUNK_BYTES_MAX));
        (!piece.is_empty()).then_some(Ok(piece))
    };
    stream::iter(std::iter::from_fn(next))
}

#[cfg(test)]
mod tests;

//! Imports: what a caller sends becomes lines, which an [`Importer`] takes, and an answer. A retry answers what was done.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use tokio::time::timeout;
use xxhash_rust::xxh3::Xxh3;

use crate::domain::limits::{IMPORTED_SHOWN_BYTES_MAX, IMPORTED_WHOLE_BYTES_MAX, STAGING_RENEWED_EVERY};
use crate::domain::session::Profile;
use crate::domain::{Digest, Namespace, Outcome, Request, Session};
use crate::formats::lines::Lines;
use crate::store;

use super::super::{Call, Error, Service, mismatched};
use super::importer::Importer;
use super::{Import, Imported, Named, Shown};

impl Service {
    /// Reads a transcript and keeps what it holds.
    pub async fn import_session<X: From<Error>>(
        &self,
        ns: Namespace,
        named: Option<Named>,
        import: Import,
        mut pieces: impl Stream<Item = Result<Bytes, X>> + Send + Unpin,
    ) -> Result<Imported, X> {
        let mut print = named.as_ref().map(|named| {
            let mut print = Xxh3::new();
            print.update(&named.header);
            print
        });
        let mut lines = Lines::new(self.limits.line_bytes_max());
        // Of a retry nothing but its fingerprint is looked at.
        let replay = match &named {
            Some(named) => self
                .store
                .receipt(&ns, &named.id)
                .await
                .map_err(Error::from)?
                .is_some(),
            None => false,
        };
        let mut importer = Importer::new(self, &ns, import);
        loop {
            let piece = match timeout(STAGING_RENEWED_EVERY, pieces.next()).await {
                Ok(Some(piece)) => Some(piece?),
                Ok(None) => break,
                Err(_) => None,
            };
            importer.renew().await?;
            let Some(mut piece) = piece else {
                continue;
            };
            if let Some(print) = &mut print {
                print.update(&piece);
            }
            while let Some(line) = lines.next(&mut piece).filter(|_| !replay) {
                importer.line(line).await?;
            }
        }
        let request = named.zip(print).map(|(named, print)| Request {
            id: named.id,
            fingerprint: Digest(print.digest128().to_be_bytes()),
        });
        let call = Call {
            namespace: ns.clone(),
            request,
        };
        if let Some(outcome) = self.replayed(&call).await? {
            return Ok(self.imported(&ns, outcome).await?);
        }
        if replay {
            let expired = store::Error::unavailable("reading a receipt", "it has just expired");
            return Err(Error::from(expired).into());
        }
        if let Some(line) = lines.finish() {
            importer.line(line).await?;
        }
        let outcome = importer.finish(call).await?;
        Ok(self.imported(&ns, outcome).await?)
    }

    /// What an import did, and its sessions as they stand now; one that is gone is left out.
    async fn imported(&self, ns: &Namespace, outcome: Outcome) -> Result<Imported, Error> {
        let Outcome::Imported(sum) = outcome else {
            return Err(mismatched(&outcome));
        };
        let mut room = (IMPORTED_WHOLE_BYTES_MAX, IMPORTED_SHOWN_BYTES_MAX);
        let mut sessions = Vec::with_capacity(sum.sessions.len());
        for id in sum.sessions {
            if room.1 == 0 {
                sessions.push(Shown::Named(id));
            } else if let Some(session) = self.store.session(ns, &id).await? {
                sessions.push(shown(session, &mut room));
            }
        }
        Ok(Imported {
            sessions,
            added: sum.added,
            skipped: sum.skipped,
            problems: sum.problems,
        })
    }
}

/// A session as there is room for it: bytes for those with their large texts, and for all.
fn shown(session: Arc<Session>, room: &mut (usize, usize)) -> Shown {
    let whole = session.text_bytes();
    if whole <= room.0 && whole <= room.1 {
        *room = (room.0 - whole, room.1 - whole);
        return Shown::There(session);
    }
    let bare = without_texts(&session);
    match room.1.checked_sub(bare.text_bytes()) {
        Some(rest) => {
            room.1 = rest;
            Shown::There(Arc::new(bare))
        }
        None => {
            room.1 = 0;
            Shown::Named(bare.id)
        }
    }
}

fn without_texts(session: &Session) -> Session {
    let profile = Profile {
        texts: Arc::default(),
        ..Profile::clone(&session.profile)
    };
    Session {
        profile: Arc::new(profile),
        ..session.clone()
    }
}

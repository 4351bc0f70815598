//! One session of a transcript: compared with what came from its source before, and staged from where it has more.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::id::Source;
use crate::domain::proposal::{self, Cut, Place, Restored};
use crate::domain::{EntryId, Namespace, NewEntry, Seq, Session, SessionId, Tip};

use super::super::staging::Staging;
use super::super::{Error, Service};
use super::compare::{Comparison, Step};

/// Entries, and bytes of them, that are looked up together before they are staged.
const BATCH_ENTRIES: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// A session that a transcript is in the middle of.
pub(super) struct Section<'a> {
    service: &'a Service,
    namespace: Namespace,
    /// The id that it gets if it is new.
    pub(super) id: SessionId,
    pub(super) source: Option<Source>,
    seen: Vec<SessionId>,
    restored: Restored,
    state: State<'a>,
    /// The last place in the session it comes from.
    last: Seq,
    /// Entries that came, each in its place.
    came: u64,
    batch: Vec<NewEntry>,
    batch_bytes: usize,
    added: u64,
    skipped: u64,
}

/// What is done with the next entry.
enum State<'a> {
    /// It is compared.
    Comparing(Comparison),
    /// It is written.
    Writing(Box<(Place, Staging<'a>)>),
}

/// What an entry was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// New or known.
    Yes,
    /// Out of order, and unknown.
    OutOfOrder,
}

/// What became of a session.
pub(super) struct Ended {
    /// The session that it is kept in.
    pub(super) id: SessionId,
    /// What makes it visible; `None`: it was there.
    pub(super) imported: Option<proposal::Imported>,
    pub(super) added: u64,
    pub(super) skipped: u64,
    /// Entries and bytes that come with the command.
    pub(super) carried: (usize, usize),
}

/// Where a session of a transcript may go.
pub(super) struct Target {
    pub(super) id: SessionId,
    pub(super) source: Option<Source>,
    /// What came from the source so far, by id.
    pub(super) seen: Vec<SessionId>,
    /// Those of them that take writes, the best first.
    pub(super) living: Vec<Arc<Session>>,
    pub(super) restored: Restored,
}

impl<'a> Section<'a> {
    pub(super) fn begin(service: &'a Service, namespace: &Namespace, target: Target) -> Self {
        let Target {
            id,
            source,
            seen,
            living,
            restored,
        } = target;
        let state = if living.is_empty() {
            let staging = Staging::onto(service, namespace.clone(), None);
            State::Writing(Box::new((Place::New { id: id.clone() }, staging)))
        } else {
            State::Comparing(Comparison::with(living))
        };
        Self {
            service,
            namespace: namespace.clone(),
            id,
            source,
            seen,
            restored,
            state,
            last: Seq::ZERO,
            came: 0,
            batch: Vec::new(),
            batch_bytes: 0,
            added: 0,
            skipped: 0,
        }
    }

    /// Whether the transcript has gone past this place.
    pub(super) fn is_past(&self, seq: Seq) -> bool {
        seq <= self.last
    }

    /// Entries that came, known ones included.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    /// Bytes of the facts that come with the command; a session that only goes on keeps its own.
    pub(super) fn text_bytes(&self) -> usize {
        match &self.state {
            State::Comparing(_) => 0,
            State::Writing(writing) => match writing.0 {
                Place::New { .. } | Place::Branch { .. } => self.restored.text_bytes(),
                Place::After { .. } => 0,
            },
        }
    }

    /// Takes the entry that was at `seq` where it comes from.
    pub(super) async fn take(&mut self, seq: Option<Seq>, entry: NewEntry) -> Result<Taken, Error> {
        let seq = seq.unwrap_or_else(|| self.last.next());
        if seq <= self.last {
            // A line that is there twice has been taken; any other one is lost.
            let known = self.holds(&entry.id).await?;
            self.skipped += u64::from(known);
            return Ok(if known { Taken::Yes } else { Taken::OutOfOrder });
        }
        self.last = seq;
        self.came += 1;
        if let State::Comparing(comparison) = &mut self.state {
            match comparison.step(self.service, &entry).await? {
                Some(Step::Known) | None => {
                    self.skipped += 1;
                    return Ok(Taken::Yes);
                }
                Some(Step::Continues(session)) => self.continue_after(&session),
                Some(Step::Diverges(session, at)) => self.branch_off(&session, at).await?,
            }
        }
        self.batch_bytes += entry.body.len();
        self.batch.push(entry);
        if self.batch.len() >= BATCH_ENTRIES || self.batch_bytes >= BATCH_BYTES {
            self.write_batch().await?;
        }
        Ok(Taken::Yes)
    }

    fn continue_after(&mut self, session: &Session) {
        let place = Place::After {
            session: session.id.clone(),
            from: session.tip.clone(),
        };
        let staging = Staging::onto(self.service, self.namespace.clone(), Some(&session.tip));
        self.state = State::Writing(Box::new((place, staging)));
    }

    async fn branch_off(&mut self, session: &Session, at: Seq) -> Result<(), Error> {
        let Cut { tally, preview } = self.service.cut_at(&session.tip, at).await?;
        let kept = Tip {
            log: session.tip.log.clone(),
            tally: tally.clone(),
        };
        let staging = Staging::onto(self.service, self.namespace.clone(), Some(&kept));
        let place = Place::Branch {
            session: session.id.clone(),
            log: session.tip.log.id,
            cut: tally,
            preview,
            id: SessionId::from_uuid(self.service.fresh_id()),
        };
        self.state = State::Writing(Box::new((place, staging)));
        Ok(())
    }

    /// Whether an entry of this id was taken.
    pub(super) async fn holds(&mut self, id: &EntryId) -> Result<bool, Error> {
        match &self.state {
            State::Comparing(comparison) => comparison.has(self.service, id).await,
            State::Writing(_) => {
                self.write_batch().await?;
                let State::Writing(writing) = &self.state else {
                    return Ok(false);
                };
                let known = known(self.service, &writing.1, std::slice::from_ref(id)).await?;
                Ok(known.contains(id))
            }
        }
    }

    /// Stages what has come together, less what is there already.
    async fn write_batch(&mut self) -> Result<(), Error> {
        let State::Writing(writing) = &mut self.state else {
            return Ok(());
        };
        let staging = &mut writing.1;
        let ids: Vec<EntryId> = self.batch.iter().map(|entry| entry.id.clone()).collect();
        let mut known = known(self.service, staging, &ids).await?;
        self.batch_bytes = 0;
        for entry in self.batch.drain(..) {
            if known.insert(entry.id.clone()) {
                self.added += 1;
                staging.push(entry).await?;
            } else {
                self.skipped += 1;
            }
        }
        Ok(())
    }

    /// Says that what of it is staged is still wanted.
    pub(super) async fn renew(&self) -> Result<(), Error> {
        match &self.state {
            State::Comparing(_) => Ok(()),
            State::Writing(writing) => writing.1.renew().await,
        }
    }

    /// The session is whole. What of it is to come with the command has to fit into `room`, entries and bytes.
    pub(super) async fn end(mut self, room: (usize, usize)) -> Result<Ended, Error> {
        self.write_batch().await?;
        if self.text_bytes() == 0 {
            self.restored.texts = Arc::default();
        }
        let (added, skipped) = (self.added, self.skipped);
        let there = |id| Ended {
            id,
            imported: None,
            added,
            skipped,
            carried: (0, 0),
        };
        let (place, mut staging) = match self.state {
            State::Comparing(comparison) => {
                let session = comparison.best().map(|session| session.id.clone());
                return Ok(there(session.unwrap_or(self.id)));
            }
            State::Writing(writing) => *writing,
        };
        let id = match &place {
            Place::New { id } | Place::Branch { id, .. } => id.clone(),
            Place::After { session, .. } if added == 0 => return Ok(there(session.clone())),
            Place::After { session, .. } => session.clone(),
        };
        if staging.passes(room.0, room.1) {
            staging.settle().await?;
        }
        let carried = staging.carried();
        let imported = proposal::Imported {
            source: self.source,
            seen: self.seen,
            place,
            restored: self.restored,
            written: staging.finish().await?,
        };
        Ok(Ended {
            id,
            imported: Some(imported),
            added,
            skipped,
            carried,
        })
    }
}

/// Which of these ids are in what is staged, or in what it goes on from.
async fn known(service: &Service, staging: &Staging<'_>, ids: &[EntryId]) -> Result<HashSet<EntryId>, Error> {
    let (tip, pending) = staging.known();
    let mut known = if tip.seq() == Seq::ZERO {
        HashSet::new()
    } else {
        service.store.known_entries(tip, ids).await?
    };
    known.extend(pending.iter().map(|entry| entry.id.clone()));
    Ok(known)
}

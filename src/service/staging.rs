//! Collecting entries for one short commit, or, once they are too many for that, staging them in a log
//! that nobody names until the commit does.

use std::sync::Arc;

use crate::domain::entry::{Entry, NewEntry, Payload};
use crate::domain::limits::{COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX};
use crate::domain::proposal::{UpkeepCommand, Written};
use crate::domain::{Command, Log, Namespace, Seq, Tip};

use super::{Call, Error, Service};

/// Entries on their way to the end of a log.
pub(super) struct Staging<'a> {
    service: &'a Service,
    namespace: Namespace,
    log: Arc<Log>,
    tip: Tip,
    pending: Vec<NewEntry>,
    bytes: usize,
    staged: bool,
    preview: Option<String>,
    title: Option<String>,
}

impl<'a> Staging<'a> {
    /// Entries that follow `from`, or begin a log.
    pub(super) fn onto(service: &'a Service, namespace: Namespace, from: Option<&Tip>) -> Self {
        let id = service.fresh_log();
        let log = Arc::new(from.map_or_else(|| Log::root(id), |from| from.log.child(id, &from.tally)));
        let tip = Tip::start_of(log.clone());
        let (pending, bytes, staged, preview, title) = (Vec::new(), 0, false, None, None);
        Self {
            service,
            namespace,
            log,
            tip,
            pending,
            bytes,
            staged,
            preview,
            title,
        }
    }

    /// Takes one more entry, and writes what has come together when it fills a commit.
    pub(super) async fn push(&mut self, entry: NewEntry) -> Result<(), Error> {
        let full =
            self.pending.len() >= COMMIT_ENTRIES_MAX || self.bytes + entry.body.len() > COMMIT_BYTES_MAX;
        if full && !self.pending.is_empty() {
            self.stage().await?;
        }
        self.bytes += entry.body.len();
        self.pending.push(entry);
        Ok(())
    }

    /// The end of what is written already, and what the commit is to add.
    pub(super) fn known(&self) -> (&Tip, &[NewEntry]) {
        (&self.tip, &self.pending)
    }

    /// Whether what has come together would be too much for a commit that has room for so much.
    pub(super) fn passes(&self, entries: usize, bytes: usize) -> bool {
        self.pending.len() > entries || self.bytes > bytes
    }

    /// Entries and bytes that come with the commit.
    pub(super) fn carried(&self) -> (usize, usize) {
        if self.staged {
            (0, 0)
        } else {
            (self.pending.len(), self.bytes)
        }
    }

    /// Writes what has come together, so that the commit carries nothing.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.stage().await
    }

    /// Says that what is written already is still wanted.
    pub(super) async fn renew(&self) -> Result<(), Error> {
        if !self.staged {
            return Ok(());
        }
        renew(self.service, &self.namespace, &self.tip).await
    }

    /// What the commit is to write.
    pub(super) async fn finish(mut self) -> Result<Written, Error> {
        if !self.staged {
            return Ok(Written::Inline {
                log: self.log.id,
                entries: self.pending,
            });
        }
        if !self.pending.is_empty() {
            self.stage().await?;
        }
        Ok(Written::Staged {
            tip: self.tip,
            preview: self.preview,
            title: self.title,
        })
    }

    async fn stage(&mut self) -> Result<(), Error> {
        let after = self.tip.seq();
        let mut entries = Vec::with_capacity(self.pending.len());
        for new in std::mem::take(&mut self.pending) {
            self.note_opening(&new);
            let entry = Entry::following(&self.tip.tally, self.log.id, &new);
            self.tip.tally = entry.meta.tally.clone();
            entries.push(entry);
        }
        self.bytes = 0;
        self.staged = true;
        write(self.service, &self.namespace, self.log.clone(), after, entries).await
    }

    fn note_opening(&mut self, new: &NewEntry) {
        let Payload::Message(facts) = &new.payload else {
            return;
        };
        let Some(opening) = facts.opening.as_ref().filter(|_| !facts.in_sub_session) else {
            return;
        };
        self.preview = Some(opening.preview.clone());
        if self.title.is_none() && !opening.title.is_empty() {
            self.title = Some(opening.title.clone());
        }
    }
}

/// Says that what is staged up to a tip is still wanted: the sweep lets it be for another while.
pub(super) async fn renew(service: &Service, namespace: &Namespace, tip: &Tip) -> Result<(), Error> {
    write(service, namespace, tip.log.clone(), tip.seq(), Vec::new()).await
}

async fn write(
    service: &Service,
    namespace: &Namespace,
    log: Arc<Log>,
    after: Seq,
    entries: Vec<Entry>,
) -> Result<(), Error> {
    let call = Call {
        namespace: namespace.clone(),
        request: None,
    };
    service
        .commit(
            call,
            Command::Upkeep(UpkeepCommand::Stage { log, after, entries }),
        )
        .await?;
    Ok(())
}

//! Imports: a transcript's lines come in one by one, its sessions are staged, and one short commit makes all of them
//! visible. A caller that goes away in the middle leaves logs that nobody names, which the sweep takes.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout};
use xxhash_rust::xxh3::Xxh3;

use crate::body;
use crate::domain::id::Source;
use crate::domain::limits::{
    COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX, IMPORT_COMMIT_SESSIONS_MAX, IMPORT_PROBLEMS_MAX,
    IMPORT_SESSIONS_MAX, STAGING_RENEWED_EVERY,
};
use crate::domain::outcome::{Imports, Problem};
use crate::domain::proposal::{self, SessionCommand, Written};
use crate::domain::session::{State, workspace};
use crate::domain::{
    Command, Digest, Limits, Namespace, NewEntry, Noun, Outcome, Refusal, Request, Session, SessionId,
};
use crate::formats::jsonl::{self, EntryRead, Head, Read};
use crate::formats::lines::{Line, Lines};
use crate::store;

use super::super::staging;
use super::super::{Call, Error, Service, mismatched};
use super::section::{Ended, Section, Taken, Target};
use super::{Import, Imported, Named};

/// The largest line that is read where it came in: a millisecond's work.
const INLINE_BYTES_MAX: usize = 512 * 1024;

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
        let mut sessions = Vec::with_capacity(sum.sessions.len());
        for id in &sum.sessions {
            sessions.extend(self.store.session(ns, id).await?);
        }
        Ok(Imported {
            sessions,
            added: sum.added,
            skipped: sum.skipped,
            problems: sum.problems,
        })
    }
}

/// A transcript that is being read.
struct Importer<'a> {
    service: &'a Service,
    namespace: &'a Namespace,
    import: Import,
    body_limits: Limits,
    section: Option<Section<'a>>,
    /// Sessions that began, those that could not be read included.
    begun: usize,
    /// What is to be made visible.
    ready: Vec<proposal::Imported>,
    ready_ids: HashSet<SessionId>,
    ready_sources: HashSet<Source>,
    /// When what is staged was last said to be wanted.
    renewed: Instant,
    /// Entries and bytes that the commit carries.
    carried: (usize, usize),
    sum: Imports,
}

impl<'a> Importer<'a> {
    fn new(service: &'a Service, namespace: &'a Namespace, import: Import) -> Self {
        Self {
            service,
            namespace,
            import,
            body_limits: service.limits.for_stored_bodies(),
            section: None,
            begun: 0,
            ready: Vec::new(),
            ready_ids: HashSet::new(),
            ready_sources: HashSet::new(),
            renewed: Instant::now(),
            carried: (0, 0),
            sum: Imports::default(),
        }
    }

    async fn line(&mut self, line: Line) -> Result<(), Error> {
        let Some(text) = line.text else {
            let max = self.service.limits.line_bytes_max();
            self.problem(line.number, format!("is longer than {max} bytes"));
            return Ok(());
        };
        let text = trimmed(&text, line.number);
        if text.is_empty() {
            return Ok(());
        }
        match self.read(text).await {
            Ok(Read::Session(head)) => self.begin(line.number, *head).await,
            Ok(Read::Entry(entry)) => self.entry(line.number, entry).await,
            Err(reason) if line.ended => {
                self.problem(line.number, reason);
                Ok(())
            }
            Err(_) => {
                self.problem(line.number, "the last line is torn off");
                Ok(())
            }
        }
    }

    /// Reads a line; a large one away from the threads that serve connections.
    async fn read(&self, text: &[u8]) -> Result<Read, String> {
        let now = self.service.now();
        if text.len() <= INLINE_BYTES_MAX {
            return jsonl::read(text, now, &self.service.limits);
        }
        let (text, limits) = (text.to_vec(), self.service.limits.clone());
        let read = tokio::task::spawn_blocking(move || jsonl::read(&text, now, &limits)).await;
        read.unwrap_or_else(|_| Err(String::from("could not be read")))
    }

    async fn begin(&mut self, number: u64, head: Head) -> Result<(), Error> {
        self.end_section().await?;
        self.begun += 1;
        if self.begun > IMPORT_SESSIONS_MAX {
            self.problem(
                number,
                format!("an import has at most {IMPORT_SESSIONS_MAX} sessions"),
            );
            return Ok(());
        }
        for problem in &head.problems {
            self.problem(number, problem.as_str());
        }
        let first = self.begun == 1;
        let id = self
            .import
            .session
            .clone()
            .filter(|_| first)
            .or_else(|| head.id.clone());
        let source = match (&self.import.source, &head.id) {
            (Some(source), _) if first => Some(source.clone()),
            (Some(source), Some(id)) => Some(source.part(id)),
            (None, Some(id)) => Some(Source::of(id)),
            (_, None) => None,
        };
        let id = id.unwrap_or_else(|| SessionId::from_uuid(self.service.fresh_id()));
        let met = self.ready_ids.contains(&id)
            || source
                .as_ref()
                .is_some_and(|source| self.ready_sources.contains(source));
        if met || self.ready.len() >= IMPORT_COMMIT_SESSIONS_MAX {
            self.publish(None).await?;
        }
        let target = self.target(id, source, head).await?;
        self.section = Some(Section::begin(self.service, self.namespace, target));
        Ok(())
    }

    /// What came from the same source before, or a place that is free.
    async fn target(&self, id: SessionId, source: Option<Source>, head: Head) -> Result<Target, Error> {
        let (service, ns) = (self.service, self.namespace);
        let seen = match &source {
            Some(source) => service.store.imported(ns, source).await?,
            None => Vec::new(),
        };
        let mut living: Vec<Arc<Session>> = Vec::new();
        for id in &seen {
            let session = service.store.session(ns, id).await?;
            living.extend(session.filter(|session| session.profile.state != State::Deleted));
        }
        living.sort_by_key(|session| (session.id != id, session.profile.create_time));
        let wanted = self.import.session.as_ref().filter(|wanted| **wanted == id);
        if living.is_empty() || wanted.is_some_and(|id| !seen.contains(id)) {
            living.clear();
            if let Some(session) = service.store.session(ns, &id).await? {
                return Err(taken(&session, source.as_ref()).into());
            }
        }
        let mut restored = head.restored;
        if let Some(place) = &self.import.workspace {
            restored.setting.workspace = workspace(place);
        }
        if restored.parent.as_ref() == Some(&id) {
            restored.parent = None;
        }
        Ok(Target {
            id,
            source,
            seen,
            living,
            restored,
        })
    }

    async fn entry(&mut self, number: u64, read: EntryRead) -> Result<(), Error> {
        let Some(section) = &mut self.section else {
            self.problem(number, "stands before the header of its session");
            return Ok(());
        };
        let service = self.service;
        let entry = checked(service, read.given, &self.body_limits).await;
        match entry {
            Ok(entry) => {
                if section.take(read.seq, entry).await? == Taken::OutOfOrder {
                    self.problem(number, "seq: is not above that of the line before");
                }
            }
            Err(reason) => self.problem(number, reason),
        }
        Ok(())
    }

    async fn end_section(&mut self) -> Result<(), Error> {
        let Some(section) = self.section.take() else {
            return Ok(());
        };
        let source = section.source.clone();
        let room = (
            COMMIT_ENTRIES_MAX.saturating_sub(self.carried.0),
            COMMIT_BYTES_MAX.saturating_sub(self.carried.1),
        );
        let Ended {
            id,
            imported,
            added,
            skipped,
            carried,
        } = section.end(room).await?;
        self.sum.added += added;
        self.sum.skipped += skipped;
        self.carried = (self.carried.0 + carried.0, self.carried.1 + carried.1);
        if !self.sum.sessions.contains(&id) {
            self.sum.sessions.push(id.clone());
        }
        if let Some(imported) = imported {
            self.ready.push(imported);
            self.ready_ids.insert(id);
            self.ready_sources.extend(source);
        }
        Ok(())
    }

    /// Says that what is staged is still wanted, if that was not said for a while: nobody knows how long the rest takes
    /// to come in.
    async fn renew(&mut self) -> Result<(), Error> {
        if self.renewed.elapsed() < STAGING_RENEWED_EVERY {
            return Ok(());
        }
        for imported in &self.ready {
            match &imported.written {
                Written::Inline { .. } => {}
                Written::Staged { tip, .. } => staging::renew(self.service, self.namespace, tip).await?,
            }
        }
        if let Some(section) = &self.section {
            section.renew().await?;
        }
        self.renewed = Instant::now();
        Ok(())
    }

    /// Makes visible what is ready.
    async fn publish(&mut self, call: Option<Call>) -> Result<Outcome, Error> {
        let call = call.unwrap_or_else(|| Call {
            namespace: self.namespace.clone(),
            request: None,
        });
        let import = proposal::Import {
            sessions: std::mem::take(&mut self.ready),
            sum: self.sum.clone(),
        };
        self.ready_ids.clear();
        self.ready_sources.clear();
        self.carried = (0, 0);
        let command = SessionCommand::Import(Box::new(import));
        let committed = self.service.commit(call, Command::Session(command)).await?;
        Ok(committed.outcome)
    }

    async fn finish(mut self, call: Call) -> Result<Outcome, Error> {
        self.end_section().await?;
        if self.ready.is_empty() && call.request.is_none() {
            return Ok(Outcome::Imported(self.sum));
        }
        self.publish(Some(call)).await
    }

    fn problem(&mut self, line: u64, reason: impl Into<String>) {
        let problems = &mut self.sum.problems;
        let reason = match problems.len() {
            0..IMPORT_PROBLEMS_MAX => reason.into(),
            IMPORT_PROBLEMS_MAX => String::from("and further lines were left out"),
            _ => return,
        };
        problems.push(Problem { line, reason });
    }
}

/// Why a session cannot be made where one is.
fn taken(session: &Session, source: Option<&Source>) -> Refusal {
    if session.profile.state == State::Deleted && session.profile.source.as_ref() == source {
        return Refusal::SessionDeleted {
            session: session.id.clone(),
        };
    }
    Refusal::AlreadyExists {
        noun: Noun::Session,
        id: session.id.to_string(),
    }
}

/// Opens an entry and counts what the rules need of it.
async fn checked(service: &Service, given: body::Given, limits: &Limits) -> Result<NewEntry, String> {
    let (fresh, now) = (service.fresh_id(), service.now());
    let opened = if given.body.len() <= INLINE_BYTES_MAX {
        Ok(body::entry(given, || fresh, now, limits))
    } else {
        let limits = limits.clone();
        tokio::task::spawn_blocking(move || body::entry(given, || fresh, now, &limits)).await
    };
    match opened {
        Ok(entry) => entry.map_err(|invalid| invalid.to_string()),
        Err(_) => Err(String::from("could not be read")),
    }
}

/// A line without the blanks around it, and the first one without a byte order mark.
fn trimmed(text: &[u8], number: u64) -> &[u8] {
    let text = if number == 1 {
        text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
    } else {
        text
    };
    text.trim_ascii()
}

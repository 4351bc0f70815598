//! A transcript's lines come in one by one, its sessions are staged, and one short commit makes all of them visible. A
//! caller that goes away in the middle leaves logs that nobody names, which the sweep takes.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use crate::body;
use crate::domain::id::Source;
use crate::domain::limits::{
    COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX, IMPORT_COMMIT_SESSIONS_MAX, IMPORT_PROBLEMS_MAX,
    IMPORT_SESSIONS_MAX, STAGING_RENEWED_EVERY,
};
use crate::domain::outcome::{Imports, Problem};
use crate::domain::proposal::{self, SessionCommand, Written};
use crate::domain::session::{State, workspace};
use crate::domain::{Command, Limits, Namespace, NewEntry, Noun, Outcome, Refusal, Seq, Session, SessionId};
use crate::formats::jsonl::{self, EntryRead, Head, Read, Unread};
use crate::formats::lines::Line;

use super::super::staging;
use super::super::{Call, Error, Service};
use super::Import;
use super::section::{Ended, Section, Taken, Target};

/// The largest line that is read where it came in: a millisecond's work. After so many bytes of lines others get a turn.
const INLINE_BYTES_MAX: usize = 512 * 1024;

/// What a line costs however short it is, in bytes of longer ones.
const LINE_BYTES: usize = 512;

/// A transcript that is being read.
pub(super) struct Importer<'a> {
    service: &'a Service,
    namespace: &'a Namespace,
    import: Import,
    body_limits: Limits,
    owner: Owner<'a>,
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
    /// Bytes of lines since others had a turn.
    busy: usize,
    sum: Imports,
}

/// Whose the next entry is.
enum Owner<'a> {
    /// Nobody's: no header has come.
    Nobody,
    /// This session's.
    Session(Box<Open<'a>>),
    /// That of a session that is left out. The first entry says so for all.
    LeftOut,
    /// Likewise, and it has been said.
    Said,
    /// That of a session too many, as everything is from there on.
    Beyond,
}

/// A session that the transcript is in the middle of.
struct Open<'a> {
    section: Section<'a>,
    /// Number of its header's line.
    header: u64,
    /// Entries that it has, if the header says how many.
    entries: Option<u64>,
    /// Whether a line of it was left out.
    is_spoiled: bool,
    /// Whether a line that may have been a header could not be read since the last entry.
    is_doubtful: bool,
}

impl Open<'_> {
    /// Whether an entry behind a line that cannot be read is still this session's: the line may have been a header.
    async fn has(&mut self, seq: Option<Seq>, entry: &NewEntry) -> Result<bool, Error> {
        let Some(seq) = seq.filter(|_| self.is_doubtful) else {
            return Ok(true);
        };
        if self.entries.is_some_and(|entries| seq.0 > entries) {
            return Ok(false);
        }
        // Entries of another session begin anew, and those of a fork are known here.
        Ok(!self.section.is_past(seq) || (seq.0 > 1 && self.section.holds(&entry.id).await?))
    }
}

impl<'a> Importer<'a> {
    pub(super) fn new(service: &'a Service, namespace: &'a Namespace, import: Import) -> Self {
        Self {
            service,
            namespace,
            import,
            body_limits: service.limits.for_stored_bodies(),
            owner: Owner::Nobody,
            begun: 0,
            ready: Vec::new(),
            ready_ids: HashSet::new(),
            ready_sources: HashSet::new(),
            renewed: Instant::now(),
            carried: (0, 0),
            busy: 0,
            sum: Imports::default(),
        }
    }

    /// Takes the next line.
    pub(super) async fn line(&mut self, line: Line) -> Result<(), Error> {
        self.pause(line.text.as_ref().map_or(0, Vec::len)).await;
        if matches!(self.owner, Owner::Beyond) {
            return Ok(());
        }
        let Some(text) = line.text else {
            let max = self.service.limits.line_bytes_max();
            self.unread(line.number, format!("is longer than {max} bytes"));
            return Ok(());
        };
        if trimmed(&text).is_empty() {
            return Ok(());
        }
        match self.read(text).await {
            Ok(Read::Session(head)) => self.begin(line.number, *head).await?,
            Ok(Read::Entry(entry)) => self.entry(line.number, entry).await?,
            Err(_) if !line.ended => self.left_out(line.number, "the last line is torn off"),
            Err(Unread::Entry(reason)) => self.left_out(line.number, reason),
            Err(Unread::Line(reason)) => self.unread(line.number, reason),
            Err(Unread::Header(reason)) => {
                if self.is_next(line.number).await? {
                    self.problem(line.number, reason);
                    self.owner = Owner::LeftOut;
                }
            }
        }
        Ok(())
    }

    /// Lets others have a turn now and then.
    async fn pause(&mut self, bytes: usize) {
        self.busy += bytes + LINE_BYTES;
        if self.busy > INLINE_BYTES_MAX {
            self.busy = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Reads a line; a large one away from the threads that serve connections.
    async fn read(&self, text: Vec<u8>) -> Result<Read, Unread> {
        let now = self.service.now();
        if text.len() <= INLINE_BYTES_MAX {
            return jsonl::read(trimmed(&text), now, &self.service.limits);
        }
        let limits = self.service.limits.clone();
        let read = tokio::task::spawn_blocking(move || jsonl::read(trimmed(&text), now, &limits)).await;
        read.unwrap_or_else(|_| Err(Unread::Line(String::from("could not be read"))))
    }

    /// Ends the session before; whether there may be one more.
    async fn is_next(&mut self, number: u64) -> Result<bool, Error> {
        self.end_section().await?;
        self.begun += 1;
        let is_next = self.begun <= IMPORT_SESSIONS_MAX;
        if !is_next {
            self.owner = Owner::Beyond;
            let more =
                format!("an import has at most {IMPORT_SESSIONS_MAX} sessions: all lines from here on");
            self.problem(number, more);
        }
        Ok(is_next)
    }

    async fn begin(&mut self, number: u64, head: Head) -> Result<(), Error> {
        if !self.is_next(number).await? {
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
        let entries = head.entries;
        let target = self.target(id, source, head).await?;
        self.owner = Owner::Session(Box::new(Open {
            section: Section::begin(self.service, self.namespace, target),
            header: number,
            entries,
            is_spoiled: false,
            is_doubtful: false,
        }));
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
        let open = match &mut self.owner {
            Owner::Session(open) => open,
            Owner::Nobody => {
                self.problem(number, "stands before the header of its session");
                return Ok(());
            }
            Owner::LeftOut => {
                self.owner = Owner::Said;
                self.problem(
                    number,
                    "belongs to a session that is left out, as do the entries behind it",
                );
                return Ok(());
            }
            Owner::Said | Owner::Beyond => return Ok(()),
        };
        let entry = match checked(self.service, read.given, &self.body_limits).await {
            Ok(entry) => entry,
            Err(reason) => {
                self.left_out(number, reason);
                return Ok(());
            }
        };
        if !open.has(read.seq, &entry).await? {
            self.end_section().await?;
            self.owner = Owner::Said;
            let lost = "may belong to a session whose header was lost, as may the entries behind it";
            self.problem(number, lost);
            return Ok(());
        }
        open.is_doubtful = false;
        if open.section.take(read.seq, entry).await? == Taken::OutOfOrder {
            self.left_out(number, "seq: is not above that of the line before");
        }
        Ok(())
    }

    /// Ends the session that is open. What it brings is made visible with those before it, if one commit has room.
    async fn end_section(&mut self) -> Result<(), Error> {
        let Owner::Session(open) = std::mem::replace(&mut self.owner, Owner::Nobody) else {
            return Ok(());
        };
        let came = open.section.came();
        if let Some(entries) = open.entries.filter(|entries| came < *entries && !open.is_spoiled) {
            self.problem(
                open.header,
                format!("session.entry_count: is {entries}, but {came} came"),
            );
        }
        let section = open.section;
        let source = section.source.clone();
        let texts = section.text_bytes();
        if !self.ready.is_empty() && self.carried.1 + texts > COMMIT_BYTES_MAX {
            self.publish(None).await?;
        }
        let room = (
            COMMIT_ENTRIES_MAX.saturating_sub(self.carried.0),
            COMMIT_BYTES_MAX.saturating_sub(self.carried.1 + texts),
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
            self.carried.1 += texts;
            self.ready.push(imported);
            self.ready_ids.insert(id);
            self.ready_sources.extend(source);
        }
        Ok(())
    }

    /// Says that what is staged is still wanted, if that was not said for a while: nobody knows how long the rest takes
    /// to come in.
    pub(super) async fn renew(&mut self) -> Result<(), Error> {
        if self.renewed.elapsed() < STAGING_RENEWED_EVERY {
            return Ok(());
        }
        for imported in &self.ready {
            match &imported.written {
                Written::Inline { .. } => {}
                Written::Staged { tip, .. } => staging::renew(self.service, self.namespace, tip).await?,
            }
        }
        if let Owner::Session(open) = &self.owner {
            open.section.renew().await?;
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

    /// Makes visible what is left; `call` names the import.
    pub(super) async fn finish(mut self, call: Call) -> Result<Outcome, Error> {
        self.end_section().await?;
        if self.ready.is_empty() && call.request.is_none() {
            return Ok(Outcome::Imported(self.sum));
        }
        self.publish(Some(call)).await
    }

    /// Names a line that cannot be read and may be anything, a header too.
    fn unread(&mut self, line: u64, reason: impl Into<String>) {
        if let Owner::Session(open) = &mut self.owner {
            open.is_doubtful = true;
        }
        self.left_out(line, reason);
    }

    /// Names a line of the session that is open.
    fn left_out(&mut self, line: u64, reason: impl Into<String>) {
        if let Owner::Session(open) = &mut self.owner {
            open.is_spoiled = true;
        }
        self.problem(line, reason);
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

/// A line without the blanks around it, and without a byte order mark: a file that another was put behind has one within.
fn trimmed(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii()
}

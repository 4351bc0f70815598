//! News between replicas: what one has committed the others are told by name, and read it in the tables.
//!
//! A notification only wakes: it may come late, twice or never. It goes out after the commit, on a connection of its own:
//! within the transaction PostgreSQL would let no two such commits go to disk together. What a lost one leaves untold is
//! found by whoever looks again: watchers by their slow poll, the keeper of the search index by its looks at everything,
//! at least a minute apart, and all of them when the connection was lost or there was no room for what came.
//!
//! Of a commit that has failed this replica does not know itself whether it is stored: it reads that as others do.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::conn::{Conn, in_time};
use super::fault::{Fault, Said, failed};
use super::keys::Salt;
use super::lane::Shared;
use super::pool::Pool;
use super::{resumes, sessions, threads};
use crate::domain::outcome::More;
use crate::domain::{Namespace, ResumeId, SessionId, ThreadId};
use crate::store::{Changes, Error};

/// Names that wait to be told; of more it is told only that there are more.
const QUEUE_MAX: usize = 10_000;

/// Names that are read at once.
const READ_AT_ONCE: usize = 32;

/// Bytes of one notification; PostgreSQL takes less than 8,000.
const PAYLOAD_MAX: usize = 7_500;

/// How long after a failure the next attempt to listen is made.
const LISTEN_AFTER: Duration = Duration::from_secs(1);

/// How long what others have changed may take to read: commits of this replica to the same thing wait for it.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// What has changed, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Session(Namespace, SessionId),
    Thread(Namespace, ThreadId),
    Resume(Namespace, ResumeId),
}

/// The line that says that more has changed than is named.
const MORE: &str = "more";

/// Where a store tells what it has committed.
#[derive(Debug)]
pub(super) struct News {
    names: mpsc::Sender<Name>,
    doubted: mpsc::Sender<Name>,
    /// There was no room for some.
    is_short: Arc<AtomicBool>,
    closes: CancellationToken,
}

/// Names that are to be told, and who tells them.
#[derive(Debug)]
pub(super) struct Untold {
    names: mpsc::Receiver<Name>,
    /// What this replica has to read itself.
    doubted: mpsc::Receiver<Name>,
    is_short: Arc<AtomicBool>,
    closes: CancellationToken,
}

impl Name {
    fn line(&self) -> String {
        match self {
            Self::Session(ns, id) => format!("s {ns} {id}"),
            Self::Thread(ns, id) => format!("t {ns} {id}"),
            Self::Resume(ns, id) => format!("r {ns} {id}"),
        }
    }

    /// A line of another release may name what this one does not know.
    fn of(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (kind, ns, id) = (words.next()?, words.next()?, words.next()?);
        let ns = Namespace::parse(ns).ok()?;
        match kind {
            "s" => Some(Self::Session(ns, SessionId::parse(id, "id").ok()?)),
            "t" => Some(Self::Thread(ns, ThreadId::parse(id, "id").ok()?)),
            "r" => Some(Self::Resume(ns, ResumeId::parse(id, "id").ok()?)),
            _ => None,
        }
    }
}

impl News {
    /// A place to tell, and what was told there.
    pub(super) fn new() -> (Self, Untold) {
        let (names, told) = mpsc::channel(QUEUE_MAX);
        let (doubted, in_doubt) = mpsc::channel(QUEUE_MAX);
        let closes = CancellationToken::new();
        let is_short = Arc::<AtomicBool>::default();
        let untold = Untold {
            names: told,
            doubted: in_doubt,
            is_short: is_short.clone(),
            closes: closes.clone(),
        };
        let news = Self {
            names,
            doubted,
            is_short,
            closes,
        };
        (news, untold)
    }

    /// Has what is not told yet told, and ends that.
    pub(super) fn close(&self) {
        self.closes.cancel();
    }

    /// Tells what a commit has changed.
    pub(super) fn tell(&self, changes: &Changes) {
        self.push(&self.names, changes);
    }

    /// Tells what a commit has changed if it is stored, this replica as well as others.
    pub(super) fn doubt(&self, changes: &Changes) {
        self.push(&self.names, changes);
        self.push(&self.doubted, changes);
    }

    fn push(&self, names: &mpsc::Sender<Name>, changes: &Changes) {
        let push = |name| {
            if names.try_send(name).is_err() {
                self.is_short.store(true, Ordering::Release);
            }
        };
        let sessions = changes
            .sessions
            .iter()
            .map(|session| (&session.namespace, &session.id));
        let gone = changes.removed_sessions.iter().map(|(ns, id)| (ns, id));
        for (ns, id) in sessions.chain(gone) {
            push(Name::Session(ns.clone(), id.clone()));
        }
        let threads = changes
            .threads
            .iter()
            .map(|thread| (&thread.namespace, &thread.id));
        let gone = changes.removed_threads.iter().map(|(ns, id)| (ns, id));
        for (ns, id) in threads.chain(gone) {
            push(Name::Thread(ns.clone(), id.clone()));
        }
        for resume in &changes.resumes {
            push(Name::Resume(resume.namespace.clone(), resume.id.clone()));
        }
    }
}

impl Untold {
    /// Tells others, and this replica's observers what others tell, until the store is closed.
    pub(super) async fn run(mut self, shared: Arc<Shared>, pool: Arc<Pool>) {
        let replica = Uuid::now_v7();
        let mut is_first = true;
        while !pool.is_closed() {
            if let Err(fault) = self.listen(&shared, &pool, replica, is_first).await {
                let error = Error::from(fault);
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "replicas are not heard, and will be listened to again");
            }
            is_first = false;
            tokio::select! {
                () = sleep(LISTEN_AFTER) => {}
                () = self.closes.cancelled() => return,
                () = pool.closed() => return,
            }
        }
    }

    async fn listen(
        &mut self,
        shared: &Arc<Shared>,
        pool: &Arc<Pool>,
        replica: Uuid,
        is_first: bool,
    ) -> Result<(), Fault> {
        let channel = channel(shared.salt);
        let listening = shared.connector.listen(&shared.url, &channel);
        let (client, mut heard) = in_time(listening).await?;
        if !is_first {
            // Something may have been told while nobody listened.
            look_at_everything(shared);
        }
        let (names, told) = mpsc::channel(QUEUE_MAX);
        let mut hearing = tokio::spawn(hear(told, shared.clone(), pool.clone()));
        let ended = loop {
            tokio::select! {
                name = self.names.recv() => {
                    // The store has been dropped.
                    let Some(name) = name else { break Ok(()) };
                    if let Err(fault) = self.tell(&client, &channel, replica, name).await {
                        break Err(fault);
                    }
                }
                Some(name) = self.doubted.recv() => {
                    if names.try_send(name).is_err() {
                        look_at_everything(shared);
                    }
                }
                payload = heard.next() => {
                    let Some(payload) = payload else { break Ok(()) };
                    let (others, more) = others(&payload, replica);
                    let mut is_lost = heard.takes_loss() || more == More::Left;
                    for name in others {
                        is_lost |= names.try_send(name).is_err();
                    }
                    if is_lost {
                        look_at_everything(shared);
                    }
                }
                () = self.closes.cancelled() => break self.tell_rest(&client, &channel, replica).await,
                () = pool.closed() => break Ok(()),
            }
        };
        drop(names);
        if !self.closes.is_cancelled() && !pool.is_closed() {
            // What is told from now on is not heard.
            look_at_everything(shared);
        }
        if timeout(LISTEN_AFTER, &mut hearing).await.is_err() {
            hearing.abort();
        }
        ended
    }

    /// Tells a name, and those that wait behind it.
    async fn tell(&mut self, client: &Client, channel: &str, replica: Uuid, name: Name) -> Result<(), Fault> {
        let payload = self.payload(replica, name);
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&channel, Type::TEXT), (&payload, Type::TEXT)];
        let told = client.query_typed(NOTIFY, &values).await;
        if told.is_err() {
            // Nobody has these names any more.
            self.is_short.store(true, Ordering::Release);
        }
        told.map(drop).map_err(failed("telling replicas"))
    }

    /// Tells all that waits: no more comes.
    async fn tell_rest(&mut self, client: &Client, channel: &str, replica: Uuid) -> Result<(), Fault> {
        while let Ok(name) = self.names.try_recv() {
            self.tell(client, channel, replica, name).await?;
        }
        Ok(())
    }

    /// A notification of this name and those that wait, as many as it takes.
    fn payload(&mut self, replica: Uuid, first: Name) -> String {
        let mut payload = replica.simple().to_string();
        if self.is_short.swap(false, Ordering::AcqRel) {
            payload.push('\n');
            payload.push_str(MORE);
        }
        let mut names = BTreeSet::from([first]);
        let mut bytes = payload.len() + names.iter().map(|name| name.line().len() + 1).sum::<usize>();
        while bytes < PAYLOAD_MAX - 200
            && let Ok(name) = self.names.try_recv()
        {
            bytes += name.line().len() + 1;
            names.insert(name);
        }
        for name in names {
            payload.push('\n');
            payload.push_str(&name.line());
        }
        payload
    }
}

/// The names that another replica tells, and whether there are more that nobody tells.
fn others(payload: &str, replica: Uuid) -> (Vec<Name>, More) {
    let mut lines = payload.lines();
    let is_own = lines.next() == Some(&*replica.simple().to_string());
    let lines: Vec<&str> = lines.collect();
    // Among what there was no room for may be what this replica has to read itself.
    let more = if lines.contains(&MORE) {
        More::Left
    } else {
        More::Done
    };
    let names = lines.into_iter().filter_map(Name::of);
    (names.filter(|_| !is_own).collect(), more)
}

/// The channel of a store; stores that share a database do not hear each other.
pub(super) fn channel(salt: Salt) -> String {
    format!("sessiond_{:016x}", salt.of_news())
}

/// Reads what others have changed, and tells this replica's observers: all that has piled up in one go. What cannot be
/// read nobody is told of; whoever waits for it looks himself, now and once something can be read again.
async fn hear(mut names: mpsc::Receiver<Name>, shared: Arc<Shared>, pool: Arc<Pool>) {
    let (mut heard, mut is_failing) = (Vec::new(), false);
    while names.recv_many(&mut heard, READ_AT_ONCE).await > 0 {
        let names: BTreeSet<Name> = heard.drain(..).collect();
        let told = AssertUnwindSafe(told(&names, &shared, &pool)).catch_unwind();
        let has_failed = match told.await {
            Ok(Ok(())) => false,
            Ok(Err(_)) if pool.is_closed() => return,
            Ok(Err(error)) => {
                if !is_failing {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "what other replicas have changed cannot be read");
                }
                true
            }
            Err(_) => {
                tracing::error!("telling what another replica has changed has panicked");
                true
            }
        };
        if has_failed != is_failing {
            look_at_everything(&shared);
        }
        is_failing = has_failed;
    }
}

/// Whoever waits for something has to look himself.
fn look_at_everything(shared: &Shared) {
    shared.hints.miss();
    shared.hints.wake();
    shared.observers.tell_missed();
}

async fn told(names: &BTreeSet<Name>, shared: &Shared, pool: &Pool) -> Result<(), Error> {
    let operation = "reading what another replica has changed";
    // The connection first: nobody who commits to the same thing may have to wait until there is one.
    let reading = pool.one(operation).await?;
    let keys = names.iter().map(|name| key(shared.salt, name));
    let turn = shared.order.take(keys.collect());
    let read = async {
        // Commits of this replica to the same things are told before these are read, or after these are told.
        turn.comes().await;
        changes(&reading, names).await
    };
    let Ok(read) = timeout(TOLD_WITHIN, read).await else {
        return Err(Error::unavailable(operation, Said::of("the time was up")));
    };
    let changes = reading.end(read).await?;
    for session in &changes.sessions {
        let name = (session.namespace.clone(), session.id.clone());
        shared.hints.note([&name], [], session.update_time);
    }
    shared.observers.tell(&changes);
    Ok(())
}

/// What is there under these names now.
async fn changes(conn: &Conn, names: &BTreeSet<Name>) -> Result<Changes, Fault> {
    let (mut sessions, mut threads, mut resumes) = (Vec::new(), Vec::new(), Vec::new());
    for name in names.iter().cloned() {
        match name {
            Name::Session(ns, id) => sessions.push((ns, id)),
            Name::Thread(ns, id) => threads.push((ns, id)),
            Name::Resume(ns, id) => resumes.push((ns, id)),
        }
    }
    let mut changes = Changes::default();
    if !sessions.is_empty() {
        let mut found = sessions::sessions(conn, &sessions).await?;
        for name in sessions {
            match found.remove(&name) {
                Some(session) => changes.sessions.extend(readable(session)?),
                None => changes.removed_sessions.push(name),
            }
        }
    }
    if !threads.is_empty() {
        let mut found = threads::threads(conn, &threads).await?;
        for name in threads {
            match found.remove(&name) {
                Some(thread) => changes.threads.extend(readable(thread)?),
                None => changes.removed_threads.push(name),
            }
        }
    }
    for (ns, id) in resumes {
        let resume = resumes::resume(conn, &ns, &id).await;
        changes.resumes.extend(readable(resume)?.flatten());
    }
    Ok(changes)
}

/// What could be read; of a damaged row nobody is told, and of the others all the same.
fn readable<T>(read: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Fault::Damaged { row, reason }) => {
            tracing::error!(row, reason, "nobody is told of a damaged row");
            Ok(None)
        }
        Err(fault @ Fault::Database { .. }) => Err(fault),
    }
}

fn key(salt: Salt, name: &Name) -> i64 {
    match name {
        Name::Session(ns, id) => salt.of_session(ns, id),
        Name::Thread(ns, id) => salt.of_thread(ns, id),
        Name::Resume(ns, id) => salt.of_resume(ns, id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_ones_own_are_not_heard() {
        let ns = Namespace::parse("team.a").expect("valid");
        let name = Name::Session(ns, SessionId::parse("s:1", "id").expect("valid"));
        assert_eq!(Name::of(&name.line()), Some(name.clone()));
        assert_eq!(Name::of("x team.a s"), None);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (_, mut untold) = News::new();
        let payload = untold.payload(one, name.clone());
        assert_eq!(others(&payload, one), (vec![], More::Done));
        assert_eq!(others(&payload, other), (vec![name], More::Done));
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_told_of_once() {
        let ns = Namespace::parse("team.a").expect("valid");
        let (news, mut untold) = News::new();
        let gone = |at| {
            (
                ns.clone(),
                SessionId::parse(&format!("s{at}"), "id").expect("valid"),
            )
        };
        let changes = Changes {
            removed_sessions: (0..=QUEUE_MAX).map(gone).collect(),
            ..Changes::default()
        };
        news.tell(&changes);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut told = (0, 0);
        while let Ok(name) = untold.names.try_recv() {
            let payload = untold.payload(one, name);
            assert!(payload.len() < PAYLOAD_MAX);
            let (names, more) = others(&payload, other);
            assert_eq!(others(&payload, one), (vec![], more));
            told = (told.0 + names.len(), told.1 + usize::from(more == More::Left));
        }
        assert_eq!(told, (QUEUE_MAX, 1));
    }
}

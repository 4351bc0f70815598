//! News between replicas: what one has committed the others are told by name, and read it in the tables.
//!
//! A notification only wakes: it may come late, twice or never. It goes out after the commit, on a connection of its own:
//! within the transaction PostgreSQL would let no two such commits go to disk together. What a lost one leaves untold is
//! found by whoever looks again: a watcher by its slow poll, the keeper of the search index by its look at everything,
//! every minute and when the connection was lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::fault::Fault;
use super::keys::Salt;
use super::lane::Shared;
use super::pool::Pool;
use super::{sessions, threads};
use crate::domain::{Namespace, ResumeId, SessionId, ThreadId, Time};
use crate::store::{Changes, Error};

/// Names that wait to be told; with more the rest goes untold.
const QUEUE_MAX: usize = 10_000;

/// Bytes of one notification; PostgreSQL takes less than 8,000.
const PAYLOAD_MAX: usize = 7_500;

/// How long after a failure the next attempt to listen is made.
const LISTEN_AFTER: Duration = Duration::from_secs(1);

const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// What has changed, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Session(Namespace, SessionId),
    Thread(Namespace, ThreadId),
    Resume(Namespace, ResumeId),
}

/// Where a store tells what it has committed.
#[derive(Debug)]
pub(super) struct News {
    names: mpsc::Sender<Name>,
}

/// Names that are to be told, and who tells them.
#[derive(Debug)]
pub(super) struct Untold {
    names: mpsc::Receiver<Name>,
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
        (Self { names }, Untold { names: told })
    }

    /// Tells what a commit has changed.
    pub(super) fn tell(&self, changes: &Changes) {
        let sessions = changes
            .sessions
            .iter()
            .map(|session| (&session.namespace, &session.id));
        let gone = changes.removed_sessions.iter().map(|(ns, id)| (ns, id));
        for (ns, id) in sessions.chain(gone) {
            self.push(Name::Session(ns.clone(), id.clone()));
        }
        let threads = changes
            .threads
            .iter()
            .map(|thread| (&thread.namespace, &thread.id));
        let gone = changes.removed_threads.iter().map(|(ns, id)| (ns, id));
        for (ns, id) in threads.chain(gone) {
            self.push(Name::Thread(ns.clone(), id.clone()));
        }
        for resume in &changes.resumes {
            self.push(Name::Resume(resume.namespace.clone(), resume.id.clone()));
        }
    }

    fn push(&self, name: Name) {
        // Where there is no room it is found by whoever looks again.
        let _ = self.names.try_send(name);
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
            if pool.is_closed() {
                return;
            }
            tokio::time::sleep(LISTEN_AFTER).await;
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
        let (client, mut heard) = shared.connector.listen(&shared.url, &channel).await?;
        if !is_first {
            // Something may have been told while nobody listened.
            shared.hints.everything(Time(0));
            shared.hints.wake();
        }
        let (names, told) = mpsc::channel(QUEUE_MAX);
        let mut hearing = tokio::spawn(hear(told, shared.clone(), pool.clone()));
        let ended = loop {
            tokio::select! {
                name = self.names.recv() => {
                    // The store has been dropped.
                    let Some(name) = name else { break Ok(()) };
                    let payload = self.payload(replica, name);
                    let told = client.execute(NOTIFY, &[&channel, &payload]).await;
                    if let Err(error) = told {
                        break Err(super::fault::failed("telling replicas")(error));
                    }
                }
                payload = heard.recv() => {
                    let Some(payload) = payload else { break Ok(()) };
                    for name in others(&payload, replica) {
                        // Where there is no room it is found by whoever looks again.
                        let _ = names.try_send(name);
                    }
                }
                () = pool.closed() => break Ok(()),
            }
        };
        drop(names);
        if tokio::time::timeout(LISTEN_AFTER, &mut hearing).await.is_err() {
            hearing.abort();
        }
        ended
    }

    /// A notification of this name and those that wait, as many as it takes.
    fn payload(&mut self, replica: Uuid, first: Name) -> String {
        let mut payload = replica.simple().to_string();
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

/// The names that another replica tells.
fn others(payload: &str, replica: Uuid) -> Vec<Name> {
    let mut lines = payload.lines();
    if lines.next() == Some(&*replica.simple().to_string()) {
        return Vec::new();
    }
    lines.filter_map(Name::of).collect()
}

/// The channel of a store; stores that share a database do not hear each other.
fn channel(salt: Salt) -> String {
    format!("sessiond_{:016x}", salt.of_index().cast_unsigned())
}

/// Reads what others have changed, and tells this replica's observers.
async fn hear(mut names: mpsc::Receiver<Name>, shared: Arc<Shared>, pool: Arc<Pool>) {
    while let Some(name) = names.recv().await {
        if let Err(error) = told(&name, &shared, &pool).await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "what another replica has changed cannot be read");
        }
    }
}

async fn told(name: &Name, shared: &Shared, pool: &Pool) -> Result<(), Error> {
    // Commits of this replica to the same thing are told before this is read, or after this is told.
    let turn = shared.order.take(BTreeSet::from([key(shared.salt, name)]));
    turn.comes().await;
    let mut changes = Changes::default();
    match name {
        Name::Session(ns, id) => {
            let reading = pool.one("reading a session").await?;
            let read = sessions::session(&reading, ns, id).await;
            match reading.end(read).await? {
                Some(session) => {
                    shared
                        .hints
                        .note([&(ns.clone(), id.clone())], [], session.update_time);
                    changes.sessions.push(session);
                }
                None => changes.removed_sessions.push((ns.clone(), id.clone())),
            }
        }
        Name::Thread(ns, id) => {
            let reading = pool.one("reading a thread").await?;
            let read = threads::thread(&reading, ns, id).await;
            match reading.end(read).await? {
                Some(thread) => changes.threads.push(thread),
                None => changes.removed_threads.push((ns.clone(), id.clone())),
            }
        }
        Name::Resume(ns, id) => {
            let reading = pool.one("reading a resume").await?;
            let read = super::resumes::resume(&reading, ns, id).await;
            changes.resumes.extend(reading.end(read).await?);
        }
    }
    shared.observers.tell(&changes);
    Ok(())
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
        assert_eq!(others(&payload, one), []);
        assert_eq!(others(&payload, other), [name]);
    }
}

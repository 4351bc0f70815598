//! Answers to needs, from what is stored.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    copies, engines, entries, items, logs, past_heads, receipts, replicas, resumes, sessions, threads,
};
use crate::domain::facts::Answer;
use crate::domain::{Need, Outcome, Proposal, Time};
use crate::store::Error;
use crate::store::batch::{self, Answers};
use crate::store::stored::Stored;

/// A connection that answers, and what is known of the rows it has.
pub(super) struct Asked<'a> {
    pub(super) conn: &'a Connection,
    pub(super) stored: &'a mut Stored,
}

/// What a commit of `proposal` would do, decided on what `conn` sees.
pub(super) fn consider(conn: &Connection, proposal: &Proposal, now: Time) -> Result<Outcome, Error> {
    let stored = &mut Stored::default();
    batch::consider(&mut Asked { conn, stored }, proposal, now)
}

impl Answers for Asked<'_> {
    fn answer(&mut self, need: &Need) -> Result<Answer, Error> {
        let conn = self.conn;
        Ok(match need {
            Need::Receipt(ns, id) => Answer::Receipt(receipts::receipt(conn, ns, id)?),
            Need::Session(ns, id) => {
                let session = sessions::session(conn, ns, id)?;
                session
                    .iter()
                    .for_each(|session| self.stored.has_session(session));
                Answer::Session(session)
            }
            Need::Family(ns, id) => Answer::Family(sessions::family(conn, ns, id)?),
            Need::Imported(ns, source) => Answer::Imported(sessions::imported(conn, ns, source)?),
            Need::HighestFork(ns, base) => Answer::HighestFork(sessions::highest_fork(conn, ns, base)?),
            Need::Entries(log, to, ids) => Answer::Entries(entries::places(conn, log, *to, ids)?),
            Need::Log(id) => Answer::Log(logs::log(conn, *id)?),
            Need::References(id) => Answer::References(logs::references(conn, *id)?),
            Need::Originals(id) => Answer::Originals(copies::originals(conn, *id)?),
            Need::Thread(ns, id) => {
                let thread = threads::thread(conn, ns, id)?;
                thread.iter().for_each(|thread| self.stored.has_thread(thread));
                Answer::Thread(thread)
            }
            Need::Turn(journal, id) => Answer::Turn(items::turn(conn, *journal, id)?.map(Arc::new)),
            Need::Items(journal, turn, ids) => Answer::Items(items::marks(conn, *journal, turn, ids)?),
            Need::Epoch(ns) => Answer::Epoch(engines::epoch(conn, ns)?),
            Need::Engine(ns, id) => Answer::Engine(engines::engine(conn, ns, id)?),
            Need::Replica(id) => Answer::Replica {
                replica: replicas::replica(conn, id)?,
                clock: None,
            },
            Need::Resume(ns, id) => Answer::Resume(resumes::resume(conn, ns, id)?),
            Need::OpenResume(ns, session) => Answer::Resume(resumes::open(conn, ns, session)?),
            Need::PastHead(ns, session, revision) => {
                Answer::PastHead(past_heads::past_head(conn, ns, session, *revision)?)
            }
        })
    }
}

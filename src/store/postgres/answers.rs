//! Answers to needs, from what a transaction sees: as many as are asked for in one round trip. What many proposals of a
//! batch ask for is read by one statement.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::conn::{Asking, Conn, in_order};
use super::entries::Wanted;
use super::fault::Fault;
use super::{
    copies, engines, entries, items, logs, past_heads, receipts, replicas, resumes, sessions, threads,
};
use crate::domain::facts::Answer;
use crate::domain::{Decision, Facts, Namespace, Need, Outcome, Proposal, Time, decide};
use crate::store::Error;
use crate::store::batch::{ROUNDS_MAX, open_needs};

/// Entries that one statement looks for, and parts of the logs in which: it compares each with each.
const ENTRIES_MAX: usize = 512;

/// What came of a need.
pub(super) type Answered = Result<Answer, Fault>;

/// What came of some needs, by their places.
type Placed = Result<Vec<(usize, Answered)>, Fault>;

/// Needs of one kind, with their places among all.
struct Group<N> {
    places: Vec<usize>,
    names: Vec<N>,
}

impl<N> Default for Group<N> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            names: Vec::new(),
        }
    }
}

impl<N: Clone + Eq + Hash> Group<N> {
    fn push(&mut self, place: usize, name: N) {
        self.places.push(place);
        self.names.push(name);
    }

    /// The answers in their places; each name was asked for once.
    fn answered<T>(
        self,
        found: Result<HashMap<N, Result<T, Fault>>, Fault>,
        answer: impl Fn(Option<T>) -> Answer,
    ) -> Placed {
        let mut found = found?;
        let named = self.places.into_iter().zip(self.names);
        Ok(named
            .map(|(place, name)| (place, found.remove(&name).transpose().map(&answer)))
            .collect())
    }
}

/// Needs by what reads them, with their places among all.
#[derive(Default)]
struct Groups<'n> {
    receipts: Group<receipts::Name>,
    sessions: Group<sessions::Name>,
    threads: Group<threads::Name>,
    turns: Group<items::Name>,
    entries: Vec<(usize, Wanted<'n>)>,
    /// Those that are read by a statement each.
    others: Vec<(usize, &'n Need)>,
}

impl<'n> Groups<'n> {
    fn of(needs: &'n [Need]) -> Self {
        let mut groups = Self::default();
        for (place, need) in needs.iter().enumerate() {
            match need {
                Need::Receipt(ns, id) => groups.receipts.push(place, (ns.clone(), id.clone())),
                Need::Session(ns, id) => groups.sessions.push(place, (ns.clone(), id.clone())),
                Need::Thread(ns, id) => groups.threads.push(place, (ns.clone(), id.clone())),
                Need::Turn(journal, id) => groups.turns.push(place, (*journal, id.clone())),
                Need::Entries(log, to, ids) => groups.entries.push((place, (&**log, *to, &**ids))),
                Need::Family(..)
                | Need::Imported(..)
                | Need::HighestFork(..)
                | Need::Log(_)
                | Need::References(_)
                | Need::Originals(_)
                | Need::Items(..)
                | Need::Epoch(_)
                | Need::Engine(..)
                | Need::Replica(_)
                | Need::Resume(..)
                | Need::OpenResume(..)
                | Need::PastHead(..) => groups.others.push((place, need)),
            }
        }
        groups
    }

    /// What is asked for them.
    fn asking<'c>(self, conn: &'c Conn) -> Vec<Asking<'c, Placed>>
    where
        'n: 'c,
    {
        let Self {
            receipts: of_receipts,
            sessions: of_sessions,
            threads: of_threads,
            turns: of_turns,
            entries: of_entries,
            others,
        } = self;
        let mut asking: Vec<Asking<'c, Placed>> = Vec::new();
        for (place, need) in others {
            asking.push(Box::pin(async move {
                match one(conn, need).await {
                    Err(fault @ Fault::Database { .. }) => Err(fault),
                    answered => Ok(vec![(place, answered)]),
                }
            }));
        }
        if !of_receipts.names.is_empty() {
            asking.push(Box::pin(async move {
                let found = receipts::receipts(conn, &of_receipts.names).await;
                of_receipts.answered(found, Answer::Receipt)
            }));
        }
        if !of_sessions.names.is_empty() {
            asking.push(Box::pin(async move {
                let found = sessions::sessions(conn, &of_sessions.names).await;
                of_sessions.answered(found, Answer::Session)
            }));
        }
        if !of_threads.names.is_empty() {
            asking.push(Box::pin(async move {
                let found = threads::threads(conn, &of_threads.names).await;
                of_threads.answered(found, Answer::Thread)
            }));
        }
        if !of_turns.names.is_empty() {
            asking.push(Box::pin(async move {
                let found = items::turns_named(conn, &of_turns.names).await;
                of_turns.answered(found, |turn| Answer::Turn(turn.map(Arc::new)))
            }));
        }
        for wanted in together(of_entries) {
            asking.push(Box::pin(async move {
                let (places, wanted): (Vec<usize>, Vec<Wanted<'_>>) = wanted.into_iter().unzip();
                let found = entries::places_of(conn, &wanted).await?;
                let found = found.into_iter().map(|found| found.map(Answer::Entries));
                Ok(places.into_iter().zip(found).collect())
            }));
        }
        asking
    }
}

/// Asks all of `needs` at once; no need is there twice. A row that is damaged is the answer to whom it concerns; what the
/// database refuses is everybody's.
pub(super) async fn answers(conn: &Conn, needs: &[Need]) -> Result<Vec<Answered>, Fault> {
    let mut answers = Vec::with_capacity(needs.len());
    for answered in in_order(Groups::of(needs).asking(conn)).await {
        answers.extend(answered?);
    }
    answers.sort_by_key(|(place, _)| *place);
    Ok(answers.into_iter().map(|(_, answered)| answered).collect())
}

/// Entries that are looked for by one statement each: few of some logs, or many of one.
fn together(wanted: Vec<(usize, Wanted<'_>)>) -> Vec<Vec<(usize, Wanted<'_>)>> {
    let mut all: Vec<Vec<_>> = Vec::new();
    let mut count = ENTRIES_MAX;
    for one in wanted {
        let (_, (log, _, ids)) = &one;
        let own = log.path.parts().len() + ids.len();
        count += own;
        match all.last_mut() {
            Some(last) if count <= ENTRIES_MAX => last.push(one),
            Some(_) | None => {
                count = own;
                all.push(vec![one]);
            }
        }
    }
    all
}

async fn one(conn: &Conn, need: &Need) -> Answered {
    Ok(match need {
        Need::Receipt(ns, id) => Answer::Receipt(receipts::receipt(conn, ns, id).await?),
        Need::Session(ns, id) => Answer::Session(sessions::session(conn, ns, id).await?),
        Need::Thread(ns, id) => Answer::Thread(threads::thread(conn, ns, id).await?),
        Need::Turn(journal, id) => Answer::Turn(items::turn(conn, *journal, id).await?.map(Arc::new)),
        Need::Family(ns, id) => Answer::Family(sessions::family(conn, ns, id).await?),
        Need::Imported(ns, source) => Answer::Imported(sessions::imported(conn, ns, source).await?),
        Need::HighestFork(ns, base) => Answer::HighestFork(sessions::highest_fork(conn, ns, base).await?),
        Need::Entries(log, to, ids) => Answer::Entries(entries::places(conn, log, *to, ids).await?),
        Need::Log(id) => Answer::Log(logs::log(conn, *id).await?),
        Need::References(id) => Answer::References(logs::references(conn, *id).await?),
        Need::Originals(id) => Answer::Originals(copies::originals(conn, *id).await?),
        Need::Items(journal, turn, ids) => Answer::Items(items::marks(conn, *journal, turn, ids).await?),
        Need::Epoch(ns) => Answer::Epoch(engines::epoch(conn, ns).await?),
        Need::Engine(ns, id) => Answer::Engine(engines::engine(conn, ns, id).await?),
        Need::Replica(id) => {
            let (replica, clock) = replicas::replica(conn, id).await?;
            Answer::Replica { replica, clock }
        }
        Need::Resume(ns, id) => Answer::Resume(resumes::resume(conn, ns, id).await?),
        Need::OpenResume(ns, session) => Answer::Resume(resumes::open(conn, ns, session).await?),
        Need::PastHead(ns, session, revision) => {
            Answer::PastHead(past_heads::past_head(conn, ns, session, *revision).await?)
        }
    })
}

/// What a commit of `proposal` would do, decided on what `conn` sees.
pub(super) async fn consider(conn: &Conn, proposal: &Proposal, now: Time) -> Result<Outcome, Error> {
    let mut facts = Facts::default();
    for _ in 0..ROUNDS_MAX {
        let open = open_needs(&facts, proposal).into_iter().map(|need| (0, need));
        let open: Vec<Need> = once(open.collect()).into_iter().map(|asked| asked.need).collect();
        if open.is_empty() {
            break;
        }
        let answers = answers(conn, &open).await?;
        for (need, answered) in open.into_iter().zip(answers) {
            facts.learn(need, answered?);
        }
    }
    let Decision { outcome, .. } = decide(&facts, proposal, now)?;
    Ok(outcome)
}

/// A need, and who has it: proposals of a batch by their places.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) need: Need,
    pub(super) seats: Vec<usize>,
}

/// These needs, each once.
pub(super) fn once(needs: Vec<(usize, Need)>) -> Vec<Asked> {
    let mut once: Vec<Asked> = Vec::with_capacity(needs.len());
    let mut known: HashMap<_, usize> = HashMap::new();
    for (seat, need) in needs {
        let name = name(&need);
        if let Some(at) = name.as_ref().and_then(|name| known.get(name)) {
            once[*at].seats.push(seat);
            continue;
        }
        if let Some(name) = name {
            known.insert(name, once.len());
        }
        once.push(Asked {
            need,
            seats: vec![seat],
        });
    }
    once
}

/// What tells a need of one name from another; `None` for those that are asked again without harm.
fn name(need: &Need) -> Option<(u8, String, String)> {
    let named = |kind, ns: &Namespace, name: &str| Some((kind, ns.to_string(), name.to_owned()));
    match need {
        Need::Receipt(ns, id) => named(0, ns, id.as_str()),
        Need::Session(ns, id) => named(1, ns, id.as_str()),
        Need::Thread(ns, id) => named(2, ns, id.as_str()),
        Need::Turn(journal, id) => Some((3, journal.to_string(), id.to_string())),
        Need::Engine(ns, id) => named(4, ns, id.as_str()),
        Need::OpenResume(ns, id) => named(5, ns, id.as_str()),
        Need::Resume(ns, id) => named(6, ns, id.as_str()),
        Need::Replica(id) => Some((7, String::new(), id.to_string())),
        Need::Family(..)
        | Need::Imported(..)
        | Need::HighestFork(..)
        | Need::Entries(..)
        | Need::Log(_)
        | Need::References(_)
        | Need::Originals(_)
        | Need::Items(..)
        | Need::Epoch(_)
        | Need::PastHead(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EntryId, Log, LogId, Path, Seq};

    #[test]
    fn few_entries_of_many_logs_are_looked_for_together_and_many_of_one_alone() {
        let log = Log {
            id: LogId(uuid::Uuid::from_u128(1)),
            path: Path::default(),
        };
        let id = EntryId::parse("e", "entry_id").expect("valid");
        let ids = vec![id; ENTRIES_MAX + 1];
        let sizes = |counts: &[usize]| -> Vec<Vec<usize>> {
            let wanted = counts.iter().enumerate();
            let wanted = wanted.map(|(place, count)| (place, (&log, Seq(1), &ids[..*count])));
            let together = together(wanted.collect());
            let size = |(_, (_, _, ids)): &(usize, Wanted<'_>)| ids.len();
            together
                .iter()
                .map(|wanted| wanted.iter().map(size).collect())
                .collect()
        };
        assert_eq!(sizes(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(sizes(&[1, 1, 1]), [[1, 1, 1]]);
        assert_eq!(
            sizes(&[ENTRIES_MAX - 1, 1, 1]),
            [vec![ENTRIES_MAX - 1, 1], vec![1]]
        );
        assert_eq!(
            sizes(&[1, ENTRIES_MAX + 1, 1, 1]),
            [vec![1], vec![ENTRIES_MAX + 1], vec![1, 1]]
        );
    }
}

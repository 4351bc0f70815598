//! What concurrent clients asked of one session and were told, and whether one log can have been behind it all.

use std::collections::HashMap;
use std::time::Instant;

/// One call, from before it was sent until its answer was there.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) outcome: Outcome,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Entries were appended, and stand from `first` on.
    Appended {
        said: Vec<String>,
        first: u64,
        /// The revision that the call expected, and that nobody else may have won.
        won: Option<u64>,
    },
    /// The append was refused: nothing of it is there.
    Refused { said: Vec<String> },
    /// Nobody answered, and nobody asked again: it is there as a whole, or not at all.
    Unanswered { said: Vec<String> },
    /// Entries that were read, each with its seq, and how many there were in all.
    Read { seen: Vec<(u64, String)>, count: u64 },
}

/// Everything that is wrong with a history, if `log` is what the session holds in the end.
pub(super) fn faults(log: &[String], history: &[Operation]) -> Vec<String> {
    let mut faults = Vec::new();
    each_stands_where_it_was_said_to(log, history, &mut faults);
    nothing_else_is_there(log, history, &mut faults);
    no_revision_is_won_twice(history, &mut faults);
    order_is_that_of_time(history, &mut faults);
    reads_see_what_was_there(log, history, &mut faults);
    faults
}

/// How many entries a log had at least after an operation that ended.
fn shown(operation: &Operation) -> u64 {
    match &operation.outcome {
        Outcome::Appended { said, first, .. } => first + said.len() as u64 - 1,
        Outcome::Read { count, .. } => *count,
        Outcome::Refused { .. } | Outcome::Unanswered { .. } => 0,
    }
}

/// No acknowledged entry is lost, moved or torn from its batch.
fn each_stands_where_it_was_said_to(log: &[String], history: &[Operation], faults: &mut Vec<String>) {
    for operation in history {
        let Outcome::Appended { said, first, .. } = &operation.outcome else {
            continue;
        };
        let from = usize::try_from(first - 1).expect("small");
        let there = log.get(from..from + said.len());
        if there != Some(&said[..]) {
            faults.push(format!(
                "{said:?} was acknowledged at {first}; there is {there:?}"
            ));
        }
    }
}

/// Every entry comes of one call, once; of what was not answered all or nothing is there; of what was refused nothing.
fn nothing_else_is_there(log: &[String], history: &[Operation], faults: &mut Vec<String>) {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, said) in log.iter().enumerate() {
        places.entry(said).or_default().push(place);
    }
    for (said, places) in places.iter().filter(|(_, places)| places.len() > 1) {
        faults.push(format!("{said:?} is there {} times", places.len()));
    }
    let mut known = 0;
    for operation in history {
        let (said, may_be_there) = match &operation.outcome {
            Outcome::Appended { said, .. } | Outcome::Unanswered { said } => (said, true),
            Outcome::Refused { said } => (said, false),
            Outcome::Read { .. } => continue,
        };
        let there: Vec<_> = said.iter().filter_map(|said| places.get(said.as_str())).collect();
        known += there.len();
        if there.is_empty() {
            continue;
        }
        let is_whole = there.len() == said.len()
            && there
                .iter()
                .enumerate()
                .all(|(at, place)| place[0] == there[0][0] + at);
        if !may_be_there || !is_whole {
            faults.push(format!("{said:?} was not to be there so: {operation:?}"));
        }
    }
    if known != places.len() {
        faults.push(format!("{} entries are of nobody", places.len() - known));
    }
}

fn no_revision_is_won_twice(history: &[Operation], faults: &mut Vec<String>) {
    let mut winners: HashMap<u64, &[String]> = HashMap::new();
    for operation in history {
        let Outcome::Appended {
            said, won: Some(won), ..
        } = &operation.outcome
        else {
            continue;
        };
        if let Some(other) = winners.insert(*won, said) {
            faults.push(format!("revision {won} was won by {said:?} and by {other:?}"));
        }
    }
}

/// What ended before something else began stands before it.
fn order_is_that_of_time(history: &[Operation], faults: &mut Vec<String>) {
    let mut appended: Vec<_> = history
        .iter()
        .filter_map(|operation| match &operation.outcome {
            Outcome::Appended { first, .. } => Some((*first, operation)),
            Outcome::Refused { .. } | Outcome::Unanswered { .. } | Outcome::Read { .. } => None,
        })
        .collect();
    appended.sort_by_key(|(first, _)| *first);
    let mut latest: Option<&Operation> = None;
    for (_, operation) in appended {
        match latest {
            Some(before) if operation.ended < before.began => {
                faults.push(format!(
                    "{operation:?} ended before {before:?} began, and stands behind it"
                ));
            }
            Some(before) if operation.began <= before.began => {}
            Some(_) | None => latest = Some(operation),
        }
    }
}

/// A read shows what the log holds at those places, and no less than what had ended before it began.
fn reads_see_what_was_there(log: &[String], history: &[Operation], faults: &mut Vec<String>) {
    let mut by_end: Vec<_> = history.iter().collect();
    by_end.sort_by_key(|operation| operation.ended);
    let mut by_begin: Vec<_> = history.iter().collect();
    by_begin.sort_by_key(|operation| operation.began);
    let mut ended = by_end.into_iter().peekable();
    let mut due = 0;
    for operation in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended < operation.began) {
            due = due.max(shown(before));
        }
        let Outcome::Read { seen, count } = &operation.outcome else {
            continue;
        };
        if *count < due {
            faults.push(format!(
                "a read saw {count} entries; {due} were there before it began"
            ));
        }
        for (seq, said) in seen {
            let place = usize::try_from(seq - 1).expect("small");
            if log.get(place) != Some(said) {
                faults.push(format!(
                    "a read saw {said:?} at {seq}; there is {:?}",
                    log.get(place)
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// An operation from one millisecond to another.
    fn operation(began: u64, ended: u64, outcome: Outcome) -> Operation {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let at = |ms| *START.get_or_init(Instant::now) + Duration::from_millis(ms);
        Operation {
            began: at(began),
            ended: at(ended),
            outcome,
        }
    }

    fn texts(said: &[&str]) -> Vec<String> {
        said.iter().map(|said| (*said).to_owned()).collect()
    }

    fn appended(said: &[&str], first: u64, won: Option<u64>) -> Outcome {
        let said = texts(said);
        Outcome::Appended { said, first, won }
    }

    fn read(seen: &[(u64, &str)], count: u64) -> Outcome {
        let seen = seen
            .iter()
            .map(|(seq, said)| (*seq, (*said).to_owned()))
            .collect();
        Outcome::Read { seen, count }
    }

    /// A history in which nothing is wrong with this log.
    fn good() -> (Vec<String>, Vec<Operation>) {
        let history = vec![
            operation(0, 3, appended(&["a"], 1, Some(1))),
            operation(1, 5, appended(&["b", "c"], 2, None)),
            operation(2, 6, Outcome::Refused { said: texts(&["x"]) }),
            operation(4, 6, Outcome::Unanswered { said: texts(&["d"]) }),
            operation(4, 7, Outcome::Unanswered { said: texts(&["y"]) }),
            operation(6, 8, read(&[(3, "c"), (2, "b")], 3)),
            operation(9, 10, appended(&["e"], 5, Some(3))),
        ];
        (texts(&["a", "b", "c", "d", "e"]), history)
    }

    #[test]
    fn what_can_have_been_is_let_through() {
        let (log, history) = good();
        assert_eq!(faults(&log, &history), Vec::<String>::new());
    }

    /// Each spoils the good history in one way, and the word that its fault must hold.
    #[test]
    fn whatever_is_wrong_is_found() {
        type Spoil = fn(&mut Vec<String>, &mut Vec<Operation>);
        let spoilt: [(&str, Spoil); 9] = [
            ("acknowledged", |log, _| drop(log.remove(1))),
            ("acknowledged", |log, _| log.swap(1, 2)),
            ("2 times", |log, _| log.push("e".into())),
            ("of nobody", |log, _| log.push("z".into())),
            ("not to be there", |log, _| log.push("x".into())),
            ("not to be there", |log, history| {
                let said = texts(&["d", "f"]);
                history[3].outcome = Outcome::Unanswered { said };
                log.truncate(5);
            }),
            ("won by", |_, history| {
                history[6].outcome = appended(&["e"], 5, Some(1))
            }),
            ("stands behind", |_, history| {
                let (first, last) = (history[0].clone(), history[6].clone());
                (history[6].began, history[6].ended) = (first.began, first.began);
                (history[0].began, history[0].ended) = (last.began, last.ended);
            }),
            ("before it began", |_, history| {
                history[5].outcome = read(&[(2, "b")], 2)
            }),
        ];
        for (word, spoil) in spoilt {
            let (mut log, mut history) = good();
            spoil(&mut log, &mut history);
            let found = faults(&log, &history);
            assert!(
                found.iter().any(|fault| fault.contains(word)),
                "{word}: {found:?}"
            );
        }
    }
}

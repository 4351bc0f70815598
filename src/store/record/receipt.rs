//! A receipt's outcome as JSON: ids, seqs, counts and flags, under 200 bytes; a prune's names many ids.

use serde::{Deserialize, Serialize};

use super::{Damage, from_json, json};
use crate::domain::outcome::{Imports, More, Problem};
use crate::domain::session::Removed;
use crate::domain::time::Time;
use crate::domain::{
    Digest, EngineId, EntryId, Outcome, Receipt, ReplicaId, ResumeId, Revision, Seq, SessionId, ThreadId,
    TurnId,
};

/// A receipt's columns.
#[derive(Debug)]
pub(crate) struct ReceiptRow {
    pub(crate) fingerprint: [u8; 16],
    pub(crate) outcome: String,
    pub(crate) time: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored<'a> {
    Session {
        session: &'a str,
    },
    Appended {
        session: &'a str,
        first: u64,
        last: u64,
        added: u64,
    },
    Saved {
        session: &'a str,
        messages: u64,
        created: bool,
    },
    Snapshot {
        session: &'a str,
        messages: u64,
        created: bool,
        delta: bool,
    },
    Forked {
        session: &'a str,
        source: &'a str,
        removed: Option<(&'a str, u64)>,
    },
    Rewound {
        session: &'a str,
        left: u64,
        kept: u64,
        removed: u64,
    },
    Pruned {
        sessions: Vec<&'a str>,
        count: u64,
    },
    Imported {
        sessions: Vec<&'a str>,
        added: u64,
        skipped: u64,
        problems: Vec<(u64, std::borrow::Cow<'a, str>)>,
    },
    Thread {
        thread: &'a str,
    },
    Turn {
        thread: &'a str,
        turn: &'a str,
    },
    Items {
        thread: &'a str,
        first: u64,
        last: u64,
    },
    Engine {
        engine: &'a str,
        epoch: u64,
    },
    Replica {
        replica: &'a str,
        incarnation: u64,
    },
    Resume {
        resume: &'a str,
    },
    Kept {
        more: bool,
    },
}

impl From<&Receipt> for ReceiptRow {
    fn from(receipt: &Receipt) -> Self {
        let outcome = json(&Stored::from(&receipt.outcome));
        Self {
            fingerprint: receipt.fingerprint.0,
            outcome,
            time: receipt.time.0,
        }
    }
}

impl TryFrom<ReceiptRow> for Receipt {
    type Error = Damage;

    fn try_from(row: ReceiptRow) -> Result<Self, Damage> {
        let stored: Stored<'_> = from_json("outcome", &row.outcome)?;
        Ok(Self {
            fingerprint: Digest(row.fingerprint),
            outcome: stored.try_into()?,
            time: Time(row.time),
        })
    }
}

impl<'a> From<&'a Outcome> for Stored<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Session { session } => Self::Session {
                session: session.as_str(),
            },
            Outcome::Appended {
                session,
                first,
                last,
                added,
            } => Self::Appended {
                session: session.as_str(),
                first: first.0,
                last: last.0,
                added: *added,
            },
            Outcome::Saved {
                session,
                message_count,
                created,
            } => Self::Saved {
                session: session.as_str(),
                messages: *message_count,
                created: *created,
            },
            Outcome::Snapshot {
                session,
                message_count,
                created,
                delta,
            } => Self::Snapshot {
                session: session.as_str(),
                messages: *message_count,
                created: *created,
                delta: *delta,
            },
            Outcome::Forked {
                session,
                source,
                removed,
            } => {
                let removed = removed
                    .as_ref()
                    .map(|removed| (removed.entry.as_str(), removed.seq.0));
                Self::Forked {
                    session: session.as_str(),
                    source: source.as_str(),
                    removed,
                }
            }
            Outcome::Rewound {
                session,
                left,
                kept,
                removed,
            } => Self::Rewound {
                session: session.as_str(),
                left: left.0,
                kept: kept.0,
                removed: *removed,
            },
            // A commit that leaves some is never recorded.
            Outcome::Pruned { sessions, count, .. } => Self::Pruned {
                sessions: sessions.iter().map(SessionId::as_str).collect(),
                count: *count,
            },
            Outcome::Imported(Imports {
                sessions,
                added,
                skipped,
                problems,
            }) => Self::Imported {
                sessions: sessions.iter().map(SessionId::as_str).collect(),
                added: *added,
                skipped: *skipped,
                problems: problems
                    .iter()
                    .map(|problem| (problem.line, problem.reason.as_str().into()))
                    .collect(),
            },
            Outcome::Thread { thread } => Self::Thread {
                thread: thread.as_str(),
            },
            Outcome::Turn { thread, turn } => Self::Turn {
                thread: thread.as_str(),
                turn: turn.as_str(),
            },
            Outcome::Items { thread, first, last } => Self::Items {
                thread: thread.as_str(),
                first: first.0,
                last: last.0,
            },
            Outcome::Engine { engine, epoch, .. } => Self::Engine {
                engine: engine.as_str(),
                epoch: *epoch,
            },
            Outcome::Replica { replica, incarnation } => Self::Replica {
                replica: replica.as_str(),
                incarnation: *incarnation,
            },
            Outcome::Resume { resume } => Self::Resume {
                resume: resume.as_str(),
            },
            Outcome::Kept { more } => Self::Kept {
                more: *more == More::Left,
            },
        }
    }
}

impl TryFrom<Stored<'_>> for Outcome {
    type Error = Damage;

    fn try_from(stored: Stored<'_>) -> Result<Self, Damage> {
        let session = |id: &str| SessionId::parse(id, "session_id");
        let thread = |id: &str| ThreadId::parse(id, "thread_id");
        Ok(match stored {
            Stored::Session { session: id } => Self::Session {
                session: session(id)?,
            },
            Stored::Appended {
                session: id,
                first,
                last,
                added,
            } => Self::Appended {
                session: session(id)?,
                first: Seq(first),
                last: Seq(last),
                added,
            },
            Stored::Saved {
                session: id,
                messages,
                created,
            } => Self::Saved {
                session: session(id)?,
                message_count: messages,
                created,
            },
            Stored::Snapshot {
                session: id,
                messages,
                created,
                delta,
            } => Self::Snapshot {
                session: session(id)?,
                message_count: messages,
                created,
                delta,
            },
            Stored::Forked {
                session: id,
                source,
                removed,
            } => {
                let removed = removed.map(|(entry, seq)| {
                    EntryId::parse(entry, "entry_id").map(|entry| Removed { entry, seq: Seq(seq) })
                });
                Self::Forked {
                    session: session(id)?,
                    source: session(source)?,
                    removed: removed.transpose()?,
                }
            }
            Stored::Rewound {
                session: id,
                left,
                kept,
                removed,
            } => Self::Rewound {
                session: session(id)?,
                left: Revision(left),
                kept: Seq(kept),
                removed,
            },
            Stored::Pruned { sessions, count } => {
                let sessions = sessions.into_iter().map(session).collect::<Result<_, _>>()?;
                let left = Vec::new();
                Self::Pruned {
                    sessions,
                    count,
                    left,
                }
            }
            Stored::Imported {
                sessions,
                added,
                skipped,
                problems,
            } => Self::Imported(Imports {
                sessions: sessions.into_iter().map(session).collect::<Result<_, _>>()?,
                added,
                skipped,
                problems: problems
                    .into_iter()
                    .map(|(line, reason)| Problem {
                        line,
                        reason: reason.into_owned(),
                    })
                    .collect(),
            }),
            Stored::Thread { thread: id } => Self::Thread { thread: thread(id)? },
            Stored::Turn { thread: id, turn } => Self::Turn {
                thread: thread(id)?,
                turn: TurnId::parse(turn, "turn_id")?,
            },
            Stored::Items {
                thread: id,
                first,
                last,
            } => Self::Items {
                thread: thread(id)?,
                first: Seq(first),
                last: Seq(last),
            },
            Stored::Engine { engine, epoch } => Self::Engine {
                engine: EngineId::parse(engine, "engine_id")?,
                epoch,
                before: None,
            },
            Stored::Replica { replica, incarnation } => Self::Replica {
                replica: ReplicaId::parse(replica, "replica")?,
                incarnation,
            },
            Stored::Resume { resume } => Self::Resume {
                resume: ResumeId::parse(resume, "resume_id")?,
            },
            Stored::Kept { more } => Self::Kept {
                more: if more { More::Left } else { More::Done },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_comes_back_and_is_small() {
        let session = SessionId::parse(&"s".repeat(36), "id").expect("valid");
        let f = |id: &str| SessionId::parse(id, "id").expect("valid");
        let thread = ThreadId::parse(&"t".repeat(36), "id").expect("valid");
        let turn = TurnId::parse(&"u".repeat(36), "id").expect("valid");
        let entry = EntryId::parse(&"e".repeat(36), "id").expect("valid");
        let (first, last) = (Seq(1_000_000), Seq(1_000_001));
        let outcomes = [
            Outcome::Session {
                session: session.clone(),
            },
            Outcome::Appended {
                session: session.clone(),
                first,
                last,
                added: 2,
            },
            Outcome::Saved {
                session: session.clone(),
                message_count: 9,
                created: true,
            },
            Outcome::Snapshot {
                session: session.clone(),
                message_count: 9,
                created: false,
                delta: true,
            },
            Outcome::Engine {
                engine: EngineId::parse(&"e".repeat(36), "id").expect("valid"),
                epoch: 1_000_000,
                before: None,
            },
            Outcome::Replica {
                replica: ReplicaId::parse(&"r".repeat(36), "id").expect("valid"),
                incarnation: 1_000_000,
            },
            Outcome::Resume {
                resume: ResumeId::parse(&"r".repeat(36), "id").expect("valid"),
            },
            Outcome::Rewound {
                session: session.clone(),
                left: Revision(1_000_000),
                kept: first,
                removed: 1_000_000,
            },
            Outcome::Pruned {
                sessions: vec![session.clone(), session.clone()],
                count: 1_000_000,
                left: Vec::new(),
            },
            Outcome::Forked {
                session: session.clone(),
                source: session.clone(),
                removed: None,
            },
            Outcome::Forked {
                session: session.clone(),
                source: session,
                removed: Some(Removed { entry, seq: last }),
            },
            Outcome::Thread {
                thread: thread.clone(),
            },
            Outcome::Turn {
                thread: thread.clone(),
                turn,
            },
            Outcome::Items { thread, first, last },
            Outcome::Kept { more: More::Left },
            Outcome::Imported(Imports {
                sessions: vec![f("s")],
                added: 1_000_000,
                skipped: 1,
                problems: vec![Problem {
                    line: 7,
                    reason: String::from("\"torn\""),
                }],
            }),
            Outcome::Kept { more: More::Done },
        ];
        for outcome in outcomes {
            let receipt = Receipt {
                fingerprint: Digest([7; 16]),
                outcome,
                time: Time(-5),
            };
            let row = ReceiptRow::from(&receipt);
            assert!(row.outcome.len() < 184, "{}", row.outcome);
            assert_eq!(Receipt::try_from(row), Ok(receipt));
        }
    }

    #[test]
    fn what_is_no_outcome_is_damage() {
        for outcome in ["", "{}", "{\"session\":{\"session\":\"a/b\"}}", "{\"other\":{}}"] {
            let row = ReceiptRow {
                fingerprint: [0; 16],
                outcome: outcome.to_owned(),
                time: 0,
            };
            assert!(Receipt::try_from(row).is_err(), "{outcome:?}");
        }
    }
}

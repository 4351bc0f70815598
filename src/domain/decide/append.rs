//! Adding entries to a session's log, and what of the head follows from them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Ruling;
use super::session::{fresh, writable};
use crate::domain::effect::Effect;
use crate::domain::entry::{Entry, NewEntry, Payload};
use crate::domain::error::{Invalid, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{EntryId, LogId, Namespace, Revision, Seq, SessionId};
use crate::domain::outcome::Outcome;
use crate::domain::path::Tip;
use crate::domain::session::{Profile, Session};
use crate::domain::tally::Tally;
use crate::domain::time::Time;
use crate::domain::title::{self, TitleSource};

pub(super) fn append(
    facts: &Facts,
    ns: &Namespace,
    id: &SessionId,
    entries: &[NewEntry],
    expected: Option<Revision>,
    now: Time,
) -> Ruling {
    let session = writable(facts, ns, id)?;
    fresh(session, expected)?;
    if entries.is_empty() {
        return Err(Invalid::new("entries", "at least one entry").into());
    }
    let log = session.tip.log.id;
    let addition = Addition::onto(&session.tip.tally, log, entries, |id| facts.entry(log, id));
    let (first, last) = (addition.first, addition.last);
    let outcome = Outcome::Appended {
        session: id.clone(),
        first,
        last,
        added: addition.entries.len() as u64,
    };
    if addition.entries.is_empty() {
        return Ok((Vec::new(), outcome));
    }
    let session = addition.moved(session, now);
    Ok((
        vec![Effect::Append(addition.entries.into()), head(session)],
        outcome,
    ))
}

/// The effect that writes `after`: the profile only where it changed.
pub(super) fn head(after: Moved) -> Effect {
    match after {
        Moved::Head(session) => Effect::MoveHead(Arc::new(session)),
        Moved::Whole(session) => Effect::PutSession(Arc::new(session)),
    }
}

/// A session after its log has changed.
pub(super) enum Moved {
    /// The profile stands as it was.
    Head(Session),
    /// The profile has changed too.
    Whole(Session),
}

/// New entries in their places, and what they say about the session.
pub(super) struct Addition {
    pub(super) entries: Vec<Entry>,
    pub(super) tally: Tally,
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) preview: Option<String>,
    pub(super) title: Option<String>,
}

impl Addition {
    /// Puts `new` after `before` in `log`, leaving out those that `known` or the list itself has already.
    pub(super) fn onto(
        before: &Tally,
        log: LogId,
        new: &[NewEntry],
        known: impl Fn(&EntryId) -> Option<Seq>,
    ) -> Self {
        let mut addition = Self {
            entries: Vec::with_capacity(new.len()),
            tally: before.clone(),
            first: Seq(u64::MAX),
            last: Seq::ZERO,
            preview: None,
            title: None,
        };
        let mut given: HashMap<&EntryId, Seq> = HashMap::new();
        for entry in new {
            let seq = given.get(&entry.id).copied().or_else(|| known(&entry.id));
            let seq = seq.unwrap_or_else(|| addition.push(log, entry));
            if new.len() > 1 {
                given.insert(&entry.id, seq);
            }
            addition.first = addition.first.min(seq);
            addition.last = addition.last.max(seq);
        }
        addition
    }

    fn push(&mut self, log: LogId, new: &NewEntry) -> Seq {
        let entry = Entry::following(&self.tally, log, new);
        if let Payload::Message(facts) = &new.payload
            && let Some(opening) = &facts.opening
            && !facts.in_sub_session
        {
            self.preview = Some(opening.preview.clone());
            if self.title.is_none() && !opening.title.is_empty() {
                self.title = Some(opening.title.clone());
            }
        }
        self.tally = entry.meta.tally.clone();
        let seq = entry.meta.seq;
        self.entries.push(entry);
        seq
    }

    /// The session with these entries at its end.
    pub(super) fn moved(&self, session: &Session, now: Time) -> Moved {
        let tip = Tip {
            log: session.tip.log.clone(),
            tally: self.tally.clone(),
        };
        moved(session, tip, self.preview.clone(), self.title.as_deref(), now)
    }
}

/// The session with another end of its log, and the title derived where one is missing.
pub(super) fn moved(
    session: &Session,
    tip: Tip,
    preview: Option<String>,
    title: Option<&str>,
    now: Time,
) -> Moved {
    let has_messages = tip.tally.messages > 0;
    let mut after = session.touched(now);
    after.revision = session.revision.next();
    after.tip = tip;
    if let Some(preview) = preview {
        after.preview = preview;
    }
    let profile = &session.profile;
    match derived(&profile.title, profile.title_source, title, has_messages) {
        Some(title) => {
            after.profile = Arc::new(Profile {
                title,
                ..Profile::clone(&session.profile)
            });
            Moved::Whole(after)
        }
        None => Moved::Head(after),
    }
}

/// The title a session gets when it has messages and nobody gave it one.
pub(super) fn derived(
    present: &str,
    source: TitleSource,
    candidate: Option<&str>,
    has_messages: bool,
) -> Option<String> {
    let missing = source == TitleSource::Derived && (present.is_empty() || present == title::FALLBACK);
    if !missing || !has_messages {
        return None;
    }
    let title = candidate.unwrap_or(title::FALLBACK);
    (title != present).then(|| title.to_owned())
}

/// The log of a session has not moved since a reader looked.
pub(super) fn unmoved(session: &Session, from: &Tip) -> Result<(), Refusal> {
    let same = session.tip.log.id == from.log.id && session.tip.seq() == from.seq();
    if same {
        Ok(())
    } else {
        Err(Refusal::Moved {
            session: session.id.clone(),
        })
    }
}

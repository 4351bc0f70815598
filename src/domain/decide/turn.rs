//! Turns and items: one turn runs at a time, what has ended stays as it is.

use std::collections::HashMap;
use std::sync::Arc;

use super::Ruling;
use crate::domain::effect::Effect;
use crate::domain::error::{Invalid, Noun, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{ItemId, Seq, TurnId};
use crate::domain::outcome::Outcome;
use crate::domain::thread::{State, Thread};
use crate::domain::time::Time;
use crate::domain::turn::{Item, ItemMark, NewItem, Status, Turn};
use crate::domain::usage::Usage;

/// How a turn ends.
pub(super) struct End<'a> {
    pub(super) status: Status,
    pub(super) usage: Option<Usage>,
    pub(super) error: &'a str,
}

pub(super) fn start(facts: &Facts, thread: &Thread, id: &TurnId, epoch: Option<u64>, now: Time) -> Ruling {
    match thread.profile.state {
        State::Open => {}
        State::Closed | State::Archived => {
            return Err(Refusal::ThreadClosed {
                thread: thread.id.clone(),
            });
        }
    }
    if let Some(active) = &thread.active_turn {
        return Err(Refusal::TurnInProgress {
            thread: thread.id.clone(),
            turn: Some(active.clone()),
        });
    }
    if facts.turn(thread.journal, id).flatten().is_some() {
        return Err(Refusal::AlreadyExists {
            noun: Noun::Turn,
            id: id.to_string(),
        });
    }
    let mut after = thread.touched(now);
    after.active_turn = Some(id.clone());
    after.turns += 1;
    let turn = Turn {
        journal: thread.journal,
        id: id.clone(),
        number: after.turns,
        status: Status::InProgress,
        usage: None,
        error: String::new(),
        start_time: now,
        end_time: None,
        open_items: 0,
        epoch: epoch.unwrap_or_default(),
        change: after.change,
    };
    Ok(written(after, turn, Vec::new()))
}

pub(super) fn append_items(
    facts: &Facts,
    thread: &Thread,
    id: &TurnId,
    new: &[NewItem],
    epoch: Option<u64>,
    now: Time,
) -> Ruling {
    let turn = running(facts, thread, id)?;
    if new.is_empty() {
        return Err(Invalid::new("items", "at least one item").into());
    }
    let mut after = thread.touched(now);
    let mut turn = Turn {
        epoch: epoch.unwrap_or(turn.epoch),
        change: after.change,
        ..Turn::clone(turn)
    };
    let mut marks: HashMap<&ItemId, ItemMark> = HashMap::new();
    let mut items = Vec::with_capacity(new.len());
    let (mut first, mut last) = (Seq(u64::MAX), Seq::ZERO);
    for item in new {
        let before = marks
            .get(&item.id)
            .copied()
            .or_else(|| facts.item(thread.journal, id, &item.id));
        if before.is_some_and(|mark| mark.status.is_end()) {
            return Err(Refusal::ItemFinished {
                item: item.id.clone(),
            });
        }
        if before.is_none() {
            after.items += 1;
        }
        let was_open = u64::from(before.is_some());
        let is_open = u64::from(!item.status.is_end());
        turn.open_items = turn.open_items + is_open - was_open;
        after.open_items = after.open_items + is_open - was_open;
        let mark = ItemMark {
            seq: before.map_or(Seq(after.items), |mark| mark.seq),
            status: item.status,
            create_time: item
                .create_time
                .or(before.map(|mark| mark.create_time))
                .unwrap_or(now),
        };
        marks.insert(&item.id, mark);
        first = first.min(mark.seq);
        last = last.max(mark.seq);
        items.push(Item {
            journal: thread.journal,
            turn: id.clone(),
            id: item.id.clone(),
            seq: mark.seq,
            kind: item.kind,
            status: item.status,
            create_time: mark.create_time,
            end_time: item.end_time.or(item.status.is_end().then_some(now)),
            change: after.change,
            body: item.body.clone(),
        });
    }
    let outcome = Outcome::Items {
        thread: thread.id.clone(),
        first,
        last,
    };
    let (effects, _) = written(after, turn, vec![Effect::PutItems(items)]);
    Ok((effects, outcome))
}

pub(super) fn finish(facts: &Facts, thread: &Thread, id: &TurnId, end: &End<'_>, now: Time) -> Ruling {
    if !end.status.is_end() {
        return Err(Invalid::new(
            "status",
            "an end state: COMPLETED, FAILED, INTERRUPTED or CANCELED",
        )
        .into());
    }
    let turn = running(facts, thread, id)?;
    if end.status == Status::Completed && turn.open_items > 0 {
        return Err(Refusal::TurnInProgress {
            thread: thread.id.clone(),
            turn: Some(id.clone()),
        });
    }
    let mut after = thread.touched(now);
    let change = after.change;
    let mut ends = Vec::new();
    if turn.open_items > 0 {
        after.open_items = after.open_items.saturating_sub(turn.open_items);
        let (journal, status) = (thread.journal, end.status);
        ends.push(Effect::EndItems {
            journal,
            turn: id.clone(),
            status,
            time: now,
            change,
        });
    }
    if after.active_turn.as_ref() == Some(id) {
        after.active_turn = None;
    }
    let turn = Turn {
        status: end.status,
        usage: end.usage.or(turn.usage),
        error: end.error.to_owned(),
        end_time: Some(now),
        open_items: 0,
        change,
        ..Turn::clone(turn)
    };
    Ok(written(after, turn, ends))
}

/// A turn that has not ended.
fn running<'a>(facts: &'a Facts, thread: &Thread, id: &TurnId) -> Result<&'a Arc<Turn>, Refusal> {
    let missing = || Refusal::NotFound {
        noun: Noun::Turn,
        id: id.to_string(),
    };
    let turn = facts.turn(thread.journal, id).flatten().ok_or_else(missing)?;
    if turn.status.is_end() {
        return Err(Refusal::TurnFinished { turn: id.clone() });
    }
    Ok(turn)
}

fn written(thread: Thread, turn: Turn, mut effects: Vec<Effect>) -> (Vec<Effect>, Outcome) {
    let outcome = Outcome::Turn {
        thread: thread.id.clone(),
        turn: turn.id.clone(),
    };
    effects.push(Effect::PutTurn(Arc::new(turn)));
    effects.push(Effect::PutThread(Arc::new(thread)));
    (effects, outcome)
}

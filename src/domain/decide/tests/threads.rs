//! Threads: one turn at a time, what has ended stays, epochs fence writers.

use super::world::{World, adding, finishing, starting};
use crate::domain::proposal::ThreadCommand;
use crate::domain::thread::{Change, State};
use crate::domain::turn::Status;
use crate::domain::{Noun, Outcome, Proposal, Refusal, Seq, TurnId, fixture as f};

const ENDS: [Status; 4] = [
    Status::Completed,
    Status::Failed,
    Status::Interrupted,
    Status::Canceled,
];

fn into_state(state: State) -> Proposal {
    f::to_thread(ThreadCommand::Update {
        id: f::thread("t"),
        change: Box::new(Change {
            state: Some(state),
            ..Change::default()
        }),
        epoch: None,
    })
}

fn busy(turn: Option<&str>) -> Refusal {
    Refusal::TurnInProgress {
        thread: f::thread("t"),
        turn: turn.map(f::turn),
    }
}

fn with_turn() -> World {
    let mut world = World::new();
    world.create_thread("t");
    world.done(&starting("t", "u", None));
    world
}

fn no_turn(id: &TurnId) -> Refusal {
    Refusal::NotFound {
        noun: Noun::Turn,
        id: id.to_string(),
    }
}

#[test]
fn one_turn_at_a_time() {
    let mut world = with_turn();
    assert_eq!(world.refused(&starting("t", "v", None)), busy(Some("u")));
    assert_eq!(world.refused(&starting("t", "u", None)), busy(Some("u")));
    world.done(&finishing("t", "u", Status::Completed, None));
    let taken = Refusal::AlreadyExists {
        noun: Noun::Turn,
        id: "u".to_owned(),
    };
    assert_eq!(world.refused(&starting("t", "u", None)), taken);
    world.done(&starting("t", "v", None));
    assert_eq!(world.thread("t").turns, 2);
    assert_eq!(world.turn("t", "v").number, 2);
}

#[test]
fn a_closed_thread_starts_no_turn() {
    for state in [State::Closed, State::Archived] {
        let mut world = with_turn();
        world.done(&into_state(state));
        world.done(&adding("t", "u", vec![f::new_item("i", Status::Completed)], None));
        world.done(&finishing("t", "u", Status::Completed, None));
        let closed = Refusal::ThreadClosed {
            thread: f::thread("t"),
        };
        assert_eq!(world.refused(&starting("t", "v", None)), closed);
        world.done(&into_state(State::Open));
        world.done(&starting("t", "v", None));
    }
}

#[test]
fn a_turn_ends_once_and_in_an_end_state() {
    let mut world = with_turn();
    for status in [Status::Queued, Status::InProgress] {
        let refusal = world.refused(&finishing("t", "u", status, None));
        assert!(matches!(refusal, Refusal::Invalid(_)), "{status:?}");
    }
    let nobody = f::turn("nobody");
    assert_eq!(
        world.refused(&finishing("t", "nobody", Status::Failed, None)),
        no_turn(&nobody)
    );
    assert_eq!(
        world.refused(&adding(
            "t",
            "nobody",
            vec![f::new_item("i", Status::Queued)],
            None
        )),
        no_turn(&nobody)
    );
    for (at, status) in ENDS.into_iter().enumerate() {
        let turn = if at == 0 { "u".to_owned() } else { format!("u{at}") };
        if at > 0 {
            world.done(&starting("t", &turn, None));
        }
        world.done(&finishing("t", &turn, status, None));
        assert_eq!(world.turn("t", &turn).status, status);
        assert_eq!(world.thread("t").active_turn, None);
        let finished = Refusal::TurnFinished { turn: f::turn(&turn) };
        assert_eq!(world.refused(&finishing("t", &turn, status, None)), finished);
        let late = adding("t", &turn, vec![f::new_item("late", Status::Completed)], None);
        assert_eq!(world.refused(&late), finished);
    }
}

#[test]
fn unfinished_items_get_the_turns_end() {
    for status in ENDS {
        let mut world = with_turn();
        let items = vec![
            f::new_item("queued", Status::Queued),
            f::new_item("running", Status::InProgress),
            f::new_item("done", Status::Failed),
        ];
        world.done(&adding("t", "u", items, None));
        assert_eq!(
            (world.thread("t").open_items, world.turn("t", "u").open_items),
            (2, 2)
        );
        let finish = finishing("t", "u", status, None);
        if status == Status::Completed {
            assert_eq!(world.refused(&finish), busy(Some("u")));
            continue;
        }
        world.done(&finish);
        let states: Vec<Status> = world.items.values().map(|item| item.status).collect();
        assert_eq!(states, [status, status, Status::Failed]);
        assert_eq!(
            (world.thread("t").open_items, world.turn("t", "u").open_items),
            (0, 0)
        );
    }
}

#[test]
fn an_item_is_replaced_until_it_ends() {
    let mut world = with_turn();
    let span = |first, last| Outcome::Items {
        thread: f::thread("t"),
        first: Seq(first),
        last: Seq(last),
    };
    let q = |id: &str| f::new_item(id, Status::Queued);
    let done = |id: &str| f::new_item(id, Status::Completed);
    let mut add = |items| {
        world
            .decide(&adding("t", "u", items, None))
            .map(|decision| decision.outcome)
    };
    assert_eq!(add(vec![q("a"), q("b")]), Ok(span(1, 2)));
    assert_eq!(add(vec![q("b"), q("c")]), Ok(span(2, 3)));
    assert_eq!(add(vec![done("a")]), Ok(span(1, 1)));
    let finished = |id: &str| Err(Refusal::ItemFinished { item: f::item(id) });
    assert_eq!(add(vec![q("d"), q("a")]), finished("a"), "all or nothing");
    assert_eq!(
        add(vec![q("d"), done("d"), q("d")]),
        finished("d"),
        "within one call too"
    );
    assert!(matches!(add(Vec::new()), Err(Refusal::Invalid(_))));
    assert_eq!(add(vec![done("c"), done("b")]), Ok(span(2, 3)));
    assert_eq!((world.thread("t").items, world.thread("t").open_items), (3, 0));
    world.done(&finishing("t", "u", Status::Completed, None));
    world.done(&starting("t", "v", None));
    world.done(&adding("t", "v", vec![q("a")], None));
    assert_eq!(world.thread("t").items, 4, "ids are unique in their turn");
}

#[test]
fn an_epoch_that_is_not_the_present_one_is_stale() {
    let mut world = with_turn();
    let stale = Refusal::StaleEpoch {
        thread: f::thread("t"),
        current: 0,
    };
    let update = |epoch| {
        f::to_thread(ThreadCommand::Update {
            id: f::thread("t"),
            change: Box::new(Change::default()),
            epoch,
        })
    };
    let delete = |epoch| {
        f::to_thread(ThreadCommand::Delete {
            id: f::thread("t"),
            epoch,
        })
    };
    let item = || vec![f::new_item("i", Status::Completed)];
    for write in [
        starting("t", "v", Some(1)),
        adding("t", "u", item(), Some(1)),
        finishing("t", "u", Status::Failed, Some(1)),
        update(Some(1)),
        delete(Some(1)),
    ] {
        assert_eq!(world.refused(&write), stale, "{write:?}");
    }
    world.done(&adding("t", "u", item(), Some(0)));
    world.done(&finishing("t", "u", Status::Failed, Some(0)));
    world.done(&update(Some(0)));
    let other = ThreadCommand::Create {
        id: f::thread("t2"),
        journal: world.log(),
        draft: Box::default(),
        epoch: Some(1),
    };
    let stale = Refusal::StaleEpoch {
        thread: f::thread("t2"),
        current: 0,
    };
    assert_eq!(world.refused(&f::to_thread(other)), stale);
}

#[test]
fn every_change_counts_once() {
    let mut world = with_turn();
    assert_eq!(world.thread("t").change, 2);
    for (proposal, change) in [
        (
            adding(
                "t",
                "u",
                vec![f::new_item("i", Status::Queued), f::new_item("j", Status::Queued)],
                None,
            ),
            3,
        ),
        (into_state(State::Open), 3),
        (into_state(State::Closed), 4),
        (finishing("t", "u", Status::Canceled, None), 5),
    ] {
        world.done(&proposal);
        assert_eq!(world.thread("t").change, change, "{proposal:?}");
    }
    assert_eq!(world.turn("t", "u").change, 5);
}

#[test]
fn a_thread_that_runs_is_not_deleted() {
    let mut world = with_turn();
    let delete = f::to_thread(ThreadCommand::Delete {
        id: f::thread("t"),
        epoch: None,
    });
    assert_eq!(world.refused(&delete), busy(Some("u")));
    world.done(&finishing("t", "u", Status::Failed, None));
    world.done(&delete);
    let missing = Refusal::no_thread(&f::thread("t"));
    assert_eq!(world.refused(&delete), missing);
    assert_eq!(world.refused(&starting("t", "u", None)), missing);
}

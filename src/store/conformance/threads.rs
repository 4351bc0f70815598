//! Threads, turns and items as rows: what was written comes back, in order, counted.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::domain::fixture as f;
use crate::domain::proposal::{SessionCommand, ThreadCommand};
use crate::domain::query::{Bound, Items};
use crate::domain::session::Setting;
use crate::domain::turn::{ItemKind, NewItem, Status};
use crate::domain::{Outcome, Refusal, Seq, Time, Usage, thread};

use super::Backend;
use super::desk::{ALL, Desk, adding, finishing, starting};

pub(crate) async fn facts_come_back(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let odd = |text: &str| format!(" {text} \u{0}\n'é漢 ");
    let draft = thread::Draft {
        title: odd("title"),
        setting: Setting {
            workspace: odd("w"),
            provider: odd("p"),
            endpoint: odd("e"),
            model: odd("m"),
            mode: odd("mode"),
            task_type: odd("task"),
        },
        labels: BTreeMap::from([(odd("k"), odd("v")), (String::new(), String::new())]),
        texts: thread::Texts {
            system_prompt: odd("prompt"),
            settings_json: "{ }".to_owned(),
        },
        state: thread::State::Closed,
    };
    let create = ThreadCommand::Create {
        id: f::thread("t"),
        journal: desk.log(),
        draft: Box::new(draft.clone()),
        epoch: Some(0),
    };
    let made = desk.done(f::to_thread(create)).await.thread.expect("it was made");
    assert_eq!(
        (&made.profile.setting, &made.profile.labels),
        (&draft.setting, &draft.labels)
    );
    assert_eq!(desk.thread("t").await, made);
    let change = thread::Change {
        title: Some(String::new()),
        state: Some(thread::State::Open),
        model: Some("other".to_owned()),
        ..thread::Change::default()
    };
    let update = ThreadCommand::Update {
        id: f::thread("t"),
        change: Box::new(change),
        epoch: None,
    };
    desk.done(f::to_thread(update.clone())).await;
    desk.turn("t", "u", &["a", "b"]).await;
    let changed = desk.save("t", vec![f::assistant("a")]).await;
    assert!(changed.session.is_some());
    let before = desk.thread("t").await;
    assert_eq!((before.change, before.turns, before.items), (6, 1, 2));
    assert_eq!(
        (before.profile.state, before.marks.len()),
        (thread::State::Open, 1)
    );
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.thread("t").await, before);
    desk.done(f::to_thread(update)).await;
    assert_eq!(
        desk.thread("t").await,
        before,
        "what is set already changes nothing"
    );
}

pub(crate) async fn items_keep_their_seq(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let journal = desk.create_thread("t").await.journal;
    desk.done(starting("t", "u")).await;
    let queued = |id: &str, body: &'static [u8]| NewItem {
        kind: ItemKind::ToolCall,
        body: Bytes::from_static(body),
        ..f::new_item(id, Status::Queued)
    };
    let given = vec![
        queued("a", b"\0\xff1"),
        queued("b", b""),
        queued("a", b"2"),
        queued("c", b"1"),
    ];
    let span = |first, last| Outcome::Items {
        thread: f::thread("t"),
        first: Seq(first),
        last: Seq(last),
    };
    let committed = desk.done(adding("t", "u", given)).await;
    assert_eq!(
        committed.outcome,
        span(1, 3),
        "the same id twice in a batch is one item"
    );
    let made = desk.now();
    let again = NewItem {
        end_time: Some(Time(5)),
        kind: ItemKind::Error,
        ..f::new_item("b", Status::Failed)
    };
    let committed = desk
        .done(adding(
            "t",
            "u",
            vec![again, queued("d", b"4"), queued("a", b"3")],
        ))
        .await;
    assert_eq!(committed.outcome, span(1, 4));
    let desk = desk.restarted(backend).await;
    let items = desk.items("t").await;
    let ids: Vec<_> = items.iter().map(|item| (item.id.as_str(), item.seq.0)).collect();
    assert_eq!(ids, [("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
    let bodies: Vec<_> = items.iter().map(|item| &item.body[..]).collect();
    assert_eq!(bodies, [b"3", &b"\0item b Failed"[..], b"1", b"4"]);
    let b = &items[1];
    assert_eq!(
        (b.kind, b.status, b.end_time),
        (ItemKind::Error, Status::Failed, Some(Time(5)))
    );
    assert_eq!(b.create_time, made, "a replaced item keeps its time");
    assert_eq!((items[2].change, items[1].change), (3, 4));
    let refusal = desk
        .refused(adding("t", "u", vec![queued("new", b""), queued("b", b"")]))
        .await;
    assert_eq!(refusal, Refusal::ItemFinished { item: f::item("b") });
    let thread = desk.thread("t").await;
    assert_eq!((thread.items, thread.open_items), (4, 3));
    let turn = desk.store.turn(journal, &f::turn("u")).await;
    let turn = turn.expect("it can be read").expect("it is there");
    assert_eq!((turn.open_items, turn.change), (3, 4));
}

pub(crate) async fn a_turn_ends_its_items(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let journal = desk.create_thread("t").await.journal;
    desk.turn("t", "first", &["a", "b"]).await;
    desk.done(starting("t", "second")).await;
    desk.refused(starting("t", "third")).await;
    let open = vec![
        f::new_item("a", Status::InProgress),
        f::new_item("done", Status::Canceled),
        f::new_item("q", Status::Queued),
    ];
    desk.done(adding("t", "second", open)).await;
    let usage = Usage {
        input_tokens: u64::MAX,
        cost_micros: 3,
        ..Usage::default()
    };
    let finish = ThreadCommand::FinishTurn {
        id: f::thread("t"),
        turn: f::turn("second"),
        status: Status::Interrupted,
        usage: Some(usage),
        error: "gone \u{0}".to_owned(),
        epoch: None,
    };
    desk.done(f::to_thread(finish)).await;
    let ended = desk.now();
    let desk = desk.restarted(backend).await;
    let items = desk.items("t").await;
    let states: Vec<_> = items.iter().map(|item| (item.id.as_str(), item.status)).collect();
    let (completed, interrupted) = (Status::Completed, Status::Interrupted);
    assert_eq!(
        states,
        [
            ("a", completed),
            ("b", completed),
            ("a", interrupted),
            ("done", Status::Canceled),
            ("q", interrupted)
        ]
    );
    assert_eq!((items[4].end_time, items[4].change), (Some(ended), 7));
    assert!(
        items[3].end_time < Some(ended),
        "what had ended keeps its end and its change"
    );
    let thread = desk.thread("t").await;
    assert_eq!(
        (&thread.active_turn, thread.open_items, thread.turns),
        (&None, 0, 2)
    );
    let turn = desk.store.turn(journal, &f::turn("second")).await;
    let turn = turn.expect("it can be read").expect("it is there");
    assert_eq!(
        (turn.status, turn.usage, turn.error.as_str()),
        (interrupted, Some(usage), "gone \u{0}")
    );
    assert_eq!((turn.number, turn.open_items, turn.end_time), (2, 0, Some(ended)));
    let finished = Refusal::TurnFinished {
        turn: f::turn("second"),
    };
    assert_eq!(
        desk.refused(finishing("t", "second", Status::Failed)).await,
        finished
    );
    let late = adding("t", "second", vec![f::new_item("late", Status::Queued)]);
    assert_eq!(desk.refused(late).await, finished);
}

pub(crate) async fn items_are_paged(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let journal = desk.create_thread("t").await.journal;
    desk.create_thread("other").await;
    desk.turn("other", "u1", &["x"]).await;
    for (turn, ids) in [("u1", ["a", "b", "c"]), ("u2", ["d", "e", "f"])] {
        desk.turn("t", turn, &ids).await;
    }
    let ids = |turn: Option<&str>, after: u64, bound: Bound| {
        let query = Items {
            turn: turn.map(f::turn),
            after: Seq(after),
        };
        let store = desk.store.clone();
        async move {
            let items = store
                .items(journal, &query, bound)
                .await
                .expect("they can be read");
            let ids = items.iter().map(|item| item.id.as_str().to_owned());
            ids.collect::<Vec<_>>().concat()
        }
    };
    let rows = |rows| Bound { rows, ..ALL };
    assert_eq!(ids(None, 0, ALL).await, "abcdef");
    assert_eq!(ids(None, 0, rows(4)).await, "abcd");
    assert_eq!(ids(None, 4, rows(4)).await, "ef");
    assert_eq!(ids(Some("u2"), 0, ALL).await, "def");
    assert_eq!(ids(Some("u2"), 4, rows(1)).await, "e");
    assert_eq!(ids(Some("u1"), 3, ALL).await, "");
    assert_eq!(ids(Some("nobody"), 0, ALL).await, "");
    assert_eq!(ids(None, 6, ALL).await, "");
    assert_eq!(ids(None, u64::MAX, ALL).await, "");
    let size = f::new_item("a", Status::Completed).body.len();
    assert_eq!(
        ids(
            None,
            0,
            Bound {
                rows: 9,
                bytes: 2 * size
            }
        )
        .await,
        "ab"
    );
    assert_eq!(
        ids(
            None,
            0,
            Bound {
                rows: 9,
                bytes: 2 * size - 1
            }
        )
        .await,
        "a"
    );
    assert_eq!(ids(None, 2, Bound { rows: 9, bytes: 1 }).await, "c");
    let named = ["u2", "u1", "nobody", "u2"].map(f::turn);
    let turns = desk.store.turns(journal, &named).await.expect("they can be read");
    let numbers: Vec<_> = turns.iter().map(|turn| (turn.id.as_str(), turn.number)).collect();
    assert_eq!(numbers, [("u1", 1), ("u2", 2)]);
    assert_eq!(
        desk.store.turns(journal, &[]).await.expect("they can be read"),
        []
    );
}

pub(crate) async fn a_deleted_thread_leaves_its_sessions(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.turn("t", "u", &["i"]).await;
    desk.save("t", vec![f::assistant("i")]).await;
    let named = desk.saving("t", Some("named"), vec![f::assistant("i")]).await;
    desk.done(super::desk::saved(named)).await;
    let delete = ThreadCommand::Delete {
        id: f::thread("t"),
        epoch: None,
    };
    desk.done(starting("t", "v")).await;
    desk.refused(f::to_thread(delete.clone())).await;
    desk.done(finishing("t", "v", Status::Canceled)).await;
    desk.done(f::to_thread(delete)).await;
    let desk = desk.restarted(backend).await;
    let gone = desk.store.thread(&desk.ns, &f::thread("t")).await;
    assert_eq!(gone.expect("it can be read"), None);
    for id in ["of-t", "named"] {
        assert_eq!(desk.session(id).await.profile.thread, None);
        assert_eq!(desk.ids(id).await, ["i"]);
    }
    desk.create_thread("t").await;
    assert_eq!(desk.items("t").await, []);
    desk.done(starting("t", "u")).await;
    desk.done(f::to_session(SessionCommand::Append {
        id: f::session("of-t"),
        entries: vec![f::user("m", "hello")],
        expected: None,
    }))
    .await;
}

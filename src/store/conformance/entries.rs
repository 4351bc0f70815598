//! Entries come back as they went in, in order, in pages, each id once.

use bytes::Bytes;

use crate::domain::entry::Payload;
use crate::domain::fixture as f;
use crate::domain::proposal::SessionCommand;
use crate::domain::query::{Bound, End, Range};
use crate::domain::{
    CallKey, Entry, Log, MessageFacts, NewEntry, Outcome, Revision, Role, Seq, Tally, Time, Usage,
};

use super::Backend;
use super::desk::{ALL, Desk, appending, folded};

pub(crate) async fn come_back_byte_for_byte(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let session = desk.create("s").await;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let large: Vec<u8> = (0..1_500_000_u32).map(|at| (at % 251) as u8).collect();
    let given = vec![
        f::with_body(f::user("a", "hello"), Bytes::new()),
        f::with_body(f::assistant("b"), every_byte),
        f::with_body(f::event("c"), &b"{\"a\": 1e400, \"b\":9007199254740993 }"[..]),
        f::with_body(f::checkpoint("d"), large),
        f::with_body(f::said("e", Role::System, "be kind"), vec![0; 3]),
        f::with_body(f::said("f", Role::Tool, "4"), vec![0xff, 0xfe]),
    ];
    let expected = folded(&Tally::default(), session.tip.log.id, &given);
    desk.append("s", given).await;
    assert_eq!(desk.entries("s").await, expected);
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.entries("s").await, expected);
}

pub(crate) async fn carry_the_fold(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let log = desk.create("s").await.tip.log.id;
    let batches = [
        vec![f::user("a", "one"), f::calls("b", 1), f::calls("c", 2)],
        vec![f::answers("d", 1), f::checkpoint("e"), f::event("f")],
        vec![f::in_sub_session("g", Role::User, "part"), f::user("h", "")],
        vec![f::answers("i", 2), f::user("j", "two"), f::calls("k", u64::MAX)],
    ];
    let mut expected: Vec<Entry> = Vec::new();
    for batch in batches {
        let before = expected
            .last()
            .map_or_else(Tally::default, |last| last.meta.tally.clone());
        expected.extend(folded(&before, log, &batch));
        let session = desk.append("s", batch).await;
        let last = expected.last().expect("a batch is not empty");
        assert_eq!(session.tip.tally, last.meta.tally);
    }
    assert_eq!(desk.entries("s").await, expected);
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.entries("s").await, expected);
    let open = &desk.session("s").await.tip.tally.open_calls;
    assert_eq!(*open, vec![CallKey(u64::MAX)]);
}

pub(crate) async fn keep_odd_facts(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let log = desk.create("s").await.tip.log.id;
    let most = Usage {
        input_tokens: u64::MAX,
        output_tokens: u64::MAX - 1,
        cache_read_tokens: 1 << 63,
        cache_write_tokens: (1 << 63) - 1,
        reasoning_tokens: 1,
        cost_micros: u64::MAX,
    };
    let facts = |items, usage| {
        Payload::Message(MessageFacts {
            items,
            usage,
            tool_uses: (0..300).map(CallKey).collect(),
            ..f::facts(Role::Assistant, "")
        })
    };
    let at = |id: &str, time, items| NewEntry {
        create_time: time,
        ..f::entry(id, facts(items, most))
    };
    let given = vec![
        at("first", Time(i64::MIN), 0),
        at("last", Time(i64::MAX), u32::MAX),
        at("before", Time(-1), 1),
        f::user("emoji", "👩\u{200d}👧 \u{0} \u{7f}"),
        f::entry(&"i".repeat(128), Payload::Event),
    ];
    let expected = folded(&Tally::default(), log, &given);
    desk.append("s", given).await;
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.entries("s").await, expected);
    let session = desk.session("s").await;
    assert_eq!(session.usage().input_tokens, u64::MAX, "sums stop at the maximum");
    assert_eq!(session.preview, "👩\u{200d}👧 \u{0} \u{7f}");
}

pub(crate) async fn pages_end_at_rows_or_bytes(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let sizes = [10, 10, 30, 10, 1, 100];
    let given = sizes.iter().enumerate();
    let given = given.map(|(at, size)| f::with_body(f::event(&format!("e{at}")), vec![7; *size]));
    let tip = desk.append("s", given.collect()).await.tip.clone();
    for (from, rows, bytes, seqs) in [
        (End::Oldest, 2, 1_000, vec![1, 2]),
        (End::Newest, 2, 1_000, vec![5, 6]),
        (End::Oldest, 9, 20, vec![1, 2]),
        (End::Oldest, 9, 49, vec![1, 2]),
        (End::Oldest, 9, 50, vec![1, 2, 3]),
        (End::Newest, 9, 100, vec![6]),
        (End::Newest, 9, 110, vec![5, 6]),
        (End::Newest, 9, 111, vec![4, 5, 6]),
        (End::Newest, 9, 5, vec![6]),
        (End::Oldest, 1, 5, vec![1]),
        (End::Oldest, 9, 1_000, vec![1, 2, 3, 4, 5, 6]),
    ] {
        let range = Range {
            after: Seq::ZERO,
            to: tip.seq(),
            from,
        };
        let page = desk.store.entries(&tip.log, range, Bound { rows, bytes }).await;
        assert_eq!(
            seqs_of(&page.expect("a page")),
            seqs,
            "{from:?} {rows} rows {bytes} bytes"
        );
    }
}

pub(crate) async fn pages_cross_logs(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("a").await;
    desk.talk("a", "a", 5).await;
    desk.fork("a", 4, "b").await;
    desk.talk("b", "b", 3).await;
    desk.fork("b", 6, "c").await;
    let tip = desk.talk("c", "c", 3).await.tip.clone();
    let all = desk.entries("c").await;
    assert_eq!(
        desk.ids("c").await,
        ["a0", "a1", "a2", "a3", "b0", "b1", "c0", "c1", "c2"]
    );
    for after in 0..=9 {
        for to in after..=9 {
            for rows in [1, 2, 4, 100] {
                for from in [End::Oldest, End::Newest] {
                    let whole = &all[after..to];
                    let expected = match from {
                        End::Oldest => &whole[..rows.min(whole.len())],
                        End::Newest => &whole[whole.len().saturating_sub(rows)..],
                    };
                    let range = Range {
                        after: Seq(after as u64),
                        to: Seq(to as u64),
                        from,
                    };
                    let bound = Bound { rows, ..ALL };
                    let page = desk.store.entries(&tip.log, range, bound).await.expect("a page");
                    assert_eq!(page, expected, "{range:?} {rows} rows");
                }
            }
        }
    }
}

pub(crate) async fn known_ids_are_not_added_twice(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("a").await;
    desk.talk("a", "a", 4).await;
    desk.fork("a", 3, "b").await;
    desk.append("b", vec![f::event("own")]).await;
    let outcome = |first, last, added| Outcome::Appended {
        session: f::session("b"),
        first: Seq(first),
        last: Seq(last),
        added,
    };
    let other = |id: &str| f::with_body(f::user(id, "other words"), &b"other"[..]);
    let given = vec![other("a1"), other("new"), other("own"), other("new"), other("a3")];
    let committed = desk.done(appending("b", given)).await;
    assert_eq!(
        committed.outcome,
        outcome(2, 6, 2),
        "a3 lies behind the cut: it is new"
    );
    assert_eq!(desk.ids("b").await, ["a0", "a1", "a2", "own", "new", "a3"]);
    let before = desk.session("b").await;
    let committed = desk.done(appending("b", vec![other("a2"), other("own")])).await;
    assert_eq!(committed.outcome, outcome(3, 4, 0));
    assert_eq!(
        desk.session("b").await,
        before,
        "nothing new: nothing changes, not even the etag"
    );
    assert_ne!(
        desk.entries("b").await[1].body,
        &b"other"[..],
        "the first one wins"
    );
    let desk = desk.restarted(backend).await;
    let committed = desk
        .done(appending("b", vec![other("own"), other("newer")]))
        .await;
    assert_eq!(committed.outcome, outcome(4, 7, 1));
}

pub(crate) async fn the_largest_batch(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let batch: Vec<NewEntry> = (0..10_000).map(|at| f::event(&format!("e{at}"))).collect();
    let session = desk.append("s", batch.clone()).await;
    assert_eq!((session.tip.seq(), session.revision), (Seq(10_000), Revision(2)));
    let committed = desk.done(appending("s", batch)).await;
    let outcome = Outcome::Appended {
        session: f::session("s"),
        first: Seq(1),
        last: Seq(10_000),
        added: 0,
    };
    assert_eq!(committed.outcome, outcome);
    let seqs = seqs_of(&desk.entries("s").await);
    assert!(seqs.into_iter().eq(1..=10_000));
    let empty = SessionCommand::Append {
        id: f::session("s"),
        entries: Vec::new(),
        expected: None,
    };
    desk.refused(f::to_session(empty)).await;
}

pub(crate) async fn ends_of_ranges(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let tip = desk.talk("s", "m", 3).await.tip.clone();
    let unknown = Log::root(desk.log());
    for (log, after, to, seqs) in [
        (&*tip.log, 0, u64::MAX, vec![1, 2, 3]),
        (&tip.log, 2, u64::MAX, vec![3]),
        (&tip.log, 3, u64::MAX, vec![]),
        (&tip.log, u64::MAX, u64::MAX, vec![]),
        (&tip.log, 3, 3, vec![]),
        (&tip.log, 3, 1, vec![]),
        (&tip.log, 0, 0, vec![]),
        (&unknown, 0, 9, vec![]),
    ] {
        for from in [End::Oldest, End::Newest] {
            let range = Range {
                after: Seq(after),
                to: Seq(to),
                from,
            };
            let page = desk.store.entries(log, range, ALL).await;
            assert_eq!(seqs_of(&page.expect("a page")), seqs, "{range:?}");
        }
    }
}

fn seqs_of(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.meta.seq.0).collect()
}

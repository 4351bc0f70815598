//! Single entries are found by index, id and place, wherever in the path they lie, and never beyond the
//! end that was asked for.

use std::collections::HashSet;

use crate::domain::fixture as f;
use crate::domain::fork::Count;
use crate::domain::{Entry, Role, Seq, Tip};

use super::Backend;
use super::desk::Desk;

/// Three sessions, each a fork of the one before with messages of every kind after the cut.
async fn family(desk: &Desk) -> Vec<Tip> {
    let mixed = |prefix: &str| {
        let id = |name: &str| format!("{prefix}-{name}");
        vec![
            f::said(&id("system"), Role::System, "rules"),
            f::assistant(&id("greeting")),
            f::user(&id("first"), "first"),
            f::calls(&id("call"), 1),
            f::answers(&id("result"), 1),
            f::in_sub_session(&id("inner"), Role::User, "part"),
            f::event(&id("event")),
            f::user(&id("second"), ""),
            f::checkpoint(&id("checkpoint")),
            f::said(&id("tool"), Role::Tool, "4"),
        ]
    };
    desk.create("a").await;
    let a = desk.append("a", mixed("a")).await;
    desk.fork("a", 7, "b").await;
    let b = desk.append("b", mixed("b")).await;
    desk.fork("b", 12, "c").await;
    let c = desk.append("c", mixed("c")).await;
    desk.append("a", mixed("later")).await;
    vec![a.tip.clone(), b.tip.clone(), c.tip.clone()]
}

pub(crate) async fn every_index_is_found(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for tip in family(&desk).await {
        let entries = desk.entries_to(&tip).await;
        for count in Count::ALL {
            for number in 0..=count.of(&tip.tally) + 1 {
                let naive: Option<&Entry> = entries.iter().find(|entry| count.of(&entry.meta.tally) > number);
                let found = desk
                    .store
                    .seek(&tip, count, number)
                    .await
                    .expect("it can be read");
                assert_eq!(found.as_ref(), naive, "{count:?} {number}");
            }
            let found = desk.store.seek(&tip, count, u64::MAX).await;
            assert_eq!(found.expect("it can be read"), None);
        }
    }
}

pub(crate) async fn ids_are_found_over_paths(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let tips = family(&desk).await;
    let mut every_id = HashSet::new();
    for name in ["a", "b", "c"] {
        every_id.extend(desk.entries(name).await.into_iter().map(|entry| entry.meta.id));
    }
    let nobody = f::entry_id("nobody");
    for tip in &tips {
        let entries = desk.entries_to(tip).await;
        for id in every_id.iter().chain([&nobody]) {
            let naive = entries.iter().find(|entry| entry.meta.id == *id);
            let found = desk.store.entry_by_id(tip, id).await.expect("it can be read");
            assert_eq!(found.as_ref(), naive, "{id}");
        }
        let asked: Vec<_> = every_id.iter().chain([&nobody]).cloned().collect();
        let known = desk
            .store
            .known_entries(tip, &asked)
            .await
            .expect("they can be read");
        let naive: HashSet<_> = entries.into_iter().map(|entry| entry.meta.id).collect();
        assert_eq!(known, naive);
        let none = desk.store.known_entries(tip, &[]).await;
        assert_eq!(none.expect("they can be read"), HashSet::new());
    }
}

pub(crate) async fn metas_over_paths(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for tip in family(&desk).await {
        let entries = desk.entries_to(&tip).await;
        for entry in entries {
            let meta = desk.store.entry_meta(&tip.log, entry.meta.seq).await;
            assert_eq!(meta.expect("it can be read"), Some(entry.meta));
        }
        for seq in [Seq::ZERO, Seq(1_000), Seq(u64::MAX)] {
            let meta = desk.store.entry_meta(&tip.log, seq).await;
            assert_eq!(meta.expect("it can be read"), None, "{seq}");
        }
    }
}

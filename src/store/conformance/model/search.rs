//! The same questions to both stores: whatever was forked, deleted, swept or copied, both find the same.

use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::search::{Query, Within};
use crate::domain::{Entry, Namespace, Role, Session, Time, words};
use crate::store::Store;
use crate::store::conformance::desk::ALL;
use crate::store::conformance::indexing::{indexed, listed};
use crate::store::memory::Memory;

use super::dice::Dice;

const WORDS: [&str; 6] = ["red", "reed", "green", "blue", "日", "本"];

/// The words of a message, and when it was said: whatever they are, every copy has the same.
fn read(entry: &Entry) -> (Time, String) {
    let name = format!(
        "{} {} {}",
        entry.meta.id, entry.meta.seq, entry.meta.create_time.0
    );
    let seed = f::digest(name.as_bytes()).0;
    let mut dice = Dice::new(u64::from_le_bytes(seed[..8].try_into().expect("8 bytes")));
    let words: Vec<&str> = (0..dice.below(6))
        .filter_map(|_| dice.pick(&WORDS).copied())
        .collect();
    let time = f::NEW_YEAR.after(Duration::from_micros(dice.below(1 << 44)));
    (time, words.join(" "))
}

/// Indexes both and asks both.
pub(super) async fn same_answers(
    store: &dyn Store,
    memory: &Memory,
    (ns, dice): (&Namespace, &mut Dice),
    sessions: &[std::sync::Arc<Session>],
    round: usize,
) {
    indexed(store, ALL, read).await;
    indexed(memory, ALL, read).await;
    for _ in 0..6 {
        let query = question(ns, dice, sessions);
        let rows = usize::try_from(dice.below(7)).expect("small") + 1;
        let seen = |hits: Vec<crate::domain::search::Hit>| {
            let seen = hits
                .into_iter()
                .map(|hit| (hit.session, hit.title, hit.entry, hit.time));
            seen.collect::<Vec<_>>()
        };
        let expected = seen(listed(memory, &query, 1_000).await);
        assert_eq!(
            seen(listed(store, &query, rows).await),
            expected,
            "round {round}, {query:?}"
        );
    }
}

fn question(ns: &Namespace, dice: &mut Dice, sessions: &[std::sync::Arc<Session>]) -> Query {
    let text = match dice.below(4) {
        0 => "re*".to_owned(),
        1 => "日本".to_owned(),
        2 => format!("\"{} {}\"", word(dice), word(dice)),
        _ => word(dice).to_owned(),
    };
    let picked = dice.pick(sessions).filter(|_| dice.clone().one_in(3));
    let day = |dice: &mut Dice| {
        let bound = dice.one_in(5).then(|| Duration::from_micros(dice.below(1 << 44)));
        bound.map(|span| f::NEW_YEAR.after(span))
    };
    Query {
        namespace: ns.clone(),
        words: words::Query::parse(&text).expect("valid"),
        session: picked.map(|session| Within {
            id: session.id.clone(),
            title: session.profile.title.clone(),
            tip: session.tip.clone(),
        }),
        workspace: picked
            .is_none()
            .then(|| {
                dice.pick(sessions)
                    .map(|session| session.profile.setting.workspace.clone())
            })
            .flatten()
            .filter(|_| dice.one_in(4)),
        roles: if dice.one_in(4) {
            vec![Role::User]
        } else {
            Vec::new()
        },
        after: day(dice),
        before: day(dice),
    }
}

fn word(dice: &mut Dice) -> &'static str {
    dice.pick(&WORDS).expect("there are some")
}

//! Paths under random appends and forks, against a model that keeps every session as a plain list.

use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// What happens to the sessions, by their numbers: entries are added to one, or one is cut.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append { session: usize, count: u64 },
    Fork { session: usize, cut: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (any::<usize>(), 0_u64..4).prop_map(|(session, count)| Step::Append { session, count });
    let fork = (any::<usize>(), any::<u64>()).prop_map(|(session, cut)| Step::Fork { session, cut });
    prop::collection::vec(prop_oneof![append, fork], 1..40)
}

/// Sessions as tips, what lies in their logs, and the same as lists. An entry is its number.
#[derive(Debug, Default)]
struct World {
    sessions: Vec<(Tip, Vec<u64>)>,
    rows: HashMap<(LogId, Seq), u64>,
    names: u128,
}

fn tally(entries: u64) -> Tally {
    Tally {
        entries,
        ..Tally::default()
    }
}

impl World {
    fn after(steps: Vec<Step>) -> Self {
        let mut world = Self::default();
        let log = Arc::new(Log::root(world.log()));
        world.sessions.push((Tip::start_of(log), Vec::new()));
        steps.into_iter().for_each(|step| world.take(step));
        world
    }

    fn log(&mut self) -> LogId {
        self.names += 1;
        LogId(Uuid::from_u128(self.names))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append { session, count } => {
                let at = session % self.sessions.len();
                let (tip, list) = &mut self.sessions[at];
                for _ in 0..count {
                    let entry = self.rows.len() as u64;
                    tip.tally.entries += 1;
                    self.rows.insert((tip.log.id, tip.seq()), entry);
                    list.push(entry);
                }
            }
            Step::Fork { session, cut } => {
                let name = self.log();
                let (tip, list) = &self.sessions[session % self.sessions.len()];
                let cut = cut % (list.len() as u64 + 1);
                let log = Arc::new(tip.log.child(name, &tally(cut)));
                let kept = list[..usize::try_from(cut).expect("small")].to_vec();
                self.sessions.push((Tip::start_of(log), kept));
            }
        }
    }

    fn read(&self, tip: &Tip, after: u64, to: u64) -> Vec<u64> {
        let spans = tip.log.spans(Seq(after), Seq(to)).into_iter();
        let seqs = spans.flat_map(|span| (span.after.0 + 1..=span.to.0).map(move |seq| (span.log, Seq(seq))));
        seqs.map(|place| self.rows[&place]).collect()
    }
}

fn index(seq: u64) -> usize {
    usize::try_from(seq).expect("small")
}

proptest! {
    #[test]
    fn spans_read_what_the_list_holds(steps in steps()) {
        let world = World::after(steps);
        for (tip, list) in &world.sessions {
            let end = list.len() as u64;
            prop_assert_eq!(tip.seq(), Seq(end));
            for after in 0..=end {
                for to in after..=end {
                    prop_assert_eq!(&world.read(tip, after, to)[..], &list[index(after)..index(to)]);
                }
            }
        }
    }

    #[test]
    fn the_holder_has_the_entry(steps in steps()) {
        let world = World::after(steps);
        for (tip, list) in &world.sessions {
            for (seq, entry) in (1..).map(Seq).zip(list) {
                prop_assert_eq!(world.rows[&(tip.log.holder(seq), seq)], *entry);
            }
        }
    }

    #[test]
    fn common_is_the_longest_common_prefix(steps in steps()) {
        let world = World::after(steps);
        for (a, of_a) in &world.sessions {
            for (b, of_b) in &world.sessions {
                let same = of_a.iter().zip(of_b).take_while(|(x, y)| x == y).count();
                prop_assert_eq!(common(a, b), Seq(same as u64));
            }
        }
    }

    #[test]
    fn a_tip_covers_what_its_list_begins_with(steps in steps()) {
        let world = World::after(steps);
        for (a, of_a) in &world.sessions {
            for (b, of_b) in &world.sessions {
                for seq in 0..=of_b.len() {
                    let begins = of_a.starts_with(&of_b[..seq]);
                    let seq = Seq(seq as u64);
                    prop_assert_eq!(a.covers(b.log.holder(seq), seq), begins);
                }
            }
        }
    }

    #[test]
    fn paths_ascend_and_inherit_the_cut(steps in steps()) {
        let world = World::after(steps);
        for (tip, _) in &world.sessions {
            let log = &tip.log;
            prop_assert_eq!(Path::new(log.path.parts().to_vec()), Some(log.path.clone()));
            prop_assert_eq!(Seq(log.inherited().entries), log.path.end());
            let logs: std::collections::HashSet<LogId> = log.path.parts().iter().map(|part| part.log).collect();
            prop_assert_eq!(logs.len(), log.path.parts().len(), "no log twice");
            prop_assert!(!logs.contains(&log.id));
            prop_assert_eq!(log.strange_parts(log).count(), 0);
        }
    }
}

#[test]
fn paths_that_do_not_ascend_are_none() {
    let part = |log: u128, to: u64| Part {
        log: LogId(Uuid::from_u128(log)),
        to: Seq(to),
        tally: tally(to),
    };
    let off = Part {
        tally: tally(2),
        ..part(1, 3)
    };
    for parts in [
        vec![part(1, 0)],
        vec![part(1, 3), part(2, 3)],
        vec![part(1, 3), part(2, 2)],
        vec![off],
    ] {
        assert_eq!(Path::new(parts.clone()), None, "{parts:?}");
    }
    assert!(Path::new(vec![part(1, 3), part(2, 4)]).is_some());
    assert!(Path::new(Vec::new()).is_some());
}

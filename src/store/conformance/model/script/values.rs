//! Random contents: words, messages, items.

use super::*;

impl Script {
    pub(super) fn words(&mut self) -> String {
        let words = [
            "",
            "alpha",
            "Alpha (fork 2)",
            "été",
            " x\u{0}\n",
            "/w",
            "漢字",
            "beta",
        ];
        (*self.dice.pick(&words).expect("there are some")).to_owned()
    }

    pub(super) fn title(&mut self) -> crate::domain::title::Title {
        let titles = ["alpha", "Alpha", "alpha (fork 3)", "beta", "(fork 2)"];
        f::title(self.dice.pick(&titles).expect("there are some"))
    }

    pub(super) fn labels(&mut self) -> BTreeMap<String, String> {
        let labels = (0..self.dice.below(3)).map(|_| (self.words(), self.words()));
        labels.collect()
    }

    /// An entry whose id may be in the log already, unless it says otherwise.
    pub(super) fn entry(&mut self) -> NewEntry {
        let fresh = self.dice.one_in(3);
        let id = if fresh {
            format!("x{}", self.fresh())
        } else {
            self.dice.name("e", ENTRIES)
        };
        NewEntry {
            id_is_fresh: fresh,
            ..self.said(&id)
        }
    }

    pub(super) fn said(&mut self, id: &str) -> NewEntry {
        let payload = match self.dice.below(8) {
            0 => Payload::Event,
            1 => Payload::Checkpoint,
            _ => Payload::Message(self.message()),
        };
        let body: Vec<u8> = (0..self.dice.below(40)).map(|at| (at * 37 % 251) as u8).collect();
        NewEntry {
            create_time: f::NEW_YEAR.after(Duration::from_nanos(self.dice.below(1 << 60))),
            ..f::with_body(f::entry(id, payload), body)
        }
    }

    pub(super) fn message(&mut self) -> MessageFacts {
        let roles = [Role::User, Role::User, Role::Assistant, Role::System, Role::Tool];
        let role = *self.dice.pick(&roles).expect("there are some");
        let text = self.words();
        let calls = |dice: &mut Dice| (0..dice.below(3)).map(|_| CallKey(dice.below(4))).collect();
        let speaks = self.dice.below(5) > 0;
        let facts = f::facts(role, if speaks { &text } else { "" });
        MessageFacts {
            in_sub_session: self.dice.one_in(6),
            speaks,
            tool_uses: calls(&mut self.dice),
            tool_results: calls(&mut self.dice),
            items: u32::try_from(self.dice.below(4)).expect("small"),
            usage: Usage {
                input_tokens: self.dice.below(u64::MAX),
                cost_micros: self.dice.below(1_000),
                ..Usage::default()
            },
            ..facts
        }
    }

    pub(super) fn thread_change(&mut self) -> thread::Change {
        use thread::State::{Archived, Closed, Open};
        let states = [Open, Open, Open, Closed, Archived];
        thread::Change {
            title: self.maybe(Self::words),
            labels: self.maybe(Self::labels),
            state: self.maybe(|it| *it.dice.pick(&states).expect("there are some")),
            ..thread::Change::default()
        }
    }

    pub(super) fn status(&mut self) -> Status {
        use Status::{Canceled, Completed, Failed, InProgress, Interrupted, Queued};
        let all = [
            Queued,
            InProgress,
            Completed,
            Completed,
            Failed,
            Interrupted,
            Canceled,
        ];
        *self.dice.pick(&all).expect("there are some")
    }

    pub(super) fn item(&mut self) -> NewItem {
        let status = self.status();
        NewItem {
            create_time: self.maybe(|it| Time(i64::try_from(it.dice.below(1_000)).expect("small"))),
            ..f::new_item(&self.dice.name("i", 6), status)
        }
    }
}

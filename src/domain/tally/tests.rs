//! The fold, against counting the whole list again at every cut.

use proptest::prelude::*;

use super::*;
use crate::domain::fixture as f;
use crate::domain::{Entry, LogId, NewEntry};

fn payload() -> impl Strategy<Value = Payload> {
    let role = prop_oneof![
        Just(Role::User),
        Just(Role::Assistant),
        Just(Role::System),
        Just(Role::Tool)
    ];
    let calls = || prop::collection::vec((0_u64..4).prop_map(CallKey), 0..3);
    let usage = (any::<u64>(), 0_u64..1_000).prop_map(|(input_tokens, cost_micros)| Usage {
        input_tokens,
        cost_micros,
        ..Usage::default()
    });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let message = (role, flags, calls(), calls(), 0_u32..4, usage).prop_map(
        |(role, (sub, speaks, text), tool_uses, tool_results, items, usage)| {
            let text = if speaks && text { "words" } else { " " };
            Payload::Message(MessageFacts {
                in_sub_session: sub,
                speaks,
                tool_uses,
                tool_results,
                items,
                usage,
                ..f::facts(role, text)
            })
        },
    );
    prop_oneof![1 => Just(Payload::Event), 1 => Just(Payload::Checkpoint), 8 => message]
}

/// The same by definition, from the whole list.
fn counted(payloads: &[Payload]) -> Tally {
    let messages: Vec<(Seq, &MessageFacts)> = (1..)
        .map(Seq)
        .zip(payloads)
        .filter_map(|(seq, payload)| match payload {
            Payload::Message(facts) => Some((seq, facts)),
            Payload::Checkpoint | Payload::Event => None,
        })
        .collect();
    let count = |keep: &dyn Fn(&MessageFacts) -> bool| {
        messages.iter().filter(|(_, facts)| keep(facts)).count() as u64
    };
    let is_user = |facts: &MessageFacts| facts.role == Role::User && facts.speaks;
    let in_thread = || {
        let main = messages
            .iter()
            .filter(|(_, facts)| !facts.in_sub_session && facts.role != Role::System);
        main.map(|(_, facts)| *facts)
    };
    let leading = in_thread().next().is_some_and(|first| !is_user(first));
    let last = |found: &dyn Fn(&(Seq, &Payload)) -> bool| {
        let found = (1..).map(Seq).zip(payloads).filter(found).last();
        found.map_or(Seq::ZERO, |(seq, _)| seq)
    };
    Tally {
        entries: payloads.len() as u64,
        messages: messages.len() as u64,
        visible: count(&|facts| facts.role != Role::System),
        users: count(&is_user),
        main_users: count(&|facts| is_user(facts) && !facts.in_sub_session),
        items: in_thread().map(|facts| u64::from(facts.items)).sum(),
        turns: in_thread().filter(|facts| is_user(facts)).count() as u64 + u64::from(leading),
        usage: messages
            .iter()
            .fold(Usage::default(), |sum, (_, facts)| sum.plus(facts.usage)),
        checkpoint: last(&|(_, payload)| matches!(payload, Payload::Checkpoint)),
        last_user_text: last(&|(_, payload)| {
            matches!(payload, Payload::Message(facts)
                if is_user(facts) && !facts.in_sub_session && facts.opening.is_some())
        }),
        main: count(&|facts| !facts.in_sub_session),
        last_main: last(&|(_, payload)| matches!(payload, Payload::Message(facts) if !facts.in_sub_session)),
        open_calls: open_calls(&messages),
    }
}

fn open_calls(messages: &[(Seq, &MessageFacts)]) -> Vec<CallKey> {
    let mut open = Vec::new();
    for (_, facts) in messages.iter().filter(|(_, facts)| !facts.in_sub_session) {
        open.extend_from_slice(&facts.tool_uses);
        for result in &facts.tool_results {
            let answered = open.iter().position(|call| call == result);
            answered.map(|at| open.remove(at));
        }
    }
    open
}

proptest! {
    #[test]
    fn the_fold_counts_what_the_list_holds(payloads in prop::collection::vec(payload(), 0..40)) {
        let mut tally = Tally::default();
        for (cut, payload) in payloads.iter().enumerate() {
            prop_assert_eq!(&tally, &counted(&payloads[..cut]));
            tally = tally.with(payload);
        }
        prop_assert_eq!(&tally, &counted(&payloads));
    }

    #[test]
    fn an_entry_carries_the_fold_and_says_what_it_is(payloads in prop::collection::vec(payload(), 1..20)) {
        let log = LogId(uuid::Uuid::from_u128(1));
        let mut before = Tally::default();
        for (at, payload) in payloads.into_iter().enumerate() {
            let new: NewEntry = f::entry(&format!("e{at}"), payload.clone());
            let entry = Entry::following(&before, log, &new);
            prop_assert_eq!(&entry.meta.tally, &before.with(&payload));
            prop_assert_eq!(entry.meta.seq, Seq(at as u64 + 1));
            prop_assert_eq!(&entry.body, &new.body);
            let (mark, after) = (&entry.meta.mark, &entry.meta.tally);
            prop_assert_eq!(mark.is_visible(), after.visible > before.visible);
            prop_assert_eq!(mark.is_user_message(), after.users > before.users);
            prop_assert_eq!(mark.kind == crate::domain::Kind::Message, after.messages > before.messages);
            if after.last_user_text == entry.meta.seq {
                prop_assert!(mark.preview.is_some(), "a cut finds the preview there");
            }
            before = entry.meta.tally;
        }
    }
}

#[test]
fn the_oldest_open_calls_are_abandoned() {
    let call = |key| {
        Payload::Message(MessageFacts {
            tool_uses: vec![CallKey(key)],
            ..f::facts(Role::Assistant, "")
        })
    };
    let most = OPEN_CALLS_MAX as u64;
    let tally = (0..most + 2).fold(Tally::default(), |tally, key| tally.with(&call(key)));
    let expected: Vec<CallKey> = (2..most + 2).map(CallKey).collect();
    assert_eq!(tally.open_calls, expected);
}

#[test]
fn has_user_interaction() {
    let sub = MessageFacts {
        in_sub_session: true,
        ..f::facts(Role::User, "hello")
    };
    let result = MessageFacts {
        speaks: false,
        ..f::facts(Role::User, "")
    };
    for (said, expected) in [
        (vec![], false),
        (vec![f::facts(Role::Assistant, "hello")], false),
        (vec![f::facts(Role::User, "hello")], true),
        (vec![f::facts(Role::User, " \n\t")], false),
        (vec![result], false),
        (vec![sub], false),
        (vec![f::facts(Role::System, "rules")], false),
        (vec![f::facts(Role::User, "hi"), f::facts(Role::User, "")], true),
    ] {
        let tally = said.iter().fold(Tally::default(), |tally, facts| {
            tally.with(&Payload::Message(facts.clone()))
        });
        assert_eq!(tally.has_user_interaction(), expected, "{said:?}");
    }
}

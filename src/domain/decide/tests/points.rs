//! Where a session may be cut: the vectors of the contract.

use crate::domain::fork::{self, Count};
use crate::domain::{Entry, EntryMeta, LogId, NewEntry, Refusal, Role, Tally, fixture as f};

fn stored(entries: &[NewEntry]) -> Vec<EntryMeta> {
    let mut before = Tally::default();
    let store = |new| {
        let entry = Entry::following(&before, LogId(uuid::Uuid::nil()), new);
        before = entry.meta.tally.clone();
        entry.meta
    };
    entries.iter().map(store).collect()
}

/// The id of the message an index names, if a session may be cut before it.
fn cut(log: &[EntryMeta], count: Count, index: i64) -> Result<String, Refusal> {
    let end = log.last().map_or_else(Tally::default, |last| last.tally.clone());
    let number = count.number(index, &end)?;
    let message = log.iter().find(|meta| count.of(&meta.tally) > number);
    let message = message.expect("the count says it is there");
    fork::before(message)?;
    Ok(message.id.to_string())
}

#[test]
fn roles_user_assistant_tool_user_assistant_user() {
    use Role::{Assistant, Tool, User};
    let roles = [User, Assistant, Tool, User, Assistant, User]
        .into_iter()
        .enumerate();
    let mut said: Vec<NewEntry> = roles
        .map(|(at, role)| f::said(&format!("m{at}"), role, "x"))
        .collect();
    let plain = stored(&said);
    // What is not in the visible list does not shift it.
    said.insert(3, f::checkpoint("c"));
    said.insert(0, f::said("system", Role::System, "rules"));
    said.insert(4, f::event("e"));
    for log in [plain, stored(&said)] {
        for (index, user_index) in [(0, 0), (3, 1), (5, 2)] {
            let id = format!("m{index}");
            assert_eq!(cut(&log, Count::Visible, index), Ok(id.clone()));
            assert_eq!(cut(&log, Count::Users, user_index), Ok(id.clone()));
            assert_eq!(cut(&log, Count::MainUsers, user_index), Ok(id));
        }
        for index in [1, 2, 4] {
            assert_eq!(
                cut(&log, Count::Visible, index),
                Err(Refusal::ForkPointNotUserMessage)
            );
        }
        for index in [-1, 6, 99, i64::MIN, i64::MAX] {
            let out = Refusal::ForkPointOutOfRange { count: 6 };
            assert_eq!(cut(&log, Count::Visible, index), Err(out));
        }
        for index in [-1, 3] {
            let out = Refusal::ForkPointOutOfRange { count: 3 };
            assert_eq!(cut(&log, Count::Users, index), Err(out));
        }
    }
    let nothing = Refusal::ForkPointOutOfRange { count: 0 };
    assert_eq!(cut(&[], Count::Visible, 0), Err(nothing));
}

#[test]
fn never_inside_a_sub_agents_part() {
    let log = stored(&[
        f::user("a", "hello"),
        f::in_sub_session("inner", Role::User, "part"),
        f::in_sub_session("inner-answer", Role::Assistant, ""),
        f::user("b", "more"),
    ]);
    assert_eq!(cut(&log, Count::Visible, 1), Err(Refusal::ForkPointInSubSession));
    assert_eq!(
        cut(&log, Count::Users, 1),
        Err(Refusal::ForkPointInSubSession),
        "they are counted"
    );
    assert_eq!(
        cut(&log, Count::MainUsers, 1),
        Ok("b".to_owned()),
        "turns are the main agent's"
    );
    assert_eq!(fork::after(&log[2]), Err(Refusal::ForkPointInSubSession));
}

#[test]
fn a_tool_result_is_no_user_message() {
    let log = stored(&[
        f::user("a", "x"),
        f::calls("b", 1),
        f::answers("c", 1),
        f::assistant("d"),
    ]);
    assert_eq!(
        cut(&log, Count::Visible, 2),
        Err(Refusal::ForkPointNotUserMessage)
    );
    assert_eq!(
        cut(&log, Count::Users, 1),
        Err(Refusal::ForkPointOutOfRange { count: 1 })
    );
}

#[test]
fn through_an_assistant_message_that_leaves_no_call_open() {
    let log = stored(&[
        f::user("a", "x"),
        f::calls("b", 1),
        f::answers("c", 1),
        f::assistant("d"),
        f::calls("e", 2),
        f::assistant("f"),
        f::event("g"),
        f::said("h", Role::Tool, ""),
        f::said("i", Role::System, ""),
        f::checkpoint("j"),
    ]);
    let open = Err(Refusal::ForkPointOpenToolCall);
    let other = Err(Refusal::ForkPointNotAssistantMessage);
    let expected = [
        &other,
        &open,
        &other,
        &Ok(()),
        &open,
        &open,
        &other,
        &other,
        &other,
        &other,
    ];
    for (meta, expected) in log.iter().zip(expected) {
        assert_eq!(fork::after(meta), *expected, "{}", meta.id);
    }
}

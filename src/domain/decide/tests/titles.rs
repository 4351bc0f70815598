//! Titles of sessions: given, derived, never taken back.

use super::world::{World, updating};
use crate::domain::session::Change;
use crate::domain::title::TitleSource;
use crate::domain::{NewEntry, Role, fixture as f};

fn title_after(batches: Vec<Vec<NewEntry>>) -> (String, TitleSource) {
    let mut world = World::new();
    world.create("s", Default::default());
    for batch in batches {
        world.append("s", batch);
    }
    let profile = &world.session("s").profile;
    (profile.title.clone(), profile.title_source)
}

#[test]
fn derived_from_the_first_text_of_a_user() {
    let long = "é".repeat(51);
    for (batches, expected) in [
        (vec![vec![f::user("a", "Line 1\nLine 2")]], "Line 1"),
        (
            vec![vec![f::user("a", &long)]],
            &*format!("{}...", "é".repeat(47)),
        ),
        (vec![vec![f::user("a", "Hi"), f::user("b", "there")]], "Hi"),
        (vec![vec![f::user("a", "Hi")], vec![f::user("b", "there")]], "Hi"),
        (vec![vec![f::assistant("a"), f::user("b", "Hi")]], "Hi"),
        (vec![vec![f::assistant("a")]], "New Session"),
        (vec![vec![f::user("a", " \n ")]], "New Session"),
        (vec![vec![f::said("a", Role::System, "rules")]], "New Session"),
        (vec![vec![f::assistant("a")], vec![f::user("b", "Hi")]], "Hi"),
        (
            vec![
                vec![f::user("a", "<turn_meta>x</turn_meta> ")],
                vec![f::user("b", "Hi")],
            ],
            "Hi",
        ),
        (
            vec![vec![f::in_sub_session("a", Role::User, "part")]],
            "New Session",
        ),
        (
            vec![vec![
                f::in_sub_session("a", Role::User, "part"),
                f::user("b", "Hi"),
            ]],
            "Hi",
        ),
        (vec![vec![f::event("a"), f::checkpoint("b")]], ""),
        (vec![], ""),
    ] {
        let what = format!("{batches:?}");
        let (title, source) = title_after(batches);
        assert_eq!(
            (title.as_str(), source),
            (expected, TitleSource::Derived),
            "{what}"
        );
    }
}

#[test]
fn a_given_one_is_never_overwritten() {
    let mut world = World::new();
    world.titled("s", "New Session");
    world.append("s", vec![f::user("a", "Hi")]);
    let profile = &world.session("s").profile;
    assert_eq!(
        (profile.title.as_str(), profile.title_source),
        ("New Session", TitleSource::User)
    );
    let fork = world.fork("s", 1, "fork").profile.clone();
    assert_eq!(fork.title, "New Session (fork 1)");
    world.append("fork", vec![f::user("b", "there")]);
    assert_eq!(world.session("fork").profile.title, "New Session (fork 1)");
}

#[test]
fn a_cleared_one_is_derived_again() {
    let mut world = World::new();
    world.titled("s", "Given");
    let clear = Change {
        title: Some(None),
        ..Change::default()
    };
    world.done(&updating("s", clear, None));
    assert_eq!(world.session("s").profile.title, "");
    world.append("s", vec![f::user("a", "Hi")]);
    assert_eq!(world.session("s").profile.title, "Hi");
}

#[test]
fn forks_are_numbered_by_their_base() {
    let long = "a".repeat(200);
    let shortened = format!("{} (fork 1)", "a".repeat(191));
    for (siblings, source, expected) in [
        (vec![], "My Session", "My Session (fork 1)"),
        (vec![], "My Session (fork 1)", "My Session (fork 2)"),
        (vec![], "My Session (fork 99)", "My Session (fork 100)"),
        (vec![], "My Session (branched)", "My Session (branched) (fork 1)"),
        (vec![], "My (fork 7) Session", "My (fork 7) Session (fork 1)"),
        (
            vec!["My Session (fork 1)", "My Session (fork 5)"],
            "My Session",
            "My Session (fork 6)",
        ),
        (vec!["X (fork 1)", "X (fork 3)"], "X (fork 2)", "X (fork 4)"),
        (
            vec!["Another (fork 9)", "my session (fork 9)"],
            "My Session",
            "My Session (fork 1)",
        ),
        (vec!["My Session\t(fork 4)"], "My Session", "My Session (fork 5)"),
        (vec!["My Session(fork 4)"], "My Session", "My Session (fork 5)"),
        (vec![], &long, &shortened),
    ] {
        let mut world = World::new();
        for (at, sibling) in siblings.iter().enumerate() {
            world.titled(&format!("s{at}"), sibling);
        }
        world.titled("source", source);
        assert_eq!(
            world.fork("source", 0, "fork").profile.title,
            expected,
            "{source:?} beside {siblings:?}"
        );
    }
}

#[test]
fn no_title_no_fork_title() {
    let mut world = World::new();
    world.create("s", Default::default());
    let fork = world.fork("s", 0, "fork");
    assert_eq!(
        (fork.profile.title.as_str(), fork.profile.title_source),
        ("", TitleSource::Derived)
    );
    world.append("fork", vec![f::user("a", "Hi")]);
    assert_eq!(world.session("fork").profile.title, "Hi");
}

//! Pruning at the door: what goes is what stands as it was found; what would go can be asked without doing it.

use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::limits::PRUNE_MEMBERS_MAX;
use crate::domain::proposal::{Deletion, Found, Prune, SessionCommand, ThreadCommand};
use crate::domain::retention::{Action, Rule};
use crate::domain::session::{Draft, State};
use crate::domain::turn::Status;
use crate::domain::{Namespace, Outcome, Proposal};

use super::Backend;
use super::desk::{Desk, saved};
use super::engines::{attach, claim, detach};
use super::receipts::deleting;

const DELETE: Action = Action::Delete {
    purge_after: Duration::from_secs(3_600),
};

fn rule(action: Action) -> Rule {
    Rule {
        action,
        states: vec![State::Active],
        takes_starred: false,
        before: None,
        arrived_before: None,
    }
}

/// The command that prunes sessions as they stand now.
pub(crate) async fn pruning(desk: &Desk, action: Action, ids: &[&str]) -> Proposal {
    let mut found = Vec::new();
    for id in ids {
        let session = desk.session(id).await;
        let (id, etag) = (session.id.clone(), session.etag());
        found.push(Found { id, etag });
    }
    let rule = rule(action);
    f::to_session(SessionCommand::Prune(Box::new(Prune { rule, found })))
}

fn taken(outcome: Outcome) -> Vec<String> {
    let Outcome::Pruned { sessions, count, .. } = outcome else {
        panic!("not pruned: {outcome:?}")
    };
    assert_eq!(sessions.len() as u64, count);
    let mut ids: Vec<String> = sessions.iter().map(ToString::to_string).collect();
    ids.sort();
    ids
}

pub(crate) async fn takes_families_and_spares_what_is_in_use(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for (id, parent) in [
        ("root", None),
        ("child", Some("root")),
        ("held", None),
        ("part", Some("held")),
    ] {
        let parent = parent.map(f::session);
        let draft = Draft {
            parent,
            ..Draft::default()
        };
        desk.create_as(id, draft).await;
    }
    // A thread that an engine holds is saved to a part.
    desk.create_thread("t").await;
    desk.turn("t", "u", &["i"]).await;
    let save = desk.saving("t", Some("part"), vec![f::user("m", "hello")]).await;
    desk.done(saved(save)).await;
    let epoch = attach(&desk, "e").await;
    claim(&desk, "e", epoch, "t", None).await;
    let desk = desk.restarted(backend).await;
    let all = ["root", "child", "held", "part"];
    let proposal = pruning(&desk, DELETE, &all).await;
    let would = desk
        .store
        .consider(proposal.clone(), desk.now())
        .await
        .expect("told");
    assert_eq!(taken(would), ["child", "root"]);
    for id in all {
        assert_eq!(
            desk.session(id).await.profile.state,
            State::Active,
            "nothing was done"
        );
    }
    assert_eq!(taken(desk.done(proposal).await.outcome), ["child", "root"]);
    assert_eq!(desk.session("child").await.profile.state, State::Deleted);
    detach(&desk, "e", epoch).await;
    let (id, turn, epoch) = (f::thread("t"), f::turn("v"), Some(epoch));
    desk.done(f::to_thread(ThreadCommand::StartTurn { id, turn, epoch }))
        .await;
    let proposal = pruning(&desk, DELETE, &["held"]).await;
    assert_eq!(
        taken(desk.done(proposal.clone()).await.outcome),
        [""; 0],
        "a turn runs"
    );
    let finish = ThreadCommand::FinishTurn {
        id: f::thread("t"),
        turn: f::turn("v"),
        status: Status::Completed,
        usage: None,
        error: String::new(),
        epoch,
    };
    desk.done(f::to_thread(finish)).await;
    assert_eq!(taken(desk.done(proposal).await.outcome), ["held", "part"]);
}

pub(crate) async fn leaves_alone_what_has_changed(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for id in ["a", "b", "c"] {
        desk.create(id).await;
    }
    let proposal = pruning(&desk, Action::Archive, &["a", "b", "c"]).await;
    desk.append("b", vec![f::event("e")]).await;
    desk.done(deleting("c", Deletion::Force)).await;
    assert_eq!(taken(desk.done(proposal.clone()).await.outcome), ["a"]);
    let desk = desk.restarted(backend).await;
    let archived = desk.session("a").await;
    assert_eq!(archived.profile.state, State::Archived);
    assert_eq!(archived.profile.archive_time, Some(archived.update_time));
    assert_eq!(taken(desk.done(proposal).await.outcome), [""; 0]);
}

pub(crate) async fn is_written_down_for_retries(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let sessions: Vec<_> = (0..1_000).map(|at| f::session(&format!("s{at}"))).collect();
    let outcome = Outcome::Pruned {
        sessions: sessions.clone(),
        count: 5_000,
        left: Vec::new(),
    };
    let record = SessionCommand::Pruned {
        sessions,
        count: 5_000,
    };
    let record = f::under("r", "prune", f::to_session(record));
    assert_eq!(desk.done(record.clone()).await.outcome, outcome);
    let desk = desk.restarted(backend).await;
    let again = desk.done(record).await;
    assert_eq!((again.outcome, again.replayed), (outcome, true));
}

pub(crate) async fn knows_the_namespaces(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let ns = |name: &str| Namespace::parse(name).expect("valid");
    for name in ["b", "a", "c", "b"] {
        let command = SessionCommand::Create {
            id: f::session(&format!("s-{}", desk.log())),
            log: desk.log(),
            draft: Box::default(),
        };
        let proposal = Proposal {
            namespace: ns(name),
            ..f::to_session(command)
        };
        desk.done(proposal).await;
    }
    for (after, rows, found) in [
        (None, 9, vec!["a", "b", "c"]),
        (None, 2, vec!["a", "b"]),
        (Some("a"), 9, vec!["b", "c"]),
        (Some("aa"), 1, vec!["b"]),
        (Some("c"), 9, vec![]),
    ] {
        let after = after.map(ns);
        let names = desk.store.namespaces(after.as_ref(), rows).await.expect("listed");
        let names: Vec<_> = names.iter().map(Namespace::as_str).collect();
        assert_eq!(names, found, "{rows} after {after:?}");
    }
}

/// A commit looks at so many sub-sessions, and leaves the rest to the next.
pub(crate) async fn comes_in_bounded_commits(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let roots = ["a", "b", "c"];
    let members = PRUNE_MEMBERS_MAX / 2;
    for root in roots {
        desk.create(root).await;
        for at in 0..members {
            let draft = Draft {
                parent: Some(f::session(root)),
                ..Draft::default()
            };
            desk.create_as(&format!("{root}{at}"), draft).await;
        }
    }
    let proposal = pruning(&desk, DELETE, &roots).await;
    let Outcome::Pruned { count, left, .. } = desk.done(proposal).await.outcome else {
        panic!("not pruned")
    };
    assert_eq!((count, left), (2 * (members as u64 + 1), vec![f::session("c")]));
    assert_eq!(desk.session("c").await.profile.state, State::Active);
    let proposal = pruning(&desk, DELETE, &["c"]).await;
    assert_eq!(taken(desk.done(proposal).await.outcome).len(), members + 1);
}

/// Whatever was found first, a sub-session goes with what it is a part of, and comes back with it.
pub(crate) async fn undoing_it_brings_all_back(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let family = [("root", None), ("part", Some("root")), ("detail", Some("part"))];
    for (id, parent) in family {
        let parent = parent.map(f::session);
        let draft = Draft {
            parent,
            ..Draft::default()
        };
        desk.create_as(id, draft).await;
    }
    let proposal = pruning(&desk, DELETE, &["detail", "part", "root"]).await;
    assert_eq!(
        taken(desk.done(proposal).await.outcome),
        ["detail", "part", "root"]
    );
    let undelete = SessionCommand::Undelete {
        id: f::session("root"),
    };
    desk.done(f::to_session(undelete)).await;
    for (id, _) in family {
        assert_eq!(desk.session(id).await.profile.state, State::Active, "{id}");
    }
}

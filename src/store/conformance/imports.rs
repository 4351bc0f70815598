//! Sessions of a transcript: found by their source, published as a whole, and gone from their source with themselves.

use crate::domain::fixture as f;
use crate::domain::id::Source;
use crate::domain::limits::IMPORT_BRANCHES_MAX;
use crate::domain::outcome::Imports;
use crate::domain::proposal::{
    Deletion, Import, Imported, Place, Restored, SessionCommand, UpkeepCommand, Written,
};
use crate::domain::title::TitleSource;
use crate::domain::{NewEntry, Proposal, Refusal, Session, Tip};
use crate::store::Chore;

use super::Backend;
use super::desk::Desk;

fn source(name: &str) -> Source {
    Source::parse(name, "source").expect("valid")
}

async fn known(desk: &Desk, name: &str) -> Vec<String> {
    let ids = desk.store.imported(&desk.ns, &source(name)).await;
    let ids = ids.expect("they can be read");
    ids.iter().map(ToString::to_string).collect()
}

/// A session of a transcript as a reader computes it.
async fn imported(desk: &Desk, name: &str, place: Place, written: Written) -> Imported {
    let seen = desk.store.imported(&desk.ns, &source(name)).await;
    Imported {
        source: Some(source(name)),
        seen: seen.expect("they can be read"),
        place,
        restored: Restored {
            title: Some(("Told".into(), TitleSource::User)),
            ..Restored::default()
        },
        written,
    }
}

fn inline(desk: &Desk, entries: Vec<NewEntry>) -> Written {
    Written::Inline {
        log: desk.log(),
        entries,
    }
}

fn staged(tip: Tip) -> Written {
    Written::Staged {
        tip,
        preview: None,
        title: None,
    }
}

fn importing(sessions: Vec<Imported>) -> Proposal {
    let sum = Imports {
        added: 7,
        ..Imports::default()
    };
    f::to_session(SessionCommand::Import(Box::new(Import { sessions, sum })))
}

fn new(id: &str) -> Place {
    Place::New { id: f::session(id) }
}

async fn branch(desk: &Desk, session: &Session, cut: u64, id: &str) -> Place {
    Place::Branch {
        session: session.id.clone(),
        log: session.tip.log.id,
        cut: desk.tally(session, cut).await,
        preview: String::new(),
        id: f::session(id),
    }
}

pub(crate) async fn are_found_by_their_source(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let first = imported(&desk, "x", new("b"), inline(&desk, vec![f::user("m", "hi")])).await;
    let second = imported(&desk, "y", new("c"), inline(&desk, vec![])).await;
    desk.done(importing(vec![first, second])).await;
    let other = branch(&desk, &*desk.session("b").await, 0, "a").await;
    let other = imported(&desk, "x", other, inline(&desk, vec![f::user("n", "ho")])).await;
    desk.done(importing(vec![other])).await;
    let desk = desk.restarted(backend).await;
    assert_eq!(known(&desk, "x").await, ["a", "b"]);
    assert_eq!(known(&desk, "y").await, ["c"]);
    assert_eq!(known(&desk, "z").await, Vec::<String>::new());
    assert_eq!(desk.session("b").await.profile.source, Some(source("x")));
    assert_eq!(desk.session("a").await.profile.title, "Told (fork 1)");
    let elsewhere = crate::domain::Namespace::parse("elsewhere").expect("valid");
    let strange = desk.store.imported(&elsewhere, &source("x")).await;
    assert_eq!(strange.expect("they can be read"), []);

    // Softly deleted ones count until they are purged; a fork that is no import does not.
    desk.fork("b", 1, "fork").await;
    let delete = |mode| {
        f::to_session(SessionCommand::Delete {
            id: f::session("b"),
            mode,
            etag: None,
        })
    };
    let purge_after = std::time::Duration::from_secs(1);
    desk.done(delete(Deletion::Soft { purge_after })).await;
    assert_eq!(known(&desk, "x").await, ["a", "b"]);
    desk.done(delete(Deletion::Force)).await;
    assert_eq!(known(&desk, "x").await, ["a"]);
}

pub(crate) async fn are_published_together(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let entries: Vec<_> = (0..25).map(|at| f::user(&format!("m{at}"), "said")).collect();
    let tip = desk.stage(None, &entries, 10).await;
    let few = imported(&desk, "few", new("few"), inline(&desk, vec![f::user("m", "hi")])).await;
    let many = imported(&desk, "many", new("many"), staged(tip.clone())).await;
    let lost = Imported {
        written: staged(Tip::start_of(std::sync::Arc::new(crate::domain::Log::root(
            desk.log(),
        )))),
        ..imported(&desk, "lost", new("lost"), inline(&desk, vec![])).await
    };
    let all = vec![few.clone(), many.clone(), lost];
    assert_eq!(desk.refused(importing(all)).await, Refusal::StagingLost);
    assert_eq!((desk.found("few").await, desk.found("many").await), (None, None));
    desk.done(f::under("r", "call", importing(vec![few, many]))).await;
    assert_eq!(desk.entries("many").await.len(), 25);
    assert_eq!(desk.ids("few").await, ["m"]);

    // What goes on is staged on top of what is there.
    let before = desk.session("many").await;
    let more = [f::user("later", "more"), f::event("e")];
    let place = Place::After {
        session: before.id.clone(),
        from: before.tip.clone(),
    };
    let tip = desk.stage(Some(&before.tip), &more, 1).await;
    let more = imported(&desk, "many", place, staged(tip)).await;
    desk.done(importing(vec![more])).await;
    let desk = desk.restarted(backend).await;
    let after = desk.session("many").await;
    assert_eq!((after.tip.seq().0, after.revision), (27, before.revision.next()));
    assert_eq!(desk.ids("many").await[25..], ["later", "e"]);
    // What is published is not swept; the log it was staged behind is named by its path.
    desk.pass(crate::domain::limits::STAGING_LIFE * 2);
    for chore in desk.chores().await {
        let Chore::Sweep(log) = chore else {
            panic!("{chore:?}")
        };
        desk.done(f::to_upkeep(UpkeepCommand::Sweep { log })).await;
    }
    assert_eq!(desk.entries("many").await.len(), 27);
}

pub(crate) async fn are_compared_again_when_their_source_moved(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let first = imported(&desk, "x", new("a"), inline(&desk, vec![f::user("m", "hi")])).await;
    let late = imported(&desk, "x", new("b"), inline(&desk, vec![])).await;
    desk.done(importing(vec![first])).await;
    let moved = Refusal::Moved {
        session: f::session("b"),
    };
    assert_eq!(desk.refused(importing(vec![late])).await, moved);
    // Two at a time: one of them wins.
    let source = desk.session("a").await;
    let mut rivals = Vec::new();
    for id in ["p", "q"] {
        let place = branch(&desk, &source, 1, id).await;
        rivals.push(imported(&desk, "x", place, inline(&desk, vec![f::user(id, id)])).await);
    }
    let rivals: Vec<_> = rivals
        .into_iter()
        .map(|rival| desk.commit(importing(vec![rival])))
        .collect();
    let won = futures_util::future::join_all(rivals).await;
    assert_eq!(won.iter().filter(|done| done.is_ok()).count(), 1);
    assert_eq!(known(&desk, "x").await.len(), 2);
    for number in known(&desk, "x").await.len()..IMPORT_BRANCHES_MAX {
        let id = format!("z{number}");
        let place = branch(&desk, &source, 0, &id).await;
        let more = imported(&desk, "x", place, inline(&desk, vec![f::event(&id)])).await;
        desk.done(importing(vec![more])).await;
    }
    assert_eq!(known(&desk, "x").await.len(), IMPORT_BRANCHES_MAX);
}

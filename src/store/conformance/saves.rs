//! Saves as rows: what is new is added, inline or from a staged log, to the session the thread knows.

use crate::domain::fixture as f;
use crate::domain::proposal::{Save, Written};
use crate::domain::session::Draft;
use crate::domain::title::TitleSource;
use crate::domain::turn::Status;
use crate::domain::{Log, NewEntry, Outcome, Refusal, Revision, Role, Seq, Tip};

use super::Backend;
use super::desk::{Desk, appending, finishing, saved, starting};

pub(crate) async fn add_what_is_new(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.turn("t", "u1", &["a", "b"]).await;
    let first = desk
        .save("t", vec![f::user("a", "hello"), f::assistant("b")])
        .await;
    let outcome = |message_count, created| Outcome::Saved {
        session: f::session("of-t"),
        message_count,
        created,
    };
    assert_eq!(first.outcome, outcome(2, true));
    let session = first.session.expect("it was made");
    assert_eq!(
        (session.revision, session.profile.thread.clone()),
        (Revision(1), Some(f::thread("t")))
    );
    assert_eq!(
        (session.profile.title.as_str(), session.preview.as_str()),
        ("hello", "hello")
    );
    let desk = desk.restarted(backend).await;
    let thread = desk.thread("t").await;
    assert_eq!(thread.session, Some(f::session("of-t")));
    let mark = thread.mark(&session.id).expect("it was saved");
    assert_eq!(
        (mark.log, mark.seq, mark.messages, mark.item),
        (session.tip.log.id, Seq(2), 2, Seq(2))
    );
    let again = desk.save("t", Vec::new()).await;
    assert_eq!(again.outcome, outcome(2, false));
    assert_eq!(again.session.as_deref(), Some(&*session), "nothing new");
    assert_eq!(desk.thread("t").await, thread);
    desk.turn("t", "u2", &["c"]).await;
    let second = desk.save("t", vec![f::user("c", "more")]).await;
    assert_eq!(second.outcome, outcome(3, false));
    desk.append("of-t", vec![f::event("e")]).await;
    desk.turn("t", "u3", &["d"]).await;
    let third = desk.save("t", vec![f::assistant("d")]).await;
    assert_eq!(third.outcome, outcome(4, false), "events may always be appended");
    assert_eq!(third.session.expect("it is there").revision, Revision(4));
    assert_eq!(desk.ids("of-t").await, ["a", "b", "c", "e", "d"]);
}

pub(crate) async fn staged_ones_are_published(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.turn("t", "u1", &["a"]).await;
    let long = |prefix: &str| -> Vec<NewEntry> {
        (0..2_500)
            .map(|at| f::user(&format!("{prefix}{at}"), ""))
            .collect()
    };
    for (round, prefix) in ["a", "b"].into_iter().enumerate() {
        let (_, from, base) = desk.planned("t", None).await;
        let tip = desk
            .stage(from.as_ref().or(base.as_ref()), &long(prefix), 1_000)
            .await;
        let save = Save {
            written: Written::Staged {
                tip: tip.clone(),
                preview: Some(format!("preview {prefix}")),
                title: Some(format!("title {prefix}")),
            },
            ..desk.saving("t", None, Vec::new()).await
        };
        if round == 0 {
            assert_eq!(desk.found("of-t").await, None, "nobody sees what is staged");
        }
        let committed = desk.done(saved(save)).await;
        let session = committed.session.expect("it was saved");
        assert_eq!((&session.tip, session.profile.title.as_str()), (&tip, "title a"));
        assert_eq!(session.preview, format!("preview {prefix}"));
        assert_eq!(session.revision, Revision(round as u64 + 1));
        let turn = format!("u{}", round + 2);
        desk.turn("t", &turn, &["x", "y"]).await;
    }
    let desk = desk.restarted(backend).await;
    let expected = ["a", "b"]
        .iter()
        .flat_map(|prefix| (0..2_500).map(move |at| format!("{prefix}{at}")));
    assert!(desk.ids("of-t").await.into_iter().eq(expected));
    desk.save("t", vec![f::assistant("inline")]).await;
    desk.append("of-t", vec![f::event("a7"), f::event("event")]).await;
    let ids = desk.ids("of-t").await;
    assert_eq!(
        ids[5_000..],
        ["inline", "event"],
        "a7 is known from the staged log"
    );
}

pub(crate) async fn refuse_what_others_wrote(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for thread in ["t", "other"] {
        desk.create_thread(thread).await;
        desk.turn(thread, "u", &["a"]).await;
    }
    let empty = desk.saving("t", None, Vec::new()).await;
    let refusal = Refusal::ThreadEmpty {
        thread: f::thread("t"),
    };
    assert_eq!(desk.refused(saved(empty)).await, refusal);
    desk.save("t", vec![f::user("a", "hello")]).await;
    let save = Save {
        requested: Some(f::session("of-t")),
        ..desk.saving("other", None, vec![f::assistant("b")]).await
    };
    let owned = Refusal::SessionOwned {
        session: f::session("of-t"),
        owner: f::thread("t"),
    };
    assert_eq!(desk.refused(saved(save)).await, owned);
    let save = desk.saving("t", None, vec![f::assistant("b")]).await;
    desk.append("of-t", vec![f::user("foreign", "words")]).await;
    let diverged = Refusal::SessionDiverged {
        session: f::session("of-t"),
        thread: f::thread("t"),
    };
    assert_eq!(desk.refused(saved(save.clone())).await, diverged);
    let named = desk
        .saving("t", Some("way-out"), vec![f::user("a", "hello")])
        .await;
    desk.done(saved(named)).await;
    assert_eq!(desk.ids("of-t").await, ["a", "foreign"]);
    assert_eq!(desk.ids("way-out").await, ["a"]);
    desk.create("empty").await;
    desk.append("empty", vec![f::event("e")]).await;
    let into = desk
        .saving("other", Some("empty"), vec![f::user("a", "hello")])
        .await;
    desk.done(saved(into)).await;
    assert_eq!(desk.ids("empty").await, ["e", "a"]);
    desk.create("talk").await;
    desk.talk("talk", "m", 2).await;
    let save = Save {
        requested: Some(f::session("talk")),
        ..save
    };
    let diverged = Refusal::SessionDiverged {
        session: f::session("talk"),
        thread: f::thread("t"),
    };
    assert_eq!(desk.refused(saved(save)).await, diverged);
}

pub(crate) async fn refuse_what_has_moved(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.turn("t", "u", &["a"]).await;
    let moved = Refusal::Moved {
        session: f::session("of-t"),
    };
    let first = desk.saving("t", None, vec![f::user("a", "hello")]).await;
    let expecting = Save {
        expected: Some(Revision(1)),
        ..first.clone()
    };
    let missing = Refusal::RevisionMismatch {
        session: f::session("of-t"),
        current: 0,
    };
    assert_eq!(desk.refused(saved(expecting)).await, missing);
    desk.done(saved(first.clone())).await;
    assert_eq!(
        desk.refused(saved(first)).await,
        moved,
        "the thread was saved meanwhile"
    );
    let second = desk.saving("t", None, vec![f::assistant("b")]).await;
    desk.done(starting("t", "v")).await;
    let running = Refusal::TurnInProgress {
        thread: f::thread("t"),
        turn: Some(f::turn("v")),
    };
    assert_eq!(desk.refused(saved(second.clone())).await, running);
    desk.done(finishing("t", "v", Status::Canceled)).await;
    assert_eq!(
        desk.refused(saved(second)).await,
        moved,
        "the thread changed meanwhile"
    );
    let third = desk.saving("t", None, vec![f::assistant("b")]).await;
    desk.append("of-t", vec![f::event("e")]).await;
    assert_eq!(desk.refused(saved(third.clone())).await, moved, "so did the log");
    let fourth = Save {
        from: Some(desk.session("of-t").await.tip.clone()),
        ..third
    };
    for (expected, stale) in [(1, true), (3, true), (2, false)] {
        let save = Save {
            expected: Some(Revision(expected)),
            ..fourth.clone()
        };
        if stale {
            let refusal = Refusal::revision(&f::session("of-t"), Revision(2));
            assert_eq!(desk.refused(saved(save)).await, refusal);
        } else {
            desk.done(saved(save)).await;
        }
    }
    let log = std::sync::Arc::new(Log::root(desk.log()));
    let elsewhere = Save {
        written: Written::Staged {
            tip: Tip::start_of(log),
            preview: None,
            title: None,
        },
        ..desk.saving("t", None, Vec::new()).await
    };
    assert_eq!(desk.refused(saved(elsewhere)).await, Refusal::StagingLost);
    let tip = desk.stage(None, &[f::assistant("wrong")], 1).await;
    let elsewhere = Save {
        written: Written::Staged {
            tip,
            preview: None,
            title: None,
        },
        ..desk.saving("t", None, Vec::new()).await
    };
    assert_eq!(
        desk.refused(saved(elsewhere)).await,
        moved,
        "staged on top of something else"
    );
}

pub(crate) async fn titles(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create_thread("t").await;
    desk.turn("t", "u", &["a"]).await;
    let title = |title: &str| (title.to_owned(), TitleSource::Derived);
    let now = |id: &'static str| {
        let desk = &desk;
        async move {
            let profile = desk.session(id).await.profile.clone();
            (profile.title.clone(), profile.title_source)
        }
    };
    desk.save("t", vec![f::assistant("a")]).await;
    assert_eq!(now("of-t").await, title("New Session"));
    desk.turn("t", "v", &["b"]).await;
    desk.save("t", vec![f::user("b", "\n First line \nsecond")]).await;
    assert_eq!(
        now("of-t").await,
        title("First line"),
        "the first user text that there is"
    );
    desk.turn("t", "w", &["c"]).await;
    let save = Save {
        title: Some(f::title("Given")),
        ..desk.saving("t", None, vec![f::user("c", "later")]).await
    };
    desk.done(saved(save)).await;
    assert_eq!(now("of-t").await, ("Given".to_owned(), TitleSource::User));
    let etag = desk.session("of-t").await.etag();
    let save = Save {
        title: Some(f::title("Again")),
        ..desk.saving("t", None, Vec::new()).await
    };
    let renamed = desk.done(saved(save)).await.session.expect("it is there");
    assert_eq!(
        (renamed.profile.title.as_str(), renamed.revision),
        ("Again", Revision(3))
    );
    assert_ne!(renamed.etag(), etag, "a title is a change of the resource");
    desk.create_as("s", Draft::default()).await;
    desk.done(appending("s", vec![f::said("x", Role::System, "rules")]))
        .await;
    assert_eq!(now("s").await, title("New Session"));
    desk.append("s", vec![f::user("y", "Hi"), f::user("z", "there")])
        .await;
    assert_eq!(now("s").await, title("Hi"));
}

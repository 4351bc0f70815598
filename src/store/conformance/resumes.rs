//! Resumes as rows: all of one comes back, lists page by any filter, and an open one keeps its log.

use bytes::Bytes;

use crate::domain::fixture as f;
use crate::domain::limits::{RESUME_LIFE, STAGING_LIFE};
use crate::domain::proposal::Deletion;
use crate::domain::proposal::{Offer, Open, ResumeCommand, Seat, Seed, SessionCommand, Start, UpkeepCommand};
use crate::domain::query::{Bound, Resumes};
use crate::domain::resume::{Failure, State, Wish};
use crate::domain::{Outcome, Proposal, Resume, Time};
use crate::store::Chore;

use super::Backend;
use super::desk::{ALL, Desk};

fn opening(id: &str, session: &str, wish: Wish) -> Proposal {
    f::to_resume(ResumeCommand::Open(Box::new(Open {
        id: f::resume(id),
        session: f::session(session),
        wish,
        offer: Offer::Some,
        thread: f::thread(&format!("of-{id}")),
    })))
}

async fn open(desk: &Desk, id: &str, session: &str) {
    desk.done(opening(id, session, Wish::default())).await;
}

async fn start(desk: &Desk, id: &str, engine: Option<&str>) {
    let resume = resume(desk, id).await;
    let session = desk.session(resume.session.as_str()).await;
    desk.done(f::to_resume(ResumeCommand::Start(Box::new(Start {
        id: resume.id.clone(),
        engine: engine.map(f::engine),
        source: session.tip.clone(),
        total: session.tip.tally.visible,
        seed: Seed::Fresh,
        attempt: resume.attempt + 1,
        thread: resume.thread.clone(),
    }))))
    .await;
}

async fn cancel(desk: &Desk, id: &str) {
    let id = f::resume(id);
    desk.done(f::to_resume(ResumeCommand::Cancel { id })).await;
}

async fn resume(desk: &Desk, id: &str) -> Resume {
    let resume = desk.store.resume(&desk.ns, &f::resume(id)).await;
    Resume::clone(&resume.expect("it can be read").expect("it is there"))
}

fn every_resume() -> Resumes {
    Resumes {
        namespace: Some(f::namespace()),
        states: Vec::new(),
        session: None,
        thread: None,
        engine: None,
    }
}

/// The names of all that a question finds, `rows` a page.
async fn listed(desk: &Desk, query: &Resumes, rows: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = desk
            .store
            .resumes(query, after.as_ref(), Bound { rows, ..ALL })
            .await;
        let page = page.expect("they can be read");
        names.extend(page.rows.iter().map(|resume| resume.id.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => return names,
        }
    }
}

pub(crate) async fn facts_come_back(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    desk.talk("s", "m", 3).await;
    let wish = Wish {
        model: Some(String::new()),
        mode: Some("plan".to_owned()),
        task_type: None,
        engine: Some(f::engine("e")),
        labels: [("k".to_owned(), "v".to_owned())].into(),
        require_engine: true,
    };
    let committed = desk.done(opening("r", "s", wish.clone())).await;
    assert_eq!(
        committed.outcome,
        Outcome::Resume {
            resume: f::resume("r")
        }
    );
    assert_eq!(
        committed.changes.resumes,
        [committed.resume.expect("it was made")]
    );
    start(&desk, "r", Some("e")).await;
    let started = desk.now();
    let (id, seed, written) = (f::resume("r"), 1, 2);
    let progress = ResumeCommand::Progress { id, seed, written };
    let shown = desk
        .done(f::to_resume(progress))
        .await
        .resume
        .expect("it is there");
    let desk = desk.restarted(backend).await;
    let found = resume(&desk, "r").await;
    assert_eq!(found, *shown);
    assert_eq!(
        (found.wish, found.state, found.seed, found.attempt),
        (wish, State::Seeding, 1, 1)
    );
    assert_eq!(
        (found.written, found.total, found.start_time),
        (2, 3, Some(started))
    );
    assert_eq!(found.source, Some(desk.session("s").await.tip.clone()));
    let other = desk.store.resume(&desk.ns, &f::resume("q")).await;
    assert_eq!(other.expect("it can be read"), None);
}

pub(crate) async fn failures_come_back(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let failures = [
        Failure::EngineLost { engine: None },
        Failure::EngineLost {
            engine: Some(f::engine("e")),
        },
        Failure::Declined(Bytes::from_static(b"\x00\xff")),
        Failure::EngineFault {
            rule: "\u{0}rule".to_owned(),
        },
        Failure::SessionDeleted,
        Failure::Moved,
        Failure::Damaged,
    ];
    for (at, failure) in failures.iter().enumerate() {
        let id = format!("r{at}");
        open(&desk, &id, "s").await;
        let (id, failure) = (f::resume(&id), failure.clone());
        desk.done(f::to_resume(ResumeCommand::Fail { id, failure })).await;
    }
    let desk = desk.restarted(backend).await;
    for (at, failure) in failures.into_iter().enumerate() {
        let found = resume(&desk, &format!("r{at}")).await;
        assert_eq!((found.state, found.failure), (State::Failed, Some(failure)));
    }
}

pub(crate) async fn one_is_open_at_a_time(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    open(&desk, "r", "s").await;
    let desk = desk.restarted(backend).await;
    let joined = desk.done(opening("q", "s", Wish::default())).await;
    assert_eq!(
        joined.outcome,
        Outcome::Resume {
            resume: f::resume("r")
        }
    );
    assert_eq!(joined.changes.resumes, []);
    cancel(&desk, "r").await;
    open(&desk, "q", "s").await;
    assert_eq!(resume(&desk, "q").await.state, State::Queued);
}

pub(crate) async fn pages_and_filters(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    for at in 0..7 {
        let session = format!("s{at}");
        desk.create(&session).await;
        open(&desk, &format!("r{at}"), &session).await;
        if at % 2 == 0 {
            start(&desk, &format!("r{at}"), Some(if at < 3 { "e" } else { "f" })).await;
        }
    }
    cancel(&desk, "r5").await;
    cancel(&desk, "r6").await;
    open(&desk, "r7", "s6").await;
    let desk = desk.restarted(backend).await;
    let all = every_resume();
    let of_engine = Resumes {
        engine: Some(f::engine("e")),
        ..all.clone()
    };
    let of_session = Resumes {
        session: Some(f::session("s6")),
        ..all.clone()
    };
    let of_thread = Resumes {
        thread: Some(f::thread("of-r3")),
        ..all.clone()
    };
    let open = Resumes {
        namespace: None,
        states: vec![State::Queued, State::Seeding],
        ..all.clone()
    };
    let anywhere = Resumes {
        namespace: None,
        ..all.clone()
    };
    let ended_of_f = Resumes {
        states: vec![State::Canceled],
        engine: Some(f::engine("f")),
        ..all.clone()
    };
    let everything = vec!["r7", "r6", "r5", "r4", "r3", "r2", "r1", "r0"];
    for rows in [1, 2, 3, 100] {
        assert_eq!(listed(&desk, &all, rows).await, everything);
        assert_eq!(listed(&desk, &anywhere, rows).await, everything);
        assert_eq!(listed(&desk, &of_engine, rows).await, ["r2", "r0"]);
        assert_eq!(listed(&desk, &of_session, rows).await, ["r7", "r6"]);
        assert_eq!(listed(&desk, &of_thread, rows).await, ["r3"]);
        assert_eq!(
            listed(&desk, &open, rows).await,
            ["r7", "r4", "r3", "r2", "r1", "r0"]
        );
        assert_eq!(listed(&desk, &ended_of_f, rows).await, ["r6"]);
    }
}

pub(crate) async fn an_open_one_keeps_its_log(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let log = desk.talk("s", "m", 2).await.tip.log.id;
    open(&desk, "r", "s").await;
    start(&desk, "r", None).await;
    let source = resume(&desk, "r").await.source.expect("it began");
    let sweep = || f::to_upkeep(UpkeepCommand::Sweep { log });
    // A sweep cannot tell who else names the log while the session does.
    desk.done(sweep()).await;
    assert_eq!(desk.entries_to(&source).await.len(), 2);
    let id = f::session("s");
    let deletion = SessionCommand::Delete {
        id,
        mode: Deletion::Force,
        etag: None,
    };
    let committed = desk.done(f::to_session(deletion)).await;
    assert_eq!(committed.changes.resumes.len(), 1, "the deletion ended it");
    let desk = desk.restarted(backend).await;
    desk.pass(STAGING_LIFE);
    assert!(desk.chores().await.contains(&Chore::Sweep(log)));
    desk.done(sweep()).await;
    desk.done(sweep()).await;
    assert_eq!(desk.entries_to(&source).await, []);
    assert_eq!(
        resume(&desk, "r").await.source,
        None,
        "it is read without its log"
    );
}

pub(crate) async fn ready_seats_the_thread(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    let session = desk.talk("s", "m", 4).await;
    open(&desk, "r", "s").await;
    start(&desk, "r", None).await;
    let seat = Seat {
        id: f::resume("r"),
        epoch: None,
        journal: desk.log(),
        system_prompt: String::new(),
    };
    desk.done(f::to_resume(ResumeCommand::Seat(Box::new(seat)))).await;
    let desk = desk.restarted(backend).await;
    let thread = desk.thread("of-r").await;
    assert_eq!(thread.base.as_ref(), Some(&session.tip));
    assert_eq!(desk.session("s").await.profile.thread, Some(thread.id.clone()));
    let found = resume(&desk, "r").await;
    assert_eq!(
        (found.state, found.written, found.source),
        (State::Ready, found.total, None)
    );
}

pub(crate) async fn old_ones_expire(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    open(&desk, "r", "s").await;
    cancel(&desk, "r").await;
    let ended = desk.now();
    open(&desk, "q", "s").await;
    let due = ended.after(RESUME_LIFE);
    let chores = |now| {
        let store = desk.store.clone();
        async move { store.chores(now, 100).await.expect("they can be read") }
    };
    assert_eq!(chores(due).await, []);
    assert_eq!(chores(Time(due.0 + 1)).await, [Chore::ExpireResumes]);
    for before in [ended, Time(ended.0 + 1)] {
        assert!(listed(&desk, &every_resume(), 10).await.contains(&"r".to_owned()));
        desk.done(f::to_upkeep(UpkeepCommand::ExpireResumes { before }))
            .await;
    }
    assert_eq!(listed(&desk, &every_resume(), 10).await, ["q"], "what runs stays");
    assert_eq!(chores(Time(due.0 + 1)).await, []);
}

//! A refusal has written nothing, whatever it was about.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::path::Tip;
use crate::domain::proposal::{Deletion, Save, SessionCommand, ThreadCommand, UpkeepCommand, Written};
use crate::domain::session::{Change, Draft, Etag};
use crate::domain::turn::Status;
use crate::domain::{Log, Proposal, RequestId, Revision, thread};

use super::Backend;
use super::desk::{Desk, adding, appending, finishing, forked, saved, staging, starting};
use super::picture::{Picture, chores};
use super::receipts::deleting;
use super::sessions::updating;

pub(crate) async fn write_nothing(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    populate(&desk).await;
    let refused = refused(&desk).await;
    let far = desk.now().after(Duration::from_secs(365 * 86_400));
    let names: Vec<RequestId> = (0..refused.len()).map(request).collect();
    let turns = [f::turn("u"), f::turn("v")];
    let picture = |desk: &Desk| {
        let (store, ns) = (desk.store.clone(), desk.ns.clone());
        let (names, turns) = (names.clone(), turns.clone());
        async move {
            let picture = Picture::of(&*store, &ns, &turns, &names).await;
            (picture, chores(&*store, far).await)
        }
    };
    let before = picture(&desk).await;
    for (at, proposal) in refused.into_iter().enumerate() {
        let what = format!("{:?}", proposal.command);
        let named = f::under(request(at).as_str(), "call", proposal);
        desk.refused(named).await;
        assert_eq!(picture(&desk).await, before, "{what}");
    }
    let desk = desk.restarted(backend).await;
    assert_eq!(picture(&desk).await, before);
}

fn request(at: usize) -> RequestId {
    RequestId::parse(&format!("refused-{at}")).expect("valid")
}

async fn populate(desk: &Desk) {
    desk.create("s").await;
    desk.talk("s", "m", 4).await;
    desk.create("deleted").await;
    let soft = Deletion::Soft {
        purge_after: Duration::from_secs(60),
    };
    desk.done(deleting("deleted", soft)).await;
    desk.create_thread("empty").await;
    desk.create_thread("t").await;
    desk.turn("t", "u", &["i"]).await;
    desk.save("t", vec![f::assistant("i")]).await;
    desk.done(starting("t", "v")).await;
    desk.done(adding(
        "t",
        "v",
        vec![
            f::new_item("open", Status::Queued),
            f::new_item("done", Status::Completed),
        ],
    ))
    .await;
    desk.create_thread("other").await;
    desk.turn("other", "u", &["i"]).await;
}

async fn refused(desk: &Desk) -> Vec<Proposal> {
    let stale = Some(Etag("0-0".to_owned()));
    let child = Draft {
        parent: Some(f::session("nobody")),
        ..Draft::default()
    };
    let create = |id: &str, draft: &Draft| {
        f::to_session(SessionCommand::Create {
            id: f::session(id),
            log: desk.log(),
            draft: Box::new(draft.clone()),
        })
    };
    let good = desk.forking("s", 2, "fork").await;
    let mut moved = good.clone();
    moved.source_log = desk.log();
    let mut too_far = good.clone();
    too_far.cut.entries = 5;
    let mut taken = good.clone();
    taken.id = f::session("s");
    let owned = desk.saving("other", None, vec![f::assistant("i")]).await;
    let owned = Save {
        requested: Some(f::session("of-t")),
        ..owned
    };
    let empty = desk.saving("empty", None, Vec::new()).await;
    let stale_save = Save {
        change: 1,
        ..desk.saving("other", None, vec![f::assistant("i")]).await
    };
    let lost = Save {
        written: Written::Staged {
            tip: Tip::start_of(Arc::new(Log::root(desk.log()))),
            preview: None,
            title: None,
        },
        ..desk.saving("other", None, Vec::new()).await
    };
    let (half, _) = staging(&Tip::start_of(Arc::new(Log::root(desk.log()))), &[f::event("e")]);
    let (_, late) = staging(&half, &[f::event("f")]);
    vec![
        create("s", &Draft::default()),
        create("deleted", &Draft::default()),
        create("new", &child),
        updating(
            "s",
            Change {
                starred: Some(true),
                ..Change::default()
            },
            stale.clone(),
        ),
        updating(
            "deleted",
            Change {
                starred: Some(true),
                ..Change::default()
            },
            None,
        ),
        updating("nobody", Change::default(), None),
        appending("nobody", vec![f::event("e")]),
        appending("deleted", vec![f::event("e")]),
        f::to_session(SessionCommand::Append {
            id: f::session("s"),
            entries: vec![f::event("e"), f::user("m0", "")],
            expected: Some(Revision(1)),
        }),
        f::to_session(SessionCommand::Delete {
            id: f::session("s"),
            mode: Deletion::Force,
            etag: stale,
        }),
        deleting(
            "deleted",
            Deletion::Soft {
                purge_after: Duration::ZERO,
            },
        ),
        deleting("nobody", Deletion::Force),
        f::to_session(SessionCommand::Undelete { id: f::session("s") }),
        f::to_session(SessionCommand::Undelete {
            id: f::session("nobody"),
        }),
        forked(moved),
        forked(too_far),
        forked(taken),
        saved(owned),
        saved(empty),
        saved(stale_save),
        saved(lost),
        f::to_upkeep(late),
        f::to_upkeep(UpkeepCommand::Compact {
            session: f::session("s"),
            from: desk.log(),
            to: Arc::new(Log::root(desk.log())),
        }),
        f::to_thread(ThreadCommand::Create {
            id: f::thread("t"),
            journal: desk.log(),
            draft: Box::default(),
            epoch: None,
        }),
        f::to_thread(ThreadCommand::Update {
            id: f::thread("t"),
            change: Box::new(thread::Change {
                title: Some("x".to_owned()),
                ..thread::Change::default()
            }),
            epoch: Some(7),
        }),
        f::to_thread(ThreadCommand::Delete {
            id: f::thread("t"),
            epoch: None,
        }),
        starting("t", "w"),
        starting("other", "u"),
        starting("nobody", "u"),
        adding("t", "u", vec![f::new_item("late", Status::Queued)]),
        adding("t", "nobody", vec![f::new_item("late", Status::Queued)]),
        adding(
            "t",
            "v",
            vec![
                f::new_item("new", Status::Queued),
                f::new_item("done", Status::Queued),
            ],
        ),
        adding("t", "v", Vec::new()),
        finishing("t", "u", Status::Failed),
        finishing("t", "v", Status::Completed),
        finishing("t", "v", Status::InProgress),
    ]
}

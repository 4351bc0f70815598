//! Moving house: what is copied into an empty place is all there, shared as it was, and goes on like its source.

use std::sync::Arc;

use crate::domain::fixture as f;
use crate::domain::limits::RECEIPT_LIFE;
use crate::domain::proposal::{Deletion, EngineCommand, Offer, Open, ResumeCommand, Seed, Start};
use crate::domain::query::Bound;
use crate::domain::resume::Wish;
use crate::domain::turn::Status;
use crate::domain::{Effect, Time, engine};
use crate::store::copy::{Copied, CopyError, copy};
use crate::store::memory::Memory;
use crate::store::survey::{Key, Row, Stretch, Survey, rows};
use crate::store::{Fill, Store};

use super::Backend;
use super::desk::{ALL, Desk, adding, appending, finishing, starting};
use super::picture::Picture;
use super::receipts::deleting;

/// Copies all of a store into another place and opens that.
pub(super) async fn moved(source: &dyn Survey, there: &impl Backend, now: Time) -> Arc<dyn Store> {
    let target = there.fill().await.expect("it is empty");
    whole(source, &*target, now).await.expect("it is copied");
    drop(target);
    there.open().await
}

async fn whole(source: &dyn Survey, target: &dyn Fill, now: Time) -> Result<Copied, CopyError> {
    copy(source, target, now, &mut |_| {}).await
}

/// Every row, read so many at a time.
async fn all_rows(of: &dyn Survey, bound: Bound) -> Vec<Row> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = of.survey(after.as_ref(), bound).await.expect("a page");
        let Stretch { effects, through } = page;
        let Some(through) = through else {
            assert_eq!(effects, [], "no row without a key");
            return all;
        };
        assert!(
            after < Some(through.clone()),
            "{after:?} comes before {through:?}"
        );
        all.extend(rows(effects));
        after = Some(through);
    }
}

/// Something of everything: talk, forks, rewinds, a deletion, an open turn, an engine, a resume, a staged log, receipts.
async fn lived_in(backend: &impl Backend) -> Desk {
    let desk = Desk::at(backend).await;
    desk.create("s").await;
    desk.talk("s", "a", 6).await;
    desk.fork("s", 4, "fork").await;
    desk.talk("fork", "b", 3).await;
    desk.rewind("s", None, 5).await;
    desk.done(f::under(
        "again",
        "content",
        appending("s", vec![f::user("c", "after the rewind")]),
    ))
    .await;
    desk.create("gone").await;
    desk.talk("gone", "g", 2).await;
    let purge_after = RECEIPT_LIFE * 30;
    desk.done(deleting("gone", Deletion::Soft { purge_after })).await;
    desk.create_thread("t").await;
    desk.done(starting("t", "u")).await;
    desk.done(adding(
        "t",
        "u",
        vec![
            f::new_item("i", Status::Completed),
            f::new_item("j", Status::InProgress),
        ],
    ))
    .await;
    let attach = EngineCommand::Attach {
        id: f::engine("e"),
        profile: Box::new(engine::Profile::default()),
    };
    desk.done(f::to_engine(attach)).await;
    let open = Open {
        id: f::resume("r"),
        session: f::session("s"),
        wish: Wish::default(),
        offer: Offer::Some,
        thread: f::thread("of-r"),
    };
    desk.done(f::to_resume(ResumeCommand::Open(Box::new(open)))).await;
    let session = desk.session("s").await;
    let start = Start {
        id: f::resume("r"),
        engine: None,
        source: session.tip.clone(),
        total: session.tip.tally.visible,
        seed: Seed::Fresh,
        attempt: 1,
        thread: f::thread("of-r"),
    };
    desk.done(f::to_resume(ResumeCommand::Start(Box::new(start))))
        .await;
    desk
}

async fn picture(desk: &Desk, store: &dyn Store) -> Picture {
    let mut picture = Picture::of(store, &desk.ns, &[f::turn("u")], &[f::request("again", "").id]).await;
    for engine in &mut picture.engines {
        Arc::make_mut(engine).detach_time = None;
    }
    // Engines that are attached have left in a copy.
    picture.attached.clear();
    picture
}

pub(crate) async fn everything_comes_along(backend: &impl Backend) {
    let desk = lived_in(backend).await;
    let before = picture(&desk, &*desk.store).await;
    let there = backend.another().await;
    let store = moved(&*desk.store, &there, desk.now()).await;
    assert_eq!(picture(&desk, &*store).await, before);
    let memory = Memory::default();
    let copied = whole(&*desk.store, &memory, desk.now())
        .await
        .expect("it is copied");
    assert_eq!(picture(&desk, &memory).await, before);
    assert_eq!(all_rows(&memory, ALL).await, all_rows(&*store, ALL).await);
    assert_eq!(copied.rows["sessions"], 3, "the deleted one, too");
    assert_eq!(copied.rows["past_heads"], 1);
    assert_eq!(copied.rows["items"], 2);
    assert_eq!(copied.rows["receipts"], 1);
    assert_eq!(there.rows().await, backend.rows().await, "no row more, none less");
    there.verify().await;
}

pub(crate) async fn forks_still_share(backend: &impl Backend) {
    let mut desk = lived_in(backend).await;
    let there = backend.another().await;
    desk.store = moved(&*desk.store, &there, desk.now()).await;
    let (session, fork) = (desk.session("s").await, desk.session("fork").await);
    let shared = session.tip.log.path.parts()[0].log;
    assert_eq!(fork.tip.log.path.parts()[0].log, shared, "one log under both");
    let before = there.rows().await;
    let again = desk.fork("s", 4, "again").await;
    assert_eq!(
        there.rows().await - before,
        1 + again.tip.log.path.parts().len() as u64,
        "a log and its path"
    );
    desk.talk("again", "d", 2).await;
    assert_eq!(desk.ids("again").await, ["a0", "a1", "a2", "a3", "d0", "d1"]);
    assert_eq!(desk.ids("s").await, ["a0", "a1", "a2", "a3", "a4", "c"]);
    desk.done(adding("t", "u", vec![f::new_item("j", Status::Completed)]))
        .await;
    desk.done(finishing("t", "u", Status::Completed)).await;
    let done = desk
        .done(f::under(
            "again",
            "content",
            appending("s", vec![f::user("c", "after the rewind")]),
        ))
        .await;
    assert!(done.replayed, "the receipt came along");
    there.verify().await;
}

pub(crate) async fn engines_have_left(backend: &impl Backend) {
    let mut desk = lived_in(backend).await;
    let there = backend.another().await;
    let store = moved(&*desk.store, &there, desk.now()).await;
    let source = desk.store.engine(&desk.ns, &f::engine("e")).await;
    assert!(
        source.expect("read").expect("it is there").is_attached(),
        "the source is as it was"
    );
    let engine = store.engine(&desk.ns, &f::engine("e")).await;
    let engine = engine.expect("read").expect("it is there");
    assert_eq!(engine.detach_time, Some(desk.now()));
    desk.store = store;
    let attach = EngineCommand::Attach {
        id: f::engine("e"),
        profile: Box::new(engine::Profile::default()),
    };
    desk.done(f::to_engine(attach)).await;
    let after = desk.store.engine(&desk.ns, &f::engine("e")).await;
    assert_eq!(
        after.expect("read").expect("it is there").epoch,
        engine.epoch + 1,
        "epochs go on"
    );
}

pub(crate) async fn go_into_an_empty_place_alone(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let there = backend.another().await;
    let other = Desk::at(&there).await;
    other.create("mine").await;
    other.store.close().await;
    drop(other);
    assert!(there.fill().await.is_err(), "somebody lives there");
    let there = Desk::at(&there).await;
    assert_eq!(
        there.session("mine").await.id,
        f::session("mine"),
        "and still does"
    );
    let empty = backend.another().await;
    Desk::at(&empty).await.store.close().await;
    let store = moved(&*desk.store, &empty, desk.now()).await;
    assert!(
        store.namespaces(None, 1).await.expect("a list").is_empty(),
        "nothing into nothing"
    );
}

/// The first page of every table but the last ones, as a copy that is cut off leaves it.
async fn half(source: &dyn Survey, target: &dyn Fill, until: &Key) {
    let page = Bound { rows: 2, ..ALL };
    let mut after = None;
    loop {
        let Stretch { effects, through } = source.survey(after.as_ref(), page).await.expect("a page");
        let through = through.expect("there is more");
        if through > *until {
            return;
        }
        target.adopt(effects, through.clone()).await.expect("it is taken");
        after = Some(through);
    }
}

pub(crate) async fn a_half_is_not_opened_and_goes_on(backend: &impl Backend) {
    let desk = lived_in(backend).await;
    let there = backend.another().await;
    drop(there.fill().await.expect("it is empty"));
    assert!(there.try_open().await.is_err(), "marked before the first page");
    let target = there.fill().await.expect("it is being filled");
    assert_eq!(target.reached().await.expect("read"), None);
    let until = Key::Session(desk.ns.clone(), f::session("gone"));
    half(&*desk.store, &*target, &until).await;
    drop(target);
    assert!(there.try_open().await.is_err(), "half of it is there");
    let target = there.fill().await.expect("it is being filled");
    assert!(
        target.reached().await.expect("read") <= Some(until),
        "a mark that goes with its page"
    );
    let mut brought = 0;
    let copied = copy(&*desk.store, &*target, desk.now(), &mut |progress| {
        brought = progress.rows
    })
    .await;
    let copied = copied.expect("it is brought to its end");
    assert_eq!(brought, copied.rows.values().sum::<u64>());
    drop(target);
    let store = there.open().await;
    assert_eq!(picture(&desk, &*store).await, picture(&desk, &*desk.store).await);
    store.close().await;
    drop(store);
    assert!(there.fill().await.is_err(), "a copy that is whole is not empty");
}

pub(crate) async fn a_source_that_changed_is_noticed(backend: &impl Backend) {
    let desk = lived_in(backend).await;
    let there = backend.another().await;
    let target = there.fill().await.expect("it is empty");
    half(&*desk.store, &*target, &Key::Epoch(desk.ns.clone())).await;
    desk.talk("s", "late", 1).await;
    let failed = whole(&*desk.store, &*target, desk.now()).await;
    assert!(matches!(failed, Err(CopyError::Differs { .. })), "{failed:?}");
    drop(target);
    assert!(there.try_open().await.is_err(), "it is not the same");
}

pub(crate) async fn pages_are_bounded(backend: &impl Backend) {
    let desk = lived_in(backend).await;
    let all = all_rows(&*desk.store, ALL).await;
    let one = Bound { rows: 1, bytes: 0 };
    assert_eq!(all_rows(&*desk.store, one).await, all, "row by row");
    assert_eq!(all_rows(&*desk.store, Bound { rows: 3, ..ALL }).await, all);
    let page = desk.store.survey(None, one).await.expect("a page");
    assert!(
        matches!(page.effects.first(), Some(Effect::OpenLog(_))),
        "logs come first"
    );
    let bytes = Bound { rows: 100, bytes: 1 };
    let after = page.through.expect("a key");
    let entries = all
        .iter()
        .position(|row| matches!(row, Row::Entry(_)))
        .expect("there are some");
    assert!(entries > 1, "{after:?} is not the last log");
    let last_log = desk.store.survey(None, ALL).await.expect("a page").through;
    let page = desk.store.survey(last_log.as_ref(), bytes).await.expect("a page");
    assert_eq!(
        rows(page.effects).len(),
        1,
        "one entry at least, and no more than fit"
    );
}

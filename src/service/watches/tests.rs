//! Watches with a clock of their own: heartbeats, cursors whose log is gone, and logs that upkeep has shortened.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::domain::limits::{PAST_HEAD_LIFE, STAGING_LIFE};
use crate::domain::path::PARTS_SOFT_MAX;
use crate::domain::session::{Draft, Profile};
use crate::domain::{Cursor, Limits, LogId, Refusal, Seq, Session, SessionId, Time, fixture as f, proposal};
use crate::service::history::{Rewind, To};
use crate::service::{Call, Clock, Error, Service, StoreError, TimeOrderedIds};
use crate::store::conformance::desk::starting;
use crate::store::memory::Memory;
use crate::upkeep::Upkeep;

use super::SessionChanges;

#[derive(Debug)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Time {
        Time(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

impl Hands {
    fn pass(&self, span: Duration) {
        let nanos = i64::try_from(span.as_nanos()).unwrap();
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

struct Desk {
    service: Service,
    upkeep: Upkeep,
    clock: Arc<Hands>,
    id: SessionId,
}

/// A session `s` without an entry.
async fn desk() -> Desk {
    let store = Arc::new(Memory::default());
    let clock = Arc::new(Hands(AtomicI64::new(f::NEW_YEAR.0)));
    let ids = Arc::new(TimeOrderedIds);
    let desk = Desk {
        service: Service::new(store.clone(), clock.clone(), ids.clone(), Limits::default()),
        upkeep: Upkeep::new(store, clock.clone(), ids),
        clock,
        id: f::session("s"),
    };
    let id = Some(desk.id.clone());
    desk.service
        .create_session(call(), id, Draft::default())
        .await
        .unwrap();
    desk
}

fn call() -> Call {
    Call {
        namespace: f::namespace(),
        request: None,
    }
}

impl Desk {
    async fn say(&self, name: &str) {
        let entries = vec![f::user(name, "hello")];
        let id = self.id.clone();
        self.service
            .append_entries(call(), id, entries, None)
            .await
            .unwrap();
    }

    async fn rewind(&self, to: To) {
        let rewind = Rewind {
            session: self.id.clone(),
            to,
            expected: None,
        };
        self.service.rewind_session(call(), rewind).await.unwrap();
    }

    async fn watch(&self, cursor: Option<Cursor>) -> Result<SessionChanges, Error> {
        self.service
            .watch_session(&f::namespace(), &self.id, cursor)
            .await
    }

    /// Reads until so many entries were read; where the reader stands then, and how far it was sent back.
    async fn read(&self, watch: &mut SessionChanges, count: usize) -> (Cursor, Vec<Seq>) {
        let (mut read, mut rewound) = (0, Vec::new());
        loop {
            let change = watch.next().await.unwrap().unwrap();
            read += change.entries.len();
            rewound.extend(change.rewound_to);
            if read >= count {
                return (change.cursor, rewound);
            }
        }
    }

    async fn tidy(&self) {
        let done = self.upkeep.round(&CancellationToken::new()).await;
        assert_eq!(done.failures, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silence_is_broken() {
    let desk = desk().await;
    let service = desk.service.clone();
    let ticking = tokio::spawn(async move { service.tick().await });
    let mut watch = desk.watch(None).await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    let start = tokio::time::Instant::now();
    for beat in 1..=3_u32 {
        let heartbeat = watch.next().await.unwrap().unwrap();
        assert_eq!(heartbeat.entries, []);
        assert_eq!(heartbeat.cursor, first.cursor);
        assert_eq!(heartbeat.session, first.session);
        assert!(start.elapsed() <= Duration::from_secs(15) * beat, "{beat}");
        assert!(start.elapsed() > Duration::from_secs(10) * beat, "{beat}");
    }
    ticking.abort();
}

#[tokio::test]
async fn a_cursor_whose_log_is_gone_expires() {
    let desk = desk().await;
    for name in ["a", "b", "c"] {
        desk.say(name).await;
    }
    let mut watch = desk.watch(None).await.unwrap();
    let (cursor, _) = desk.read(&mut watch, 3).await;
    drop(watch);
    desk.rewind(To::Entry(Seq(0))).await;
    let mut watch = desk.watch(Some(cursor)).await.unwrap();
    let change = watch.next().await.unwrap().unwrap();
    assert_eq!(change.rewound_to, Some(Seq(0)), "as long as it is kept");
    desk.clock.pass(PAST_HEAD_LIFE + Duration::from_secs(1));
    desk.tidy().await;
    desk.clock.pass(STAGING_LIFE + Duration::from_secs(1));
    desk.tidy().await;
    match desk.watch(Some(cursor)).await.map(|_| ()) {
        Err(Error::Store(StoreError::Refused(Refusal::CursorExpired))) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_upkeep_copies_is_not_read_twice() {
    let desk = desk().await;
    let mut names = 0..;
    for _ in 0..PARTS_SOFT_MAX + 4 {
        for name in names.by_ref().take(2) {
            desk.say(&format!("m{name}")).await;
        }
        desk.rewind(To::Before(1)).await;
    }
    let count = desk
        .service
        .session(&f::namespace(), &desk.id, None)
        .await
        .unwrap()
        .tip
        .seq()
        .0;
    let mut live = desk.watch(None).await.unwrap();
    let (cursor, _) = desk.read(&mut live, usize::try_from(count).unwrap()).await;
    let before = desk
        .service
        .session(&f::namespace(), &desk.id, None)
        .await
        .unwrap();
    desk.tidy().await;
    let after = desk
        .service
        .session(&f::namespace(), &desk.id, None)
        .await
        .unwrap();
    assert_ne!(before.tip.log.id, after.tip.log.id, "the path was shortened");
    desk.say("next").await;
    let (_, rewound) = desk.read(&mut live, 1).await;
    assert_eq!(rewound, []);
    let mut again = desk.watch(Some(cursor)).await.unwrap();
    let change = again.next().await.unwrap().unwrap();
    assert_eq!((change.rewound_to, change.entries.len()), (None, 1));
}

/// What another replica has committed may be read, and told, before a commit of this one that was made earlier.
#[tokio::test]
async fn what_is_told_late_takes_nobody_back() {
    let desk = desk().await;
    let (service, ns) = (&desk.service, f::namespace());
    let session = async || service.store.session(&ns, &desk.id).await.unwrap().unwrap();
    let mut changes = desk.watch(None).await.unwrap();
    desk.say("a").await;
    let older = session().await;
    desk.say("b").await;
    while changes.next().await.unwrap().unwrap().cursor.seq < Seq(2) {}
    let watchers = &service.live.watchers;
    watchers.tell_session(&older, &[]);
    assert_eq!(
        watchers.session(&ns, &desk.id).known().unwrap().session,
        Some(session().await)
    );
    desk.say("c").await;
    let change = changes.next().await.unwrap().unwrap();
    let entries: Vec<_> = change.entries.iter().map(|entry| entry.meta.seq).collect();
    assert_eq!((change.rewound_to, entries), (None, vec![Seq(3)]));
    // One that was made anew under the name of one that is gone begins at its first generation.
    let profile = Profile {
        create_time: Time(older.profile.create_time.0 + 1),
        ..Profile::clone(&older.profile)
    };
    let anew = Arc::new(Session {
        profile: Arc::new(profile),
        ..Session::clone(&older)
    });
    watchers.tell_session(&anew, &[]);
    let known = watchers.session(&ns, &desk.id).known();
    assert_eq!(known.unwrap().session, Some(anew));
}

#[tokio::test]
async fn a_thread_that_is_told_late_is_no_news() {
    let desk = desk().await;
    let (store, ns, id) = (&desk.service.store, f::namespace(), f::thread("t"));
    let thread = async || store.thread(&ns, &id).await.unwrap().unwrap();
    let now = desk.clock.now();
    let create = proposal::ThreadCommand::Create {
        id: id.clone(),
        journal: LogId(uuid::Uuid::from_u128(77)),
        draft: Box::default(),
        epoch: None,
    };
    store.commit(f::to_thread(create), now).await.unwrap();
    let older = thread().await;
    store.commit(starting("t", "u"), now).await.unwrap();
    let newer = thread().await;
    let watchers = &desk.service.live.watchers;
    let ear = watchers.thread(&ns, &id);
    watchers.tell_thread(&newer);
    watchers.tell_thread(&older);
    assert_eq!(ear.known(), Some(Some(newer)));
}

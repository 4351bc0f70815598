//! A session's facts come back whole; revision and etag say what changed; namespaces do not meet.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::fixture as f;
use crate::domain::proposal::SessionCommand;
use crate::domain::query::Order;
use crate::domain::session::{Archived, Change, Draft, Etag, Setting, State, Texts};
use crate::domain::title::TitleSource;
use crate::domain::{Namespace, Noun, Proposal, Refusal, Revision};

use super::Backend;
use super::desk::{ALL, Desk, appending};
use super::picture::everything;

/// Text that a careless encoding would lose.
fn odd(text: &str) -> String {
    format!(" {text} \u{0}\r\n\t\"'\\%_ é 漢 👩\u{200d}👧 \u{feff}")
}

pub(crate) fn full_draft(parent: Option<&str>) -> Draft {
    Draft {
        title: Some(f::title("A title")),
        setting: Setting {
            workspace: odd("/w"),
            provider: odd("p"),
            endpoint: odd("e"),
            model: odd("m"),
            mode: odd("mode"),
            task_type: odd("task"),
        },
        labels: BTreeMap::from([
            (odd("key"), odd("value")),
            ("k".to_owned(), String::new()),
            (String::new(), "v".to_owned()),
        ]),
        texts: Texts {
            system_prompt: odd("prompt"),
            settings_json: "{\"a\" :1e400}".to_owned(),
            metadata_json: odd("metadata"),
        },
        starred: true,
        archived: Archived::Yes,
        parent: parent.map(f::session),
    }
}

pub(crate) async fn facts_come_back(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    desk.create("parent").await;
    let made = desk.create_as("s", full_draft(Some("parent"))).await;
    let draft = full_draft(Some("parent"));
    let profile = &made.profile;
    assert_eq!(
        (&profile.setting, &profile.labels),
        (&draft.setting, &draft.labels)
    );
    assert_eq!((&*profile.texts, &profile.parent), (&draft.texts, &draft.parent));
    assert_eq!(
        (profile.state, profile.archive_time),
        (State::Archived, Some(made.update_time))
    );
    assert_eq!(
        (profile.title.as_str(), profile.title_source),
        ("A title", TitleSource::User)
    );
    assert_eq!(desk.session("s").await, made);
    let forked = desk.fork("s", 0, "fork").await;
    let change = Change {
        title: Some(Some(f::title("Another"))),
        labels: Some(BTreeMap::new()),
        starred: Some(false),
        workspace: Some(String::new()),
        metadata_json: Some("{}".to_owned()),
        archived: Some(Archived::No),
        ..Change::default()
    };
    let changed = desk.done(updating("s", change, None)).await;
    let changed = changed.session.expect("it was changed");
    assert_eq!(desk.session("s").await, changed);
    assert_eq!(
        changed.profile.setting.provider,
        odd("p"),
        "what is not set stays"
    );
    desk.append("s", vec![f::user("u", "hello")]).await;
    let appended = desk.session("s").await;
    assert_eq!(
        appended.profile, changed.profile,
        "an append leaves the profile alone"
    );
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.session("s").await, appended);
    assert_eq!(desk.session("fork").await, forked);
}

pub(crate) async fn etag_and_revision(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let made = desk.create("s").await;
    assert_eq!(made.revision, Revision(1));
    let starred = || Change {
        starred: Some(true),
        ..Change::default()
    };
    let changed = desk.done(updating("s", starred(), Some(made.etag()))).await;
    let changed = changed.session.expect("it was changed");
    assert_eq!(changed.revision, Revision(1), "facts are not the log");
    assert_ne!(changed.etag(), made.etag());
    let stale = Change {
        starred: Some(false),
        ..Change::default()
    };
    let refusal = desk
        .refused(updating("s", stale.clone(), Some(made.etag())))
        .await;
    let mismatch = Refusal::EtagMismatch {
        session: f::session("s"),
        current: changed.etag(),
    };
    assert_eq!(refusal, mismatch);
    let same = desk.done(updating("s", starred(), None)).await;
    assert_eq!(
        same.session.expect("it is there"),
        changed,
        "nothing set, nothing changed"
    );
    let appended = desk.append("s", vec![f::event("e")]).await;
    assert_eq!(appended.revision, Revision(2));
    assert_ne!(appended.etag(), changed.etag());
    desk.refused(updating("s", stale, Some(changed.etag()))).await;
    let desk = desk.restarted(backend).await;
    assert_eq!(desk.session("s").await.etag(), appended.etag());
    let append = |revision| SessionCommand::Append {
        id: f::session("s"),
        entries: vec![f::event("e2")],
        expected: Some(Revision(revision)),
    };
    for stale in [1, 3] {
        let refusal = desk.refused(f::to_session(append(stale))).await;
        assert_eq!(refusal, Refusal::revision(&f::session("s"), Revision(2)));
    }
    desk.done(f::to_session(append(2))).await;
}

pub(crate) async fn namespaces_are_apart(backend: &impl Backend) {
    let desk = Desk::at(backend).await;
    let others = ["a", "a.b", "a-b", &"z".repeat(63)].map(|ns| Namespace::parse(ns).expect("valid"));
    desk.create_as("s", full_draft(None)).await;
    desk.talk("s", "here", 3).await;
    for ns in &others {
        let elsewhere = |proposal: Proposal| Proposal {
            namespace: ns.clone(),
            ..proposal
        };
        let refusal = desk.refused(elsewhere(appending("s", vec![f::event("e")]))).await;
        let missing = Refusal::NotFound {
            noun: Noun::Session,
            id: "s".to_owned(),
        };
        assert_eq!(refusal, missing);
        let create = SessionCommand::Create {
            id: f::session("s"),
            log: desk.log(),
            draft: Box::new(Draft::default()),
        };
        desk.done(elsewhere(f::to_session(create))).await;
        desk.done(elsewhere(appending("s", vec![f::event("here0")])))
            .await;
    }
    desk.pass(Duration::from_secs(1));
    assert_eq!(desk.ids("s").await, ["here0", "here1", "here2"]);
    for ns in &others {
        let page = desk
            .store
            .sessions(&everything(ns, Order::default()), None, ALL)
            .await;
        let page = page.expect("a list");
        assert_eq!(page.rows.len(), 1, "{ns}");
        assert_eq!(page.rows[0].tip.tally.entries, 1);
    }
}

pub(crate) fn updating(id: &str, change: Change, etag: Option<Etag>) -> Proposal {
    f::to_session(SessionCommand::Update {
        id: f::session(id),
        change: Box::new(change),
        etag,
    })
}

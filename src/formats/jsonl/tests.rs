//! What is written is read back, and what cannot be read is said.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::entry::EntryMeta;
use crate::domain::fixture as f;
use crate::domain::proposal::Used;
use crate::domain::session::{Origin, Profile, Setting, State, Texts};
use crate::domain::title::TitleSource;
use crate::domain::{Digest, Log, LogId, Mark, Revision, Tally, Tip, Usage};
use crate::pb;

fn session(profile: Profile) -> Session {
    let log = Arc::new(Log::root(LogId(uuid::Uuid::nil())));
    Session {
        namespace: f::namespace(),
        id: f::session("s"),
        profile: Arc::new(profile),
        tip: Tip {
            log,
            tally: Tally::default(),
        },
        revision: Revision(7),
        preview: "p".into(),
        generation: 9,
        update_time: Time(-1),
    }
}

fn profile() -> Profile {
    Profile {
        title: "t".into(),
        title_source: TitleSource::Engine,
        setting: Setting {
            workspace: "/w".into(),
            provider: "p".into(),
            endpoint: "e".into(),
            model: "m".into(),
            mode: "o".into(),
            task_type: "k".into(),
        },
        labels: [("a".to_owned(), "b".to_owned())].into(),
        texts: Arc::new(Texts {
            system_prompt: "\u{0}\n".into(),
            settings_json: " [1e400] ".into(),
            metadata_json: "{}".into(),
        }),
        state: State::Archived,
        starred: true,
        thread: Some(f::thread("hidden")),
        origin: Some(Origin {
            session: f::session("o"),
            entry_seq: 3,
            message_count: 2,
            root: f::session("r"),
            depth: 4,
        }),
        parent: Some(f::session("above")),
        source: None,
        usage_total: Some(Usage {
            input_tokens: u64::MAX,
            ..Usage::default()
        }),
        inherited_cost_micros: 0,
        incomplete_turn: true,
        create_time: Time(1_700_000_000_123_456_789),
        archive_time: Some(Time(5)),
        arrival: None,
        deletion: None,
    }
}

fn head(line: &[u8]) -> Head {
    match read(line, Time(0), &Limits::default()) {
        Ok(Read::Session(head)) => *head,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_header_has_every_fact_and_nothing_of_its_place() {
    let session = session(profile());
    let line = header(&session, Secrets::Kept);
    let text = String::from_utf8(line.clone()).unwrap();
    for of_its_place in ["namespace", "revision", "etag", "thread", "hidden", "redacted"] {
        assert!(!text.contains(of_its_place), "{of_its_place}: {text}");
    }
    let Head {
        id,
        restored,
        entries,
        problems,
    } = head(&line);
    let profile = profile();
    assert_eq!(
        (id, entries, problems),
        (Some(session.id.clone()), Some(0), vec![])
    );
    let expected = Restored {
        title: Some((profile.title, profile.title_source)),
        setting: profile.setting,
        labels: profile.labels,
        texts: profile.texts,
        starred: true,
        archive_time: profile.archive_time,
        origin: profile.origin,
        parent: profile.parent,
        usage: profile.usage_total.map(Used::Told),
        incomplete_turn: true,
        create_time: Some(profile.create_time),
        update_time: Some(session.update_time),
    };
    assert_eq!(restored, expected);
}

#[test]
fn a_header_may_say_little() {
    let Head {
        id,
        restored,
        entries,
        problems,
    } = head(br#"{"format":"sessiond","version":1,"session":{}}"#);
    assert_eq!(
        (id, restored, entries, problems),
        (None, Restored::default(), None, vec![])
    );
    let archived = head(br#"{"format":"sessiond","version":1,"session":{"state":"ARCHIVED","later":[1]}}"#);
    assert_eq!(archived.restored.archive_time, Some(Time(0)));
    let own =
        head(br#"{"format":"sessiond","version":1,"session":{"session_id":"a","parent_session_id":"a"}}"#);
    assert_eq!((own.restored.parent, own.problems.len()), (None, 1));
}

#[test]
fn a_fact_of_the_wrong_kind_is_left_out_alone() {
    let head = head(
        br#"{"format":"sessiond","version":1,"session":{"session_id":"s","workspace":null,"labels":null,
            "title":"kept","provider":["secret"],"create_time":5,"usage":{"input_tokens":-1},
            "entry_count":-1,"message_count":-1,"preview":7,"starred":"yes","model":"m"}}"#,
    );
    let (restored, problems) = (head.restored, head.problems);
    assert_eq!(head.id, Some(f::session("s")));
    assert_eq!(restored.title, Some(("kept".into(), TitleSource::Derived)));
    assert_eq!(restored.setting.model, "m");
    let wrong = ["usage", "provider", "starred", "create_time"];
    let wrong = wrong.map(|field| format!("session.{field}: has a value of the wrong kind"));
    assert_eq!((problems, head.entries), (wrong.to_vec(), None));
}

#[test]
fn a_header_that_cannot_be_read_is_told_from_an_entry() {
    let unread = |line: &str| read(line.as_bytes(), Time(0), &Limits::default()).expect_err(line);
    for line in [
        r#"{"format":"sessiond","version":"1","session":{}}"#,
        r#"{"format":"sessiond","version":99,"session":{}}"#,
        r#"{"format":"sessiond","version":1,"session":{"session_id":"s","#,
        r#"{"version":-1,"session":{}}"#,
        r#"{"format":7}"#,
    ] {
        assert!(matches!(unread(line), Unread::Header(_)), "{line}");
    }
    for line in [r#"{"seq":"two"}"#, "{}", r#"{"kind":"event","body":5}"#] {
        assert!(matches!(unread(line), Unread::Entry(_)), "{line}");
    }
    for line in ["x", r#"{"seq":1,"#, "[1]", "\u{feff}{}"] {
        assert!(matches!(unread(line), Unread::Line(_)), "{line}");
    }
}

#[test]
fn what_is_no_line_is_said_without_its_words() {
    for (line, reason) in [
        ("secret", "is not JSON, at column 1"),
        ("{\"seq\":1", "ends in the middle, at column 8"),
        ("[1]", "has a value of the wrong kind"),
        (r#"{"seq":"secret"}"#, "has a value of the wrong kind"),
        ("{}", "kind: must be message, checkpoint or event"),
        (r#"{"kind":"event"}"#, "body: is missing"),
        (r#"{"kind":"event","body":"?"}"#, "body: is not base64"),
        (
            r#"{"kind":"event","body":"","entry_id":"a/b"}"#,
            "entry_id: an id matches",
        ),
        (
            r#"{"kind":"event","body":"","create_time":"secret"}"#,
            "create_time: is not a time",
        ),
        (
            r#"{"format":"other","version":1,"session":{}}"#,
            "format: must be",
        ),
        (r#"{"format":"sessiond","session":{}}"#, "version: is missing"),
        (
            r#"{"format":"sessiond","version":2,"session":{}}"#,
            "version: 2 is not known",
        ),
        (r#"{"format":"sessiond","version":1}"#, "session: is missing"),
        (
            r#"{"format":"sessiond","version":1,"session":["secret"]}"#,
            "session: has a value of the wrong kind",
        ),
    ] {
        let found = read(line.as_bytes(), Time(0), &Limits::default()).expect_err(line);
        let found = found.reason();
        assert!(found.starts_with(reason), "{line}: {found}");
        assert!(!found.contains("secret"), "{found}");
    }
}

#[test]
fn the_readable_form_goes_where_a_line_becomes_too_long() {
    let body = pb::Event {
        data_json: "[1e400]".into(),
        ..pb::Event::default()
    };
    let entry = stored(Kind::Event, prost::Message::encode_to_vec(&body).into(), Time(1));
    let (mut whole, mut short) = (Vec::new(), Vec::new());
    super::entry(&entry, 1 << 20, &mut whole);
    super::entry(&entry, 530, &mut short);
    let (whole, short) = (
        String::from_utf8(whole).unwrap(),
        String::from_utf8(short).unwrap(),
    );
    assert!(whole.contains(r#","event":{"data_json":"[1e400]"}}"#), "{whole}");
    assert!(!short.contains("data_json"), "{short}");
}

fn stored(kind: Kind, body: Bytes, create_time: Time) -> Entry {
    Entry {
        meta: EntryMeta {
            log: LogId(uuid::Uuid::nil()),
            seq: Seq(3),
            id: f::entry_id("e"),
            create_time,
            mark: Mark {
                kind,
                role: None,
                in_sub_session: false,
                speaks: false,
                preview: None,
            },
            tally: Tally::default(),
            digest: Digest([0; 16]),
        },
        body,
    }
}

proptest! {
    #[test]
    fn entries_come_back(
        body in prop::collection::vec(any::<u8>(), 0..200),
        time in -9_000_000_000_000_000_000_i64..9_000_000_000_000_000_000,
        kind in prop::sample::select(vec![Kind::Message, Kind::Checkpoint, Kind::Event]),
    ) {
        let entry = stored(kind, body.into(), Time(time));
        let mut line = Vec::new();
        super::entry(&entry, 1 << 20, &mut line);
        prop_assert_eq!(line.pop(), Some(b'\n'));
        prop_assert!(!line.contains(&b'\n'));
        let Ok(Read::Entry(EntryRead { seq, given })) = read(&line, Time(0), &Limits::default()) else {
            panic!("{line:?}")
        };
        prop_assert_eq!(seq, Some(Seq(3)));
        prop_assert_eq!(given.id, Some(entry.meta.id));
        prop_assert_eq!(given.create_time, Some(Time(time)));
        prop_assert_eq!((given.kind, given.body), (kind, entry.body));
    }

    #[test]
    fn no_line_is_too_strange(line in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = read(&line, Time(0), &Limits::default());
    }
}

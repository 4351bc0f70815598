//! Pages of seeded threads, over the memory store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::*;
use crate::body::{Given, entry};
use crate::domain::fixture as f;
use crate::domain::proposal::{Offer, Open, ResumeCommand, Seat, Seed, Start};
use crate::domain::resume::Wish;
use crate::domain::session::Draft;
use crate::domain::turn::ItemKind;
use crate::domain::{Command, Kind, Limits, NewEntry, ResumeId, Session, SessionId, Time, Usage};
use crate::pb;
use crate::pb::content_block::Block;
use crate::service::entries::{Read, View};
use crate::service::saves::Save;
use crate::service::{Call, Clock, Ids};
use crate::store::memory::Memory;

const ALL: Bound = Bound {
    rows: 500,
    bytes: 1 << 21,
};

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        f::NEW_YEAR
    }
}

#[derive(Debug, Default)]
struct Numbered(AtomicU64);

impl Ids for Numbered {
    fn fresh(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

fn service() -> Service {
    let store = Arc::new(Memory::default());
    Service::new(
        store,
        Arc::new(Still),
        Arc::new(Numbered::default()),
        Limits::default(),
    )
}

fn call() -> Call {
    Call {
        namespace: f::namespace(),
        request: None,
    }
}

fn said(role: pb::Role, blocks: Vec<Block>) -> pb::Message {
    let block = |block| pb::ContentBlock {
        block: Some(block),
        ..Default::default()
    };
    pb::Message {
        role: role.into(),
        content: blocks.into_iter().map(block).collect(),
        ..Default::default()
    }
}

fn text(text: &str) -> Block {
    Block::Text(pb::TextBlock { text: text.into() })
}

fn tool_use() -> Block {
    Block::ToolUse(pb::ToolUseBlock {
        tool_use_id: "c".into(),
        ..Default::default()
    })
}

fn tool_result() -> Block {
    Block::ToolResult(pb::ToolResultBlock {
        tool_use_id: "c".into(),
        ..Default::default()
    })
}

/// The entry of a message, said so many seconds after the epoch.
fn message(id: &str, at: i64, message: pb::Message) -> NewEntry {
    let message = pb::Message {
        message_id: id.into(),
        create_time: Some(prost_types::Timestamp {
            seconds: at,
            nanos: 0,
        }),
        ..message
    };
    let given = Given {
        id: None,
        create_time: None,
        kind: Kind::Message,
        body: message.encode_to_vec().into(),
    };
    entry(given, Uuid::nil, f::NEW_YEAR, &Limits::default()).expect("valid")
}

/// The thread that a session of these entries is seeded into, in the service's own journal.
async fn seeded(service: &Service, entries: Vec<NewEntry>) -> ThreadId {
    let id = f::session("s");
    service
        .create_session(call(), Some(id.clone()), Draft::default())
        .await
        .expect("made");
    service
        .append_entries(call(), id.clone(), entries, None)
        .await
        .expect("written");
    let thread = f::thread("t");
    resume(service, &id, &thread).await;
    thread
}

async fn resume(service: &Service, session: &SessionId, thread: &ThreadId) {
    let id = ResumeId::parse("r", "resume_id").expect("an id");
    let session = service.found(&f::namespace(), session).await.expect("there");
    let open = Open {
        id: id.clone(),
        session: session.id.clone(),
        wish: Wish::default(),
        offer: Offer::Some,
        thread: thread.clone(),
    };
    let start = Start {
        id: id.clone(),
        engine: None,
        source: session.tip.clone(),
        total: session.tip.tally.visible,
        attempt: 1,
        seed: Seed::Fresh,
        thread: thread.clone(),
    };
    let seat = Seat {
        id,
        epoch: None,
        journal: LogId(service.fresh_id()),
        system_prompt: String::new(),
    };
    for command in [
        ResumeCommand::Open(Box::new(open)),
        ResumeCommand::Start(Box::new(start)),
        ResumeCommand::Seat(Box::new(seat)),
    ] {
        service
            .commit(call(), Command::Resume(command))
            .await
            .expect("taken");
    }
}

async fn page(
    service: &Service,
    thread: &ThreadId,
    turn: Option<&str>,
    after: u64,
    rows: usize,
) -> Result<ItemsPage, Error> {
    let turn = turn.map(f::turn);
    let bound = Bound { rows, ..ALL };
    service
        .list_items(&f::namespace(), thread, turn, Some(Seq(after)), bound)
        .await
}

/// Every item in pages of so many rows, with the turns of each page.
async fn pages(
    service: &Service,
    thread: &ThreadId,
    turn: Option<&str>,
    rows: usize,
) -> (Vec<Item>, Vec<Turn>) {
    let (mut items, mut turns): (Vec<Item>, Vec<Turn>) = (Vec::new(), Vec::new());
    let mut after = 0;
    loop {
        let page = page(service, thread, turn, after, rows).await.expect("a page");
        assert!(page.items.len() <= rows);
        items.extend(page.items);
        for turn in page.turns {
            match turns.iter().find(|known| known.id == turn.id) {
                Some(known) => assert_eq!(*known, turn, "the same on every page"),
                None => turns.push(turn),
            }
        }
        match page.next {
            Some(next) => {
                assert!(next.0 > after, "a page goes on");
                after = next.0;
            }
            None => return (items, turns),
        }
    }
}

fn shape(items: &[Item]) -> Vec<(u64, &str, &str, ItemKind)> {
    let shape = items.iter().map(|item| {
        let (id, turn) = (item.id.as_str(), item.turn.as_str());
        (item.seq.0, id, turn, item.kind)
    });
    shape.collect()
}

/// The vector "seeding items", and a question after it.
fn tool_turn() -> Vec<NewEntry> {
    use pb::Role::{Assistant, System, User};
    let answer = pb::Message {
        usage: Some(pb::Usage {
            output_tokens: 5,
            ..Default::default()
        }),
        ..said(Assistant, vec![text("It is 4.")])
    };
    vec![
        message("rules", 1, said(System, vec![text("Be brief.")])),
        message("ask", 2, said(User, vec![text("2 + 2?")])),
        message("use", 3, said(Assistant, vec![tool_use()])),
        message("got", 4, said(User, vec![tool_result()])),
        message("answer", 5, answer),
    ]
}

async fn read(service: &Service, session: &Session) -> Vec<Bytes> {
    let read = Read {
        view: View::Visible,
        from: 0,
        limit: None,
        revision: None,
    };
    let messages = service
        .messages(&f::namespace(), &session.id, read)
        .await
        .expect("read");
    messages.try_concat().await.expect("read")
}

#[tokio::test]
async fn a_seeded_thread_lists_its_messages_as_items() {
    let service = service();
    let thread = seeded(&service, tool_turn()).await;
    let facts = service.thread(&f::namespace(), &thread).await.expect("there");
    assert_eq!((facts.turns, facts.items), (1, 4));
    let (items, turns) = pages(&service, &thread, None, 50).await;
    assert_eq!(
        shape(&items),
        [
            (1, "ask", "ask", ItemKind::UserMessage),
            (2, "use", "ask", ItemKind::ToolCall),
            (3, "got", "ask", ItemKind::ToolResult),
            (4, "answer", "ask", ItemKind::AgentMessage),
        ]
    );
    let [turn] = &turns[..] else { panic!("{turns:?}") };
    let second = |seconds: i64| Time(seconds * 1_000_000_000);
    assert_eq!((turn.status, turn.number), (Status::Completed, 1));
    assert_eq!((turn.start_time, turn.end_time), (second(2), Some(second(5))));
    let usage = Usage {
        output_tokens: 5,
        ..Usage::default()
    };
    assert_eq!(turn.usage, Some(usage));
    for rows in 1..6 {
        assert_eq!(
            pages(&service, &thread, None, rows).await,
            (items.clone(), turns.clone())
        );
        let of_turn = pages(&service, &thread, Some("ask"), rows).await;
        assert_eq!(of_turn, (items.clone(), turns.clone()));
    }
}

#[tokio::test]
async fn a_seeded_thread_saved_to_a_new_session_gives_the_same_messages() {
    let service = service();
    let thread = seeded(&service, tool_turn()).await;
    let save = Save {
        thread,
        session: Some(f::session("again")),
        title: None,
        expected: None,
    };
    let saved = service.save_session(call(), save).await.expect("saved");
    assert_eq!((saved.message_count, saved.created), (4, true));
    let first = service
        .found(&f::namespace(), &f::session("s"))
        .await
        .expect("there");
    assert_eq!(read(&service, &saved.session).await, read(&service, &first).await);
}

#[tokio::test]
async fn own_items_follow_those_of_the_base() {
    let service = service();
    let thread = seeded(&service, tool_turn()).await;
    let turn = f::turn("own");
    let epoch = service
        .thread(&f::namespace(), &thread)
        .await
        .expect("there")
        .epoch;
    service
        .start_turn(call(), thread.clone(), Some(turn.clone()), Some(epoch))
        .await
        .expect("started");
    let items = ["a", "b"].map(|id| f::new_item(id, Status::InProgress)).to_vec();
    let (first, last) = service
        .append_items(call(), thread.clone(), turn, items, Some(epoch))
        .await
        .expect("written");
    assert_eq!((first, last), (Seq(5), Seq(6)));
    for rows in 1..8 {
        let (items, turns) = pages(&service, &thread, None, rows).await;
        let seqs: Vec<u64> = items.iter().map(|item| item.seq.0).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5, 6], "pages of {rows}");
        let named: Vec<&str> = turns.iter().map(|turn| turn.id.as_str()).collect();
        assert_eq!(named, ["ask", "own"]);
        let (own, _) = pages(&service, &thread, Some("own"), rows).await;
        assert_eq!(own, items[4..]);
    }
    let whole = page(&service, &thread, None, 3, 500).await.expect("a page");
    assert_eq!(whole.items.len(), 3, "a page goes from one to the other");
    assert_eq!(whole.next, None);
}

#[tokio::test]
async fn a_page_ends_at_its_bytes_and_goes_on_within_a_message() {
    let service = service();
    let large = "x".repeat(300);
    let blocks = (0..8).flat_map(|_| [tool_use(), text(&large)]).collect();
    let entries = vec![message("long", 1, said(pb::Role::Assistant, blocks))];
    let thread = seeded(&service, entries).await;
    let (mut after, mut seen) = (None, 0);
    loop {
        let bound = Bound {
            rows: 500,
            bytes: 1_000,
        };
        let ns = f::namespace();
        let page = service.list_items(&ns, &thread, None, after, bound);
        let page = page.await.expect("a page");
        let bytes: usize = page.items.iter().map(|item| item.body.len()).sum();
        assert!(bytes <= 1_000 && !page.items.is_empty());
        seen += page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 16);
}

#[tokio::test]
async fn only_a_message_that_starts_a_turn_names_one() {
    let service = service();
    let thread = seeded(&service, tool_turn()).await;
    for id in ["rules", "use", "answer", "none"] {
        let refused = page(&service, &thread, Some(id), 0, 50).await;
        assert!(refused.is_err(), "{id} is no turn");
    }
    let past = page(&service, &thread, Some("ask"), 4, 50).await.expect("a page");
    assert_eq!((past.items.len(), past.turns.len(), past.next), (0, 1, None));
    let past = page(&service, &thread, None, 4, 50).await.expect("a page");
    assert_eq!((past.items.len(), past.turns.len(), past.next), (0, 0, None));
}

/// What a log may hold: a message by role and shape, an event, a checkpoint.
fn any_entry() -> impl Strategy<Value = (u8, Vec<u8>, bool)> {
    let blocks = prop::collection::vec(0_u8..3, 0..4);
    (0_u8..6, blocks, prop::bool::weighted(0.2))
}

fn made(at: usize, (role, blocks, of_a_sub_agent): &(u8, Vec<u8>, bool)) -> NewEntry {
    let id = format!("m{at}");
    let role = match role {
        0 | 1 => pb::Role::User,
        2 => pb::Role::Assistant,
        3 => pb::Role::System,
        4 => pb::Role::Tool,
        _ => return f::event(&id),
    };
    let blocks = blocks.iter().map(|block| match block {
        0 => text("words"),
        1 => tool_use(),
        _ => tool_result(),
    });
    let agent_path = if *of_a_sub_agent { "inner" } else { "" };
    let content = pb::Message {
        agent_path: agent_path.into(),
        ..said(role, blocks.collect())
    };
    message(&id, i64::try_from(at).unwrap_or_default(), content)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pages_of_any_size_hold_what_the_tally_counts(
        entries in prop::collection::vec(any_entry(), 1..24),
        rows in 1_usize..7,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let service = service();
            let entries = entries.iter().enumerate().map(|(at, given)| made(at, given)).collect();
            let thread = seeded(&service, entries).await;
            let facts = service.thread(&f::namespace(), &thread).await.expect("there");
            let (items, turns) = pages(&service, &thread, None, rows).await;
            let seqs: Vec<u64> = items.iter().map(|item| item.seq.0).collect();
            assert_eq!(seqs, (1..=facts.items).collect::<Vec<u64>>());
            assert!(turns.len() as u64 <= facts.turns, "a turn without items is not listed");
            assert!(turns.is_sorted_by_key(|turn| turn.number));
            for turn in &turns {
                let expected: Vec<Item> = items.iter().filter(|item| item.turn == turn.id).cloned().collect();
                let found = pages(&service, &thread, Some(turn.id.as_str()), rows).await;
                assert_eq!(found, (expected, vec![turn.clone()]));
            }
        });
    }
}

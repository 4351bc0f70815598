//! What tests of the rules and of the stores are made of: short names, entries, proposals. Nothing here
//! decides anything.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::message::Opening;
use super::proposal::{
    Command, EngineCommand, ReplicaCommand, Request, ResumeCommand, SessionCommand, ThreadCommand,
    UpkeepCommand,
};
use super::title::{self, Title};
use super::turn::{ItemKind, NewItem, Status};
use super::{
    CallKey, Digest, EngineId, EntryId, Fence, ItemId, MessageFacts, Namespace, NewEntry, Proposal,
    ReplicaId, RequestId, ResumeId, Role, SessionId, ThreadId, Time, TurnId, Usage, entry::Payload,
};

/// 2026-01-01T00:00:00Z.
pub(crate) const NEW_YEAR: Time = Time(1_767_225_600_000_000_000);

/// The namespace of tests that need but one.
pub(crate) fn namespace() -> Namespace {
    Namespace::parse("").expect("valid")
}

/// A session's id.
pub(crate) fn session(id: &str) -> SessionId {
    SessionId::parse(id, "session_id").expect("valid")
}

/// A thread's id.
pub(crate) fn thread(id: &str) -> ThreadId {
    ThreadId::parse(id, "thread_id").expect("valid")
}

/// A turn's id.
pub(crate) fn turn(id: &str) -> TurnId {
    TurnId::parse(id, "turn_id").expect("valid")
}

/// An item's id.
pub(crate) fn item(id: &str) -> ItemId {
    ItemId::parse(id, "item_id").expect("valid")
}

/// An engine's id.
pub(crate) fn engine(id: &str) -> EngineId {
    EngineId::parse(id, "engine_id").expect("valid")
}

/// A replica's name.
pub(crate) fn replica(id: &str) -> ReplicaId {
    ReplicaId::parse(id, "replica").expect("valid")
}

/// A replica's fence.
pub(crate) fn fence(id: &str, incarnation: u64) -> Fence {
    let replica = replica(id);
    Fence { replica, incarnation }
}

/// A resume's id.
pub(crate) fn resume(id: &str) -> ResumeId {
    ResumeId::parse(id, "resume_id").expect("valid")
}

/// An entry's id.
pub(crate) fn entry_id(id: &str) -> EntryId {
    EntryId::parse(id, "entry_id").expect("valid")
}

/// A title that somebody gave.
pub(crate) fn title(text: &str) -> Title {
    Title::parse(text, "title", 200).expect("valid")
}

/// A request's name; `content` stands for the request itself.
pub(crate) fn request(id: &str, content: &str) -> Request {
    Request {
        id: RequestId::parse(id).expect("valid"),
        fingerprint: digest(content.as_bytes()),
    }
}

/// Of a body.
pub(crate) fn digest(body: &[u8]) -> Digest {
    Digest(xxh3_128(body).to_be_bytes())
}

/// What the rules know of a message of this role with this text.
pub(crate) fn facts(role: Role, text: &str) -> MessageFacts {
    let opening = (role == Role::User && !text.trim().is_empty()).then(|| Opening {
        preview: title::preview(text),
        title: title::derived(text).unwrap_or_default(),
    });
    MessageFacts {
        role,
        in_sub_session: false,
        speaks: true,
        opening,
        tool_uses: Vec::new(),
        tool_results: Vec::new(),
        items: 1,
        usage: Usage::default(),
    }
}

/// An entry with this payload; its body says which it is.
pub(crate) fn entry(id: &str, payload: Payload) -> NewEntry {
    let body = Bytes::from(format!("\u{0}\u{ff}the body of {id}"));
    NewEntry {
        id: entry_id(id),
        id_is_fresh: false,
        create_time: NEW_YEAR,
        payload,
        digest: digest(&body),
        body,
    }
}

/// The same entry with another body.
pub(crate) fn with_body(mut entry: NewEntry, body: impl Into<Bytes>) -> NewEntry {
    entry.body = body.into();
    entry.digest = digest(&entry.body);
    entry
}

/// A message of this role.
pub(crate) fn said(id: &str, role: Role, text: &str) -> NewEntry {
    entry(id, Payload::Message(facts(role, text)))
}

/// A user message.
pub(crate) fn user(id: &str, text: &str) -> NewEntry {
    said(id, Role::User, text)
}

/// An assistant message.
pub(crate) fn assistant(id: &str) -> NewEntry {
    said(id, Role::Assistant, "")
}

/// An assistant message that calls a tool.
pub(crate) fn calls(id: &str, call: u64) -> NewEntry {
    let tool_uses = vec![CallKey(call)];
    let facts = MessageFacts {
        tool_uses,
        ..facts(Role::Assistant, "")
    };
    entry(id, Payload::Message(facts))
}

/// A user message that is a tool's result and nothing else.
pub(crate) fn answers(id: &str, call: u64) -> NewEntry {
    let tool_results = vec![CallKey(call)];
    let facts = MessageFacts {
        tool_results,
        speaks: false,
        ..facts(Role::User, "")
    };
    entry(id, Payload::Message(facts))
}

/// What a sub-agent said.
pub(crate) fn in_sub_session(id: &str, role: Role, text: &str) -> NewEntry {
    let facts = MessageFacts {
        in_sub_session: true,
        ..facts(role, text)
    };
    entry(id, Payload::Message(facts))
}

/// An event.
pub(crate) fn event(id: &str) -> NewEntry {
    entry(id, Payload::Event)
}

/// A checkpoint.
pub(crate) fn checkpoint(id: &str) -> NewEntry {
    entry(id, Payload::Checkpoint)
}

/// An item.
pub(crate) fn new_item(id: &str, status: Status) -> NewItem {
    NewItem {
        id: item(id),
        kind: ItemKind::AgentMessage,
        status,
        create_time: None,
        end_time: None,
        body: Bytes::from(format!("\u{0}item {id} {status:?}")),
    }
}

/// A proposal about a session, in the one namespace and under no name.
pub(crate) fn to_session(command: SessionCommand) -> Proposal {
    proposal(Command::Session(command))
}

/// A proposal about a thread, likewise.
pub(crate) fn to_thread(command: ThreadCommand) -> Proposal {
    proposal(Command::Thread(command))
}

/// A proposal about an engine, likewise.
pub(crate) fn to_engine(command: EngineCommand) -> Proposal {
    proposal(Command::Engine(command))
}

/// A proposal about a resume, likewise.
pub(crate) fn to_resume(command: ResumeCommand) -> Proposal {
    proposal(Command::Resume(command))
}

/// A proposal about a replica, likewise.
pub(crate) fn to_replica(command: ReplicaCommand) -> Proposal {
    proposal(Command::Replica(command))
}

/// The same proposal made by a replica.
pub(crate) fn fenced(fence: &Fence, proposal: Proposal) -> Proposal {
    Proposal {
        fence: Some(fence.clone()),
        ..proposal
    }
}

/// A proposal of upkeep, likewise.
pub(crate) fn to_upkeep(command: UpkeepCommand) -> Proposal {
    proposal(Command::Upkeep(command))
}

/// The same proposal under a name; `content` stands for the request itself.
pub(crate) fn under(id: &str, content: &str, proposal: Proposal) -> Proposal {
    Proposal {
        request: Some(request(id, content)),
        ..proposal
    }
}

fn proposal(command: Command) -> Proposal {
    Proposal {
        namespace: namespace(),
        request: None,
        fence: None,
        command,
    }
}

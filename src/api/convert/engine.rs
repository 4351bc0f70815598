//! Frames of an attachment, and engines as lists show them.

use bytes::Bytes;
use prost::Message as _;

use crate::body::value;
use crate::domain::{EngineId, Invalid, Limits, Namespace, ThreadId, TurnId};
use crate::engine::{Claim, Consistency, Declined, Down, Snapshot, SnapshotRequest, Up};
use crate::pb;
use crate::pb::attach_request::Frame as FrameUp;
use crate::pb::attach_response::Frame as FrameDown;
use crate::pb::snapshot_reply::Result as Reply;
use crate::service::engines::{Hello, Listed, Welcome};

use super::{if_any, labels, thread};

/// How an engine introduces itself.
pub(in crate::api) fn hello(hello: pb::Hello, limits: &Limits) -> Result<Hello, Invalid> {
    Ok(Hello {
        namespace: Namespace::parse(&hello.namespace).map_err(|invalid| invalid.within("hello"))?,
        id: if_any(&hello.engine_id, "hello.engine_id", EngineId::parse)?,
        labels: labels(hello.labels, "hello.labels", limits)?,
        accepts_resume: hello.accepts_resume,
        seeds_max: hello.max_seeds,
    })
}

/// A frame after the first.
pub(in crate::api) fn up(frame: pb::AttachRequest, limits: &Limits) -> Result<Up, Invalid> {
    Ok(match frame.frame {
        Some(FrameUp::Hello(_)) => return Err(Invalid::new("hello", "comes first, and once")),
        Some(FrameUp::ThreadOpened(opened)) => Up::Opened(Box::new(claim(opened, limits)?)),
        Some(FrameUp::ThreadClosed(closed)) => {
            Up::Closed(ThreadId::parse(&closed.thread_id, "thread_closed.thread_id")?)
        }
        Some(FrameUp::SnapshotReply(reply)) => self::reply(reply),
        Some(FrameUp::SeedAck(ack)) => Up::SeedAck {
            seed: ack.seed_id,
            messages: ack.items,
        },
        Some(FrameUp::SeedFailed(failed)) => Up::SeedFailed {
            seed: failed.seed_id,
            why: declined(failed.error.as_ref()),
        },
        Some(FrameUp::Heartbeat(_)) => Up::Heartbeat,
        Some(FrameUp::Goodbye(_)) => Up::Goodbye,
        None => Up::Unknown,
    })
}

fn claim(opened: pb::ThreadOpened, limits: &Limits) -> Result<Claim, Invalid> {
    let given = opened.thread.unwrap_or_default();
    let id = ThreadId::parse(&given.thread_id, "thread_opened.thread.thread_id")?;
    let request = pb::CreateThreadRequest {
        thread: Some(given),
        ..pb::CreateThreadRequest::default()
    };
    let (_, draft) = thread::create(request, limits).map_err(|invalid| invalid.within("thread_opened"))?;
    Ok(Claim {
        thread: id,
        draft,
        active_turn: if_any(
            &opened.active_turn_id,
            "thread_opened.active_turn_id",
            TurnId::parse,
        )?,
    })
}

fn reply(reply: pb::SnapshotReply) -> Up {
    let (ask, last) = (reply.ask_id, reply.last);
    match reply.result {
        Some(Reply::Snapshot(part)) => Up::Part {
            ask,
            part: Box::new(snapshot(part)),
            last,
        },
        Some(Reply::Error(status)) => Up::Declined {
            ask,
            why: declined(Some(&status)),
        },
        // A last part that adds nothing.
        None => Up::Part {
            ask,
            part: Box::default(),
            last,
        },
    }
}

fn declined(status: Option<&tonic_types::pb::Status>) -> Declined {
    Declined {
        status: status
            .map(|status| status.encode_to_vec().into())
            .unwrap_or_default(),
    }
}

fn snapshot(part: pb::EngineSnapshot) -> Snapshot {
    Snapshot {
        messages: part.messages,
        delta: part.delta,
        compacted: part.compacted,
        incomplete_turn: part.incomplete_turn,
        usage: part.usage.as_ref().map(value::usage),
        provider: part.provider,
        model: part.model,
        mode: part.mode,
        workspace: part.workspace,
        system_prompt: part.system_prompt,
        settings_json: part.settings_json,
        title: part.title,
    }
}

/// The first frame down.
pub(in crate::api) fn welcome(welcome: &Welcome) -> pb::AttachResponse {
    response(FrameDown::Welcome(pb::Welcome {
        epoch: welcome.epoch,
        heartbeat_interval: prost_types::Duration::try_from(welcome.heartbeat).ok(),
    }))
}

/// A frame down.
pub(in crate::api) fn down(frame: Down) -> pb::AttachResponse {
    response(match frame {
        Down::SnapshotRequest(request) => FrameDown::SnapshotRequest(asked(request)),
        Down::SeedBegin { seed, thread, total } => FrameDown::SeedBegin(pb::SeedBegin {
            seed_id: seed,
            thread: Some((&*thread).into()),
            items_total: total,
        }),
        Down::SeedBatch {
            seed,
            first,
            messages,
        } => FrameDown::SeedBatch(pb::SeedBatch {
            seed_id: seed,
            first_index: i64::try_from(first).unwrap_or(i64::MAX),
            messages,
        }),
        Down::SeedCommit { seed } => FrameDown::SeedCommit(pb::SeedCommit { seed_id: seed }),
        Down::SeedCancel { seed } => FrameDown::SeedCancel(pb::SeedCancel { seed_id: seed }),
        Down::Drain => FrameDown::Drain(pb::Drain {}),
    })
}

fn response(frame: FrameDown) -> pb::AttachResponse {
    pb::AttachResponse { frame: Some(frame) }
}

fn asked(request: SnapshotRequest) -> pb::SnapshotRequest {
    pb::SnapshotRequest {
        ask_id: request.ask,
        thread_id: request.thread.to_string(),
        consistency: match request.consistency {
            Consistency::TurnBoundary => pb::SnapshotConsistency::TurnBoundary,
            Consistency::Immediate => pb::SnapshotConsistency::Immediate,
        }
        .into(),
        known_messages: request.known.messages,
        known_last_message_id: request.known.last_id,
        deadline: Some(value::timestamp(request.deadline)),
    }
}

/// An attached engine.
pub(in crate::api) fn listed(listed: &Listed) -> pb::Engine {
    let engine = &listed.engine;
    let replica = engine.replica.as_ref();
    pb::Engine {
        engine_id: engine.id.to_string(),
        labels: engine.profile.labels.clone(),
        epoch: engine.epoch,
        threads: listed.threads,
        seeds: listed.seeds,
        accepts_resume: engine.profile.accepts_resume,
        replica: replica.map(|fence| fence.replica.to_string()).unwrap_or_default(),
        attach_time: Some(value::timestamp(engine.attach_time)),
    }
}

/// The status that an engine gave as the reason for what it did not do.
pub(in crate::api) fn status(bytes: &Bytes) -> tonic_types::pb::Status {
    tonic_types::pb::Status::decode(bytes.clone()).unwrap_or_default()
}

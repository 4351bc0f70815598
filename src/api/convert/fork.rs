//! Forks and saves.

use crate::domain::fork::Point;
use crate::domain::id::Revision;
use crate::domain::{EntryId, Invalid, Limits, SessionId, ThreadId};
use crate::pb;
use crate::pb::fork_session_request::Point as Given;
use crate::service::forks::Fork;
use crate::service::saves::Save;

use super::{expected, optional, title};

/// What ForkSession makes.
pub(in crate::api) fn fork(request: &pb::ForkSessionRequest, limits: &Limits) -> Result<Fork, Invalid> {
    let point = match &request.point {
        Some(Given::MessageIndex(index)) => Point::MessageIndex(*index),
        Some(Given::UserMessageIndex(index)) => Point::UserMessageIndex(*index),
        Some(Given::BeforeMessageId(id)) => Point::BeforeMessage(EntryId::parse(id, "before_message_id")?),
        Some(Given::TurnsFromEnd(turns)) => Point::TurnsFromEnd(*turns),
        Some(Given::ThroughMessageId(id)) => Point::ThroughMessage(EntryId::parse(id, "through_message_id")?),
        None => return Err(Invalid::new("point", "must be given")),
    };
    Ok(Fork {
        source: SessionId::parse(&request.session_id, "session_id")?,
        point,
        revision: request.revision.map(Revision),
        title: title(request.title.as_ref(), limits)?,
        id: optional(
            request.new_session_id.as_ref(),
            "new_session_id",
            SessionId::parse,
        )?,
    })
}

/// What SaveSession saves.
pub(in crate::api) fn save(request: &pb::SaveSessionRequest, limits: &Limits) -> Result<Save, Invalid> {
    Ok(Save {
        thread: ThreadId::parse(&request.thread_id, "thread_id")?,
        session: optional(request.session_id.as_ref(), "session_id", SessionId::parse)?,
        title: title(request.title.as_ref(), limits)?,
        expected: expected(request.expected_revision),
    })
}

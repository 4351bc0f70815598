//! Rewinds, revisions and trees.

use crate::body::value;
use crate::domain::id::Revision;
use crate::domain::{Invalid, PastHead, Seq, SessionId};
use crate::pb;
use crate::pb::rewind_session_request::To as Given;
use crate::service::history::{Rewind, To};
use crate::service::trees::Node;

use super::{count, expected};

/// What RewindSession does.
pub(in crate::api) fn rewind(request: &pb::RewindSessionRequest) -> Result<Rewind, Invalid> {
    let to = match request.to {
        Some(Given::DropLast(entries)) => To::Before(count(entries, "drop_last")?),
        Some(Given::ToSeq(seq)) => To::Entry(Seq(seq)),
        Some(Given::ToRevision(revision)) => To::Revision(Revision(revision)),
        None => return Err(Invalid::new("to", "must be given")),
    };
    Ok(Rewind {
        session: SessionId::parse(&request.session_id, "session_id")?,
        to,
        expected: expected(request.expected_revision),
    })
}

impl From<&PastHead> for pb::SessionRevision {
    fn from(head: &PastHead) -> Self {
        Self {
            revision: head.revision.0,
            entry_count: head.tip.tally.entries,
            message_count: head.tip.tally.visible,
            create_time: Some(value::timestamp(head.time)),
        }
    }
}

impl From<&Node> for pb::SessionNode {
    fn from(node: &Node) -> Self {
        match node {
            Node::There(session) => {
                let session = pb::Session::from(&**session);
                Self {
                    session_id: session.session_id,
                    parent_session_id: session.parent_session_id,
                    title: session.title,
                    message_count: session.message_count,
                    origin: session.origin,
                    state: session.state,
                }
            }
            Node::Purged(id) => Self {
                session_id: id.to_string(),
                state: pb::SessionState::Deleted.into(),
                ..Self::default()
            },
            Node::Unread(id) => Self {
                session_id: id.to_string(),
                ..Self::default()
            },
        }
    }
}

//! Searches and what they find.

use crate::body::value;
use crate::domain::{Invalid, Role, SessionId, words};
use crate::pb;
use crate::service::search::{Hit, Order, Search, Secrets};

use super::place;

/// What SearchMessages asks for.
pub(in crate::api) fn search(request: &pb::SearchMessagesRequest) -> Result<Search, Invalid> {
    let session = request.session_id.as_ref();
    let workspace = request.workspace.as_ref();
    let mut roles: Vec<Role> = Vec::new();
    for given in &request.roles {
        let role = value::role(*given)
            .ok_or_else(|| Invalid::new("roles", "must be USER, ASSISTANT, SYSTEM or TOOL"))?;
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    Ok(Search {
        words: words::Query::parse(&request.query)?,
        session: session.map(|id| SessionId::parse(id, "session_id")).transpose()?,
        workspace: workspace
            .map(|workspace| place(workspace, "workspace"))
            .transpose()?,
        roles,
        after: value::optional_time(request.created_after.as_ref(), "created_after")?,
        before: value::optional_time(request.created_before.as_ref(), "created_before")?,
        order: order(request.order)?,
        secrets: if request.redact {
            Secrets::Masked
        } else {
            Secrets::Shown
        },
    })
}

fn order(given: i32) -> Result<Order, Invalid> {
    match pb::SearchOrder::try_from(given) {
        Ok(pb::SearchOrder::Unspecified | pb::SearchOrder::Newest) => Ok(Order::Newest),
        Ok(pb::SearchOrder::Relevance) => Ok(Order::Relevance),
        Err(_) => Err(Invalid::new("order", "must be NEWEST or RELEVANCE")),
    }
}

impl From<Hit> for pb::SearchHit {
    fn from(hit: Hit) -> Self {
        let marks = hit.snippet.marks.into_iter();
        Self {
            session_id: hit.session.to_string(),
            title: hit.title,
            message_id: hit.message.to_string(),
            message_index: hit.index.map_or(-1, u64::cast_signed),
            role: value::role_to_pb(hit.role).into(),
            snippet: hit.snippet.text,
            marks: marks.map(|(start, end)| pb::SearchMark { start, end }).collect(),
            create_time: Some(value::timestamp(hit.time)),
        }
    }
}

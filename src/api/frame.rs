//! What every request begins and ends with: its namespace, and a mutation's request_id.

use std::mem;

use prost::Message;
use tonic::{Request, Status};
use tracing::Span;
use xxhash_rust::xxh3::Xxh3;

use crate::domain::{Digest, Invalid, Namespace, Refusal, RequestId, SessionId, proposal};
use crate::pb;
use crate::service::{Call, Service};

use super::status;

/// The largest request that is converted where it came in: a millisecond's work.
const INLINE_BYTES_MAX: usize = 512 * 1024;

/// A request about something that the log knows it by.
pub(super) trait Subject {
    /// The field of the call's span and the id, as the client gave it; empty where there is none.
    fn subject(&self) -> (&'static str, &str);
}

/// A request in a namespace.
pub(super) trait Scoped: Message + Subject {
    /// The name of its type.
    const NAME: &'static str;

    /// Its namespace.
    fn namespace(&mut self) -> &mut String;
}

/// A request that changes something.
pub(super) trait Mutation: Scoped {
    /// The caller's name for it.
    fn request_id(&mut self) -> &mut String;
}

/// A request for a page of a list.
pub(super) trait Listing: Scoped {
    /// How much of it, and where it goes on.
    fn page(&mut self) -> (&mut i32, &mut String);
}

/// Takes a request that only reads out of its frame: the namespace is no longer in it.
pub(super) fn read<M: Scoped>(request: Request<M>) -> Result<(Namespace, M), Status> {
    let mut request = request.into_inner();
    note(&request);
    let namespace = Namespace::parse(&mem::take(request.namespace()))?;
    Ok((namespace, request))
}

/// Takes a mutation out of its frame: namespace and request_id are no longer in it.
pub(super) fn mutation<M: Mutation>(request: Request<M>) -> Result<(Call, M), Status> {
    let (namespace, mut request) = read(request)?;
    let id = mem::take(request.request_id());
    let request_id = if id.is_empty() {
        None
    } else {
        Some(RequestId::parse(&id)?)
    };
    if let Some(id) = &request_id {
        Span::current().record("request.id", id.as_str());
    }
    let named = request_id.map(|id| proposal::Request {
        id,
        fingerprint: fingerprint(&request),
    });
    Ok((
        Call {
            namespace,
            request: named,
        },
        request,
    ))
}

/// Converts a request that may be large; a large one away from the threads that serve connections.
pub(super) async fn converted<M: Scoped + 'static, T: Send + 'static>(
    request: M,
    convert: impl FnOnce(M) -> Result<T, Invalid> + Send + 'static,
) -> Result<Result<T, Invalid>, Status> {
    if request.encoded_len() <= INLINE_BYTES_MAX {
        return Ok(convert(request));
    }
    let converted = tokio::task::spawn_blocking(move || convert(request)).await;
    converted.map_err(|failed| {
        tracing::error!(
            panicked = failed.is_panic(),
            request = M::NAME,
            "a conversion did not end"
        );
        status::internal()
    })
}

/// What a mutation's conversion has come to. A request_id is looked up before every other check, so a request that is
/// invalid but comes under the request_id of another one is refused for that.
pub(super) async fn checked<T>(
    service: &Service,
    call: &Call,
    parsed: Result<T, Invalid>,
) -> Result<T, Status> {
    let invalid = match parsed {
        Ok(parsed) => return Ok(parsed),
        Err(invalid) => invalid,
    };
    match &call.request {
        Some(named) if service.reused(&call.namespace, named).await? => Err(Refusal::RequestIdReused.into()),
        Some(_) | None => Err(invalid.into()),
    }
}

/// Notes in the call's span what a request is about, if that is an id: anything else may be anything.
fn note(request: &impl Subject) {
    let span = Span::current();
    let (field, id) = request.subject();
    if !span.is_disabled() && SessionId::parse(id, field).is_ok() {
        span.record(field, id.trim());
    }
}

/// Of a request out of its frame. Maps are sorted, so equal requests are equal bytes.
fn fingerprint<M: Mutation>(request: &M) -> Digest {
    let mut hash = Xxh3::new();
    hash.update(M::NAME.as_bytes());
    hash.update(&request.encode_to_vec());
    Digest(hash.digest128().to_be_bytes())
}

macro_rules! scoped {
    ($($request:ident)*) => {$(
        impl Scoped for pb::$request {
            const NAME: &'static str = stringify!($request);

            fn namespace(&mut self) -> &mut String {
                &mut self.namespace
            }
        }
    )*};
}

macro_rules! subjects {
    ($field:literal, $request:ident => $id:expr, $($name:ident)*) => {$(
        impl Subject for pb::$name {
            fn subject(&self) -> (&'static str, &str) {
                let $request = self;
                ($field, $id)
            }
        }
    )*};
}

macro_rules! mutations {
    ($($request:ident)*) => {
        scoped!($($request)*);
        $(impl Mutation for pb::$request {
            fn request_id(&mut self) -> &mut String {
                &mut self.request_id
            }
        })*
    };
}

macro_rules! listings {
    ($($request:ident)*) => {
        scoped!($($request)*);
        $(impl Listing for pb::$request {
            fn page(&mut self) -> (&mut i32, &mut String) {
                (&mut self.page_size, &mut self.page_token)
            }
        })*
    };
}

scoped!(
    GetSessionRequest ReadMessagesRequest ExportSessionRequest GetThreadRequest GetResumeRequest WatchResumeRequest
    WatchSessionRequest WatchThreadRequest
);
listings!(
    ListSessionsRequest ListEntriesRequest ListThreadsRequest ListItemsRequest ListResumesRequest ListEnginesRequest
    ListRevisionsRequest GetSessionTreeRequest SearchMessagesRequest
);
mutations!(
    CreateSessionRequest UpdateSessionRequest DeleteSessionRequest UndeleteSessionRequest AppendEntriesRequest
    SaveSessionRequest SnapshotFromEngineRequest ForkSessionRequest ResumeRequest CancelResumeRequest
    CreateThreadRequest UpdateThreadRequest DeleteThreadRequest StartTurnRequest AppendItemsRequest
    FinishTurnRequest RewindSessionRequest PruneSessionsRequest
);

subjects!("session.id", request => &request.session_id,
    GetSessionRequest DeleteSessionRequest UndeleteSessionRequest AppendEntriesRequest ListEntriesRequest
    ReadMessagesRequest ForkSessionRequest ExportSessionRequest ResumeRequest RewindSessionRequest ListRevisionsRequest
    GetSessionTreeRequest WatchSessionRequest
);
subjects!("session.id", request => request.session_id.as_deref().unwrap_or_default(), CreateSessionRequest);
subjects!("session.id", request => request.session.as_ref().map_or("", |session| &session.session_id),
    UpdateSessionRequest
);
subjects!("session.id", request => request.session_id.as_deref().unwrap_or_default(),
    ListResumesRequest SearchMessagesRequest
);
subjects!("session.id", _request => "", ListSessionsRequest PruneSessionsRequest);
subjects!("resume.id", request => &request.resume_id, GetResumeRequest CancelResumeRequest);
subjects!("resume.id", request => match &request.target {
    Some(pb::watch_resume_request::Target::ResumeId(id)) => id,
    Some(pb::watch_resume_request::Target::ThreadId(_)) | None => "",
}, WatchResumeRequest);
subjects!("engine.id", _request => "", ListEnginesRequest);
subjects!("thread.id", request => &request.thread_id,
    GetThreadRequest DeleteThreadRequest StartTurnRequest AppendItemsRequest FinishTurnRequest ListItemsRequest
    SaveSessionRequest WatchThreadRequest
);
subjects!("thread.id", request => request.thread_id.as_deref().unwrap_or_default(),
    CreateThreadRequest SnapshotFromEngineRequest
);
subjects!("thread.id", request => request.thread.as_ref().map_or("", |thread| &thread.thread_id),
    UpdateThreadRequest
);
subjects!("thread.id", _request => "", ListThreadsRequest);

#[cfg(test)]
mod tests {
    use super::*;

    fn call(request: pb::UpdateSessionRequest) -> Call {
        mutation(Request::new(request)).expect("valid").0
    }

    fn named(id: &str, labels: &[(&str, &str)]) -> pb::UpdateSessionRequest {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let session = pb::Session {
            labels,
            ..Default::default()
        };
        pb::UpdateSessionRequest {
            request_id: id.into(),
            session: Some(session),
            ..Default::default()
        }
    }

    #[test]
    fn equal_requests_have_one_fingerprint() {
        let first = call(named("r", &[("a", "1"), ("b", "2")]));
        let other_order = call(named("other", &[("b", "2"), ("a", "1")]));
        let spelt_out = call(pb::UpdateSessionRequest {
            namespace: "default".into(),
            ..named("r", &[("a", "1"), ("b", "2")])
        });
        let print = |call: &Call| call.request.as_ref().map(|request| request.fingerprint);
        assert!(print(&first).is_some());
        assert_eq!(print(&first), print(&other_order));
        assert_eq!(first.namespace, spelt_out.namespace);
        assert_eq!(print(&first), print(&spelt_out));
        assert_ne!(print(&first), print(&call(named("r", &[("a", "1")]))));
        assert!(call(named("", &[])).request.is_none());
    }

    #[test]
    fn equal_bytes_for_another_method_are_another_request() {
        let (id, request_id) = (String::from("s"), String::from("r"));
        let delete = pb::DeleteSessionRequest {
            session_id: id.clone(),
            request_id: request_id.clone(),
            ..Default::default()
        };
        let undelete = pb::UndeleteSessionRequest {
            session_id: id,
            request_id,
            ..Default::default()
        };
        let (delete, _) = mutation(Request::new(delete)).expect("valid");
        let (undelete, _) = mutation(Request::new(undelete)).expect("valid");
        assert_ne!(delete.request, undelete.request);
    }
}

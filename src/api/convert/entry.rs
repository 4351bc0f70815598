//! Entries of a log.

use crate::body::{self, Given, value};
use crate::domain::id::Revision;
use crate::domain::query::End;
use crate::domain::{Entry, EntryId, Invalid, Kind, NewEntry, Seq, SessionId, Time};
use crate::pb;
use crate::pb::entry::Payload;
use crate::service::Service;
use crate::service::entries::{Read, View, Window};

use super::{count, expected, if_any};

/// What AppendEntries adds.
pub(in crate::api) fn append(
    request: pb::AppendEntriesRequest,
    service: &Service,
) -> Result<(SessionId, Vec<NewEntry>, Option<Revision>), Invalid> {
    let id = SessionId::parse(&request.session_id, "session_id")?;
    let max = service.limits().batch_entries_max;
    if request.entries.is_empty() {
        return Err(Invalid::new("entries", "must not be empty"));
    }
    if request.entries.len() > max {
        return Err(Invalid::limit("entries", "batch_entries_max", max as u64));
    }
    let now = service.now();
    let entries = request.entries.into_iter().enumerate().map(|(at, entry)| {
        new(entry, service, now).map_err(|invalid| invalid.within(&format!("entries[{at}]")))
    });
    Ok((
        id,
        entries.collect::<Result<_, _>>()?,
        expected(request.expected_revision),
    ))
}

fn new(entry: pb::Entry, service: &Service, now: Time) -> Result<NewEntry, Invalid> {
    let (kind, body) = match entry.payload {
        Some(Payload::Message(body)) => (Kind::Message, body),
        Some(Payload::Checkpoint(body)) => (Kind::Checkpoint, body),
        Some(Payload::Event(body)) => (Kind::Event, body),
        None => {
            return Err(Invalid::new(
                "payload",
                "must be a message, a checkpoint or an event",
            ));
        }
    };
    let given = Given {
        id: if_any(&entry.entry_id, "entry_id", EntryId::parse)?,
        create_time: value::optional_time(entry.create_time.as_ref(), "create_time")?,
        kind,
        body,
    };
    body::entry(given, || service.fresh_id(), now, service.limits())
}

/// Which entries ListEntries shows.
pub(in crate::api) fn window(request: &pb::ListEntriesRequest) -> Window {
    Window {
        after: request.after_seq.map(Seq),
        before: request.before_seq.map(Seq),
        end: if request.newest { End::Newest } else { End::Oldest },
    }
}

/// What ReadMessages reads.
pub(in crate::api) fn read(request: &pb::ReadMessagesRequest) -> Result<Read, Invalid> {
    let view = match pb::MessageView::try_from(request.view) {
        Ok(pb::MessageView::Unspecified | pb::MessageView::Visible) => View::Visible,
        Ok(pb::MessageView::Context) => View::Context,
        Err(_) => return Err(Invalid::new("view", "must be VISIBLE or CONTEXT")),
    };
    Ok(Read {
        view,
        from: count(request.from_index.unwrap_or_default(), "from_index")?,
        limit: request.limit.map(|limit| count(limit, "limit")).transpose()?,
        revision: request.revision.map(Revision),
    })
}

impl From<Entry> for pb::Entry {
    fn from(Entry { meta, body }: Entry) -> Self {
        let payload = match meta.mark.kind {
            Kind::Message => Payload::Message(body),
            Kind::Checkpoint => Payload::Checkpoint(body),
            Kind::Event => Payload::Event(body),
        };
        Self {
            seq: meta.seq.0,
            entry_id: meta.id.to_string(),
            create_time: Some(value::timestamp(meta.create_time)),
            payload: Some(payload),
        }
    }
}

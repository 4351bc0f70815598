//! Items of a thread.

use crate::body;
use crate::domain::turn::NewItem;
use crate::domain::{Invalid, Item, ThreadId, TurnId};
use crate::pb;
use crate::service;
use crate::service::Service;

/// What AppendItems writes.
pub(in crate::api) fn append(
    request: pb::AppendItemsRequest,
    service: &Service,
) -> Result<(ThreadId, TurnId, Vec<NewItem>), Invalid> {
    let thread = ThreadId::parse(&request.thread_id, "thread_id")?;
    let turn = TurnId::parse(&request.turn_id, "turn_id")?;
    let limits = service.limits();
    let max = limits.batch_entries_max;
    if request.items.is_empty() {
        return Err(Invalid::new("items", "must not be empty"));
    }
    if request.items.len() > max {
        return Err(Invalid::limit("items", "batch_entries_max", max as u64));
    }
    let items = request.items.into_iter().enumerate().map(|(at, item)| {
        let item = body::item(item, || service.fresh_id(), limits);
        item.map_err(|invalid| invalid.within(&format!("items[{at}]")))
    });
    Ok((thread, turn, items.collect::<Result<_, _>>()?))
}

/// A stored item; one that cannot be read is damaged.
pub(in crate::api) fn to_pb(item: &Item) -> Result<pb::Item, service::Error> {
    let damaged =
        |error| service::StoreError::corrupt(format!("item {} of journal {}", item.seq, item.journal), error);
    Ok(body::item_to_pb(item).map_err(damaged)?)
}

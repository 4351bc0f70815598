//! Sessions on their way into an engine: batches in order, counted as they come. Pure.

use std::collections::HashMap;

use tokio::time::Instant;
use tonic::Code;
use tonic_types::pb as rpc;

use crate::pb::client as pb;
use crate::pb::client::attach_request::Frame;

/// Seeds that have begun and are not yet committed. They outlive an attachment.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    begun: HashMap<String, Seed>,
}

/// A session of which some messages are here.
#[derive(Debug)]
struct Seed {
    thread: pb::Thread,
    messages: Vec<pb::Message>,
    /// When it is dropped unless it begins again: it may have gone to another engine.
    due: Option<Instant>,
}

impl Seeds {
    /// The engine has attached anew: what does not begin again until `due` is not waited for.
    pub(super) fn attached(&mut self, due: Instant) {
        for seed in self.begun.values_mut() {
            seed.due = Some(due);
        }
    }

    /// Drops what is due.
    pub(super) fn drop_left(&mut self, now: Instant) {
        self.begun.retain(|_, seed| seed.due.is_none_or(|due| due > now));
    }

    /// A seed begins; one that is repeated after a new attachment keeps what it has, and the answer says so.
    pub(super) fn begin(&mut self, begin: pb::SeedBegin) -> Option<Frame> {
        let seed_id = begin.seed_id;
        let seed = self.begun.entry(seed_id.clone()).or_insert_with(|| Seed {
            thread: begin.thread.unwrap_or_default(),
            messages: Vec::new(),
            due: None,
        });
        seed.due = None;
        let items = seed.messages.len() as u64;
        (items > 0).then_some(Frame::SeedAck(pb::SeedAck { seed_id, items }))
    }

    /// Takes a batch. The answer counts all messages that are here; a batch that does not follow them ends the seed.
    pub(super) fn take(&mut self, batch: pb::SeedBatch) -> Frame {
        let seed_id = batch.seed_id;
        let at = usize::try_from(batch.first_index).ok();
        let seed = self.begun.get_mut(&seed_id);
        let Some((at, seed)) = at.zip(seed).filter(|(at, seed)| *at <= seed.messages.len()) else {
            self.begun.remove(&seed_id);
            return Frame::SeedFailed(pb::SeedFailed {
                seed_id,
                error: Some(lost()),
            });
        };
        seed.messages.truncate(at);
        seed.messages.extend(batch.messages);
        Frame::SeedAck(pb::SeedAck {
            seed_id,
            items: seed.messages.len() as u64,
        })
    }

    /// The thread with its messages; `None`: the seed is not known.
    pub(super) fn commit(&mut self, seed_id: &str) -> Option<(pb::Thread, Vec<pb::Message>)> {
        let seed = self.begun.remove(seed_id)?;
        Some((seed.thread, seed.messages))
    }

    /// Forgets a seed.
    pub(super) fn cancel(&mut self, seed_id: &str) {
        self.begun.remove(seed_id);
    }
}

/// Why an engine gives up a seed whose beginning it does not have, after a restart for example.
fn lost() -> rpc::Status {
    rpc::Status {
        code: Code::DataLoss.into(),
        message: "the messages before this batch are not in memory".to_owned(),
        details: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(seeds: &mut Seeds) -> Option<Frame> {
        seeds.begin(pb::SeedBegin {
            seed_id: "s".into(),
            thread: Some(pb::Thread {
                thread_id: "t".into(),
                ..Default::default()
            }),
            items_total: 3,
        })
    }

    fn batch(first_index: i64, ids: &[&str]) -> pb::SeedBatch {
        pb::SeedBatch {
            seed_id: "s".into(),
            first_index,
            messages: ids.iter().map(|id| message(id)).collect(),
        }
    }

    fn message(id: &str) -> pb::Message {
        pb::Message {
            message_id: id.into(),
            ..Default::default()
        }
    }

    /// Messages that are acknowledged; `None`: the seed has failed.
    fn acknowledged(frame: &Frame) -> Option<u64> {
        match frame {
            Frame::SeedAck(ack) => Some(ack.items),
            Frame::SeedFailed(_) => None,
            frame => panic!("{frame:?}"),
        }
    }

    #[test]
    fn a_seed_goes_on_where_it_was_acknowledged() {
        let mut seeds = Seeds::default();
        assert!(begin(&mut seeds).is_none());
        assert_eq!(acknowledged(&seeds.take(batch(0, &["a", "b"]))), Some(2));
        let again = begin(&mut seeds).unwrap();
        assert_eq!(acknowledged(&again), Some(2), "what it has is said again");
        assert_eq!(acknowledged(&seeds.take(batch(1, &["b", "c"]))), Some(3));
        let (thread, messages) = seeds.commit("s").unwrap();
        assert_eq!(thread.thread_id, "t");
        assert_eq!(messages, ["a", "b", "c"].map(message));
        assert!(seeds.commit("s").is_none());
    }

    #[test]
    fn a_seed_that_does_not_begin_again_is_dropped() {
        let mut seeds = Seeds::default();
        let due = Instant::now();
        let soon = due + std::time::Duration::from_secs(1);
        begin(&mut seeds);
        seeds.take(batch(0, &["a"]));
        seeds.drop_left(soon);
        seeds.attached(soon);
        seeds.drop_left(due);
        assert!(begin(&mut seeds).is_some(), "it is waited for");
        seeds.drop_left(soon);
        assert!(begin(&mut seeds).is_some(), "it has begun again");
        seeds.attached(due);
        seeds.drop_left(soon);
        assert!(begin(&mut seeds).is_none());
    }

    #[test]
    fn a_hole_or_a_strange_seed_fails() {
        let mut seeds = Seeds::default();
        assert_eq!(acknowledged(&seeds.take(batch(0, &["a"]))), None);
        begin(&mut seeds);
        assert_eq!(acknowledged(&seeds.take(batch(1, &["b"]))), None);
        begin(&mut seeds);
        assert_eq!(acknowledged(&seeds.take(batch(-1, &["b"]))), None);
        begin(&mut seeds);
        seeds.cancel("s");
        assert!(seeds.commit("s").is_none());
    }
}

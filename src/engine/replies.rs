//! The asks that wait for an answer. An answer comes in parts, which are put together here; one that nobody waits for
//! is dropped, and so is one that is too large.

use std::collections::HashMap;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::Error;
use super::frame::{Declined, Snapshot};

/// Who waits for an answer.
pub(super) type Reply = oneshot::Sender<Result<Snapshot, Error>>;

/// Asks by name.
#[derive(Debug)]
pub(super) struct Replies {
    waiting: HashMap<String, Waiting>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Waiting {
    reply: Reply,
    deadline: Instant,
    so_far: Snapshot,
    bytes: usize,
}

impl Replies {
    /// No asks; an answer may have `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            bytes_max,
        }
    }

    /// Waits for an answer until `deadline`.
    pub(super) fn expect(&mut self, ask: String, reply: Reply, deadline: Instant) {
        let waiting = Waiting {
            reply,
            deadline,
            so_far: Snapshot::default(),
            bytes: 0,
        };
        self.waiting.insert(ask, waiting);
    }

    /// Forgets an ask that was not sent.
    pub(super) fn give_up(&mut self, ask: &str, error: Error) {
        self.answer(ask, Err(error));
    }

    /// Takes a part of an answer.
    pub(super) fn part(&mut self, ask: &str, part: Snapshot, last: bool) {
        let Some(waiting) = self.waiting.get_mut(ask) else {
            return;
        };
        waiting.bytes += part.messages.iter().map(bytes::Bytes::len).sum::<usize>();
        if waiting.bytes > self.bytes_max {
            let max = self.bytes_max;
            self.answer(ask, Err(Error::TooLarge { max }));
            return;
        }
        let mut messages = std::mem::take(&mut waiting.so_far.messages);
        messages.extend(part.messages);
        waiting.so_far = Snapshot { messages, ..part };
        if last {
            let whole = std::mem::take(&mut waiting.so_far);
            self.answer(ask, Ok(whole));
        }
    }

    /// Takes a refusal.
    pub(super) fn declined(&mut self, ask: &str, why: Declined) {
        self.answer(ask, Err(Error::Declined(why)));
    }

    /// Forgets who waits no more.
    pub(super) fn expire(&mut self, now: Instant) {
        self.waiting
            .retain(|_, waiting| waiting.deadline > now && !waiting.reply.is_closed());
    }

    /// When the next one stops waiting.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.deadline).min()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.values().all(|waiting| waiting.reply.is_closed())
    }

    fn answer(&mut self, ask: &str, answer: Result<Snapshot, Error>) {
        if let Some(waiting) = self.waiting.remove(ask) {
            // Whoever asked may have left meanwhile.
            let _ = waiting.reply.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;

    fn part(messages: &[&'static str], model: &str) -> Snapshot {
        Snapshot {
            messages: messages
                .iter()
                .map(|text| Bytes::from_static(text.as_bytes()))
                .collect(),
            model: model.into(),
            ..Snapshot::default()
        }
    }

    fn asked(replies: &mut Replies, ask: &str) -> oneshot::Receiver<Result<Snapshot, Error>> {
        let (reply, answer) = oneshot::channel();
        replies.expect(ask.into(), reply, Instant::now() + Duration::from_secs(1));
        answer
    }

    #[test]
    fn parts_are_put_together_and_facts_are_the_last_ones() {
        let mut replies = Replies::new(100);
        let mut answer = asked(&mut replies, "a");
        replies.part("a", part(&["1", "2"], "early"), false);
        assert!(answer.try_recv().is_err());
        replies.part("a", part(&["3"], "late"), true);
        let whole = answer.try_recv().unwrap().unwrap();
        assert_eq!((whole.messages.len(), whole.model.as_str()), (3, "late"));
        replies.part("a", part(&["4"], "again"), true);
        assert!(replies.is_empty());
    }

    #[test]
    fn an_answer_to_nobody_is_dropped() {
        let mut replies = Replies::new(100);
        let mut answer = asked(&mut replies, "a");
        replies.part("b", part(&["1"], ""), true);
        assert!(answer.try_recv().is_err());
        drop(answer);
        assert!(replies.is_empty());
        replies.expire(Instant::now());
        assert!(replies.next_deadline().is_none());
    }

    #[test]
    fn too_large_an_answer_is_refused_and_forgotten() {
        let mut replies = Replies::new(4);
        let mut answer = asked(&mut replies, "a");
        replies.part("a", part(&["123"], ""), false);
        replies.part("a", part(&["456"], ""), false);
        assert_eq!(answer.try_recv().unwrap(), Err(Error::TooLarge { max: 4 }));
        replies.part("a", part(&["7"], ""), true);
        assert!(replies.is_empty());
    }
}

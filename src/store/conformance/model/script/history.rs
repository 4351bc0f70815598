//! Forks and rewinds, of what a session is and of what it was.

use super::{FORKS, Script};
use crate::domain::fixture as f;
use crate::domain::proposal::{Cut, Fork, Rewind, SessionCommand};
use crate::domain::{Command, Revision, Seq, Session, Tally, Tip};
use crate::store::Store;
use crate::store::memory::Memory;

impl Script {
    pub(super) async fn fork(&mut self, memory: &Memory, source: &Session) -> Command {
        let (revision, tip) = self.some_head(memory, source).await;
        let end = tip.seq().0;
        let cut = self.dice.below(end + 1);
        let mut tally = tally_at(memory, &tip, cut).await;
        if self.dice.one_in(15) {
            tally.entries += 1 + end;
        }
        let stale = self.dice.one_in(15);
        let fork = Fork {
            source: source.id.clone(),
            revision,
            source_log: if stale { self.log() } else { tip.log.id },
            cut: tally,
            preview: self.words(),
            removed: None,
            title: self.maybe(Self::title),
            id: f::session(&self.dice.name("fork", FORKS)),
            log: self.log(),
        };
        Command::Session(SessionCommand::Fork(Box::new(fork)))
    }

    pub(super) async fn rewind(&mut self, memory: &Memory, session: &Session) -> Command {
        let (to, tip) = self.some_head(memory, session).await;
        let end = tip.seq().0;
        let kept = match to {
            Some(_) => end,
            None => end - self.dice.below(end.min(4) + 1),
        };
        let mut tally = tally_at(memory, &tip, kept).await;
        if self.dice.one_in(15) {
            tally.entries += 1 + end;
        }
        let mut from = session.tip.clone();
        if self.dice.one_in(15) {
            from.tally.entries += 1;
        }
        let rewind = Rewind {
            session: session.id.clone(),
            from,
            to,
            cut: Cut {
                tally,
                preview: self.words(),
            },
            expected: self.expected(Some(session)),
            log: self.log(),
        };
        Command::Session(SessionCommand::Rewind(Box::new(rewind)))
    }

    /// The head of a session, or one that it has left, or its head under a name that it never left.
    async fn some_head(&mut self, memory: &Memory, session: &Session) -> (Option<Revision>, Tip) {
        let heads = memory.past_heads(&self.ns, &session.id, None, 10).await;
        let heads = heads.expect("memory answers");
        match self.dice.pick(&heads) {
            Some(head) if self.dice.one_in(3) => (Some(head.revision), head.tip.clone()),
            Some(_) | None if self.dice.one_in(20) => (Some(session.revision), session.tip.clone()),
            Some(_) | None => (None, session.tip.clone()),
        }
    }
}

async fn tally_at(memory: &Memory, tip: &Tip, seq: u64) -> Tally {
    match memory.entry_meta(&tip.log, Seq(seq)).await {
        Ok(Some(meta)) => meta.tally,
        Ok(None) | Err(_) => Tally::default(),
    }
}

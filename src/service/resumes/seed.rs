//! Seeding an engine: the context view goes down in batches under a window of what is not acknowledged, and what is
//! acknowledged is written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio::sync::watch;

use crate::body::{self, Dangling};
use crate::domain::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::domain::proposal::{ResumeCommand, Seed as SeedKind, Start};
use crate::domain::query::{Bound, End, Range};
use crate::domain::resume::Failure;
use crate::domain::seat::seated;
use crate::domain::{Resume, Role, Seq, Session, Tip};
use crate::engine::{EngineHandle, Seed};

use super::super::context::damaged;
use super::super::entries::{Read, View};
use super::super::{Error, Service};
use super::drive::{Goal, Over, fault, in_time, over_of};

/// Messages of a batch.
const BATCH_MESSAGES_MAX: usize = 100;

/// Messages that may be on their way without being acknowledged, and that written down: whoever carries on knows from what
/// is written down how much an engine can hold at the most.
const WINDOW_MESSAGES_MAX: u64 = 1_000;

/// How long an engine has to say what it holds of a seed that is repeated, before it is sent what is not written down.
const RECALL_TIME: Duration = Duration::from_secs(2);

/// Bytes of a system prompt that is put together of system messages.
const PROMPT_BYTES_MAX: usize = 1024 * 1024;

impl Service {
    /// Seeds the session into an engine and seats the thread there. The session is looked at once there is a place for
    /// the seed: it may have changed while the resume was QUEUED.
    pub(super) async fn seed_engine(
        &self,
        resume: &Resume,
        goal: Goal,
        handle: &EngineHandle,
    ) -> Result<(), Over> {
        let lost = |_| Over::EngineLost;
        let place = handle.place().await.map_err(lost)?;
        let _slot = self.live.seeds.acquire().await.map_err(|_| Over::Ended)?;
        let session = self.seeded(resume).await?;
        let (tip, attachment) = (&session.tip, handle.attachment());
        let same_seed = resume.engine.as_ref() == Some(&attachment.id)
            && resume.seed > 0
            && goal.lost != Some(resume.seed)
            && resume.thread == goal.thread
            && resume.source.as_ref().is_some_and(|source| source == tip);
        let upcoming = Resume {
            seed: if same_seed { resume.seed } else { resume.seed + 1 },
            ..resume.clone()
        };
        let silence = self.live.terms.seed_silence;
        let seed = handle.seed(upcoming.seed_id(), place).await.map_err(lost)?;
        let start = Start {
            id: resume.id.clone(),
            engine: Some(attachment.id.clone()),
            source: tip.clone(),
            total: self.seed_total(tip).await.map_err(over_of)?,
            seed: if same_seed {
                SeedKind::Continued
            } else {
                SeedKind::Fresh
            },
            attempt: goal.attempt,
            thread: goal.thread,
        };
        let before = resume;
        let resume = self.step(before, ResumeCommand::Start(Box::new(start))).await?;
        if !same_seed {
            self.call_off(before);
        }
        let seat = self.seat(&resume, &session, Some(attachment.epoch)).await?;
        let mut thread = seated(&resume, &session, &seat, None, self.now());
        thread.engine = Some(attachment.id.clone());
        thread.epoch = attachment.epoch;
        in_time(silence, seed.begin(Arc::new(thread), resume.total)).await?;
        let went = if same_seed {
            self.go_on(&resume, tip, &seed).await
        } else {
            self.go(&resume, tip, &seed, (0, 0)).await
        };
        went?;
        match self.step(&resume, ResumeCommand::Seat(Box::new(seat))).await {
            // The thread is the engine's, whether it hears of it now or when it is back.
            Ok(_) => drop(tokio::time::timeout(silence, seed.commit()).await),
            Err(over) => return Err(over),
        }
        Ok(())
    }

    /// Sends a seed on that the engine has begun before, perhaps to another replica.
    async fn go_on(&self, resume: &Resume, tip: &Tip, seed: &Seed) -> Result<(), Over> {
        let went = match recalled(resume, seed).await {
            // What was sent before may be acknowledged still.
            Ok(held) => self.go(resume, tip, seed, (held, most(resume))).await,
            Err(over) => Err(over),
        };
        went.map_err(|over| match over {
            // It may have been started anew meanwhile, and can have all of it again.
            Over::Failed(failure @ Failure::Declined(_)) if resume.written > 0 => Over::SeedLost(failure),
            other => other,
        })
    }

    /// Sends what comes after the `held` messages that the engine has, of all that it was `sent` so far at the most, until
    /// everything is acknowledged and that written down.
    async fn go(
        &self,
        resume: &Resume,
        tip: &Tip,
        seed: &Seed,
        (held, sent): (u64, u64),
    ) -> Result<(), Over> {
        let sent = AtomicU64::new(sent);
        let (noted, written) = watch::channel(resume.written);
        tokio::try_join!(
            self.send(tip, seed, held, &sent, written),
            self.note(resume, seed, &sent, &noted)
        )?;
        Ok(())
    }

    /// How many messages a seed has: the context view, and an answer for each place where tool calls have none.
    async fn seed_total(&self, tip: &Tip) -> Result<u64, Error> {
        if self.is_answered(tip).await? {
            return Ok(self.known(tip).await?.messages);
        }
        let (mut dangling, mut total) = (Dangling::default(), 0);
        let mut chunks = self.context_messages(tip).await?;
        while let Some(chunk) = chunks.try_next().await? {
            for message in chunk {
                total += 1 + u64::from(dangling.before(&message).map_err(damaged(tip))?.is_some());
            }
        }
        Ok(total + u64::from(dangling.at_end().is_some()))
    }

    /// Whether every tool call of the context view has a result, as far as that is known without reading it.
    async fn is_answered(&self, tip: &Tip) -> Result<bool, Error> {
        let start = self.context_start(tip).await?;
        Ok(start.head.is_empty() && tip.tally.open_calls.is_empty())
    }

    async fn context_messages(&self, tip: &Tip) -> Result<super::super::entries::Messages, Error> {
        let read = Read {
            view: View::Context,
            from: 0,
            limit: None,
            revision: None,
        };
        self.context(tip, read).await
    }

    /// Sends what the engine does not hold yet, never more than the window ahead of what is written down.
    async fn send(
        &self,
        tip: &Tip,
        seed: &Seed,
        held: u64,
        sent: &AtomicU64,
        written: watch::Receiver<u64>,
    ) -> Result<(), Over> {
        let mut sending = Sending {
            seed,
            sent,
            silence: self.live.terms.seed_silence,
            skip: held,
            next: 0,
            written,
            batch: Vec::new(),
            bytes: 0,
        };
        let is_answered = self.is_answered(tip).await.map_err(over_of)?;
        let mut dangling = Dangling::default();
        let mut chunks = self.context_messages(tip).await.map_err(over_of)?;
        while let Some(chunk) = chunks.try_next().await.map_err(over_of)? {
            for message in chunk {
                if !is_answered {
                    let missing = dangling
                        .before(&message)
                        .map_err(|error| over_of(damaged(tip)(error)))?;
                    if let Some(missing) = missing {
                        sending.push(missing).await?;
                    }
                }
                sending.push(message).await?;
            }
        }
        if let Some(missing) = dangling.at_end() {
            sending.push(missing).await?;
        }
        sending.flush().await
    }

    /// Writes down what the engine acknowledges, until that is all, and tells how far that is.
    async fn note(
        &self,
        resume: &Resume,
        seed: &Seed,
        sent: &AtomicU64,
        noted: &watch::Sender<u64>,
    ) -> Result<(), Over> {
        let mut written = resume.written;
        while written < resume.total {
            let acked = in_time(self.live.terms.seed_silence, seed.acked_over(written)).await?;
            if acked > sent.load(Ordering::Relaxed) {
                return Err(Over::Failed(fault(
                    "it acknowledged messages that it was not sent",
                )));
            }
            let progress = ResumeCommand::Progress {
                id: resume.id.clone(),
                seed: resume.seed,
                written: acked,
            };
            self.step(resume, progress).await?;
            written = acked;
            noted.send_replace(written);
        }
        Ok(())
    }

    /// The texts of a session's system messages: what a model is told first, where no system prompt says it.
    pub(super) async fn system_prompt(&self, session: &Session) -> Result<String, Error> {
        let tip = &session.tip;
        let mut left = tip.tally.messages - tip.tally.visible;
        let mut texts: Vec<String> = Vec::new();
        let mut after = Seq::ZERO;
        if !session.profile.texts.system_prompt.is_empty() {
            return Ok(String::new());
        }
        while left > 0 && after < tip.seq() {
            let range = Range {
                after,
                to: tip.seq(),
                from: End::Oldest,
            };
            let bound = Bound {
                rows: PAGE_ROWS_MAX,
                bytes: PAGE_BYTES_MAX,
            };
            let rows = self.store.entries(&tip.log, range, bound).await?;
            let Some(last) = rows.last().map(|entry| entry.meta.seq) else {
                break;
            };
            after = last;
            for entry in rows
                .iter()
                .filter(|entry| entry.meta.mark.role == Some(Role::System))
            {
                left -= 1;
                if !entry.meta.mark.in_sub_session {
                    texts.push(body::text_of(&entry.body).map_err(damaged(tip))?);
                }
            }
        }
        let mut prompt = texts.join("\n\n");
        if prompt.len() > PROMPT_BYTES_MAX {
            let end = (0..=PROMPT_BYTES_MAX)
                .rev()
                .find(|at| prompt.is_char_boundary(*at));
            prompt.truncate(end.unwrap_or_default());
        }
        Ok(prompt)
    }
}

/// What an engine holds of a seed that is repeated: what is written down, or more if it says so at once. It may have
/// acknowledged that to a service that died before it wrote it down.
async fn recalled(resume: &Resume, seed: &Seed) -> Result<u64, Over> {
    match tokio::time::timeout(RECALL_TIME, seed.acked_over(resume.written)).await {
        Ok(Ok(held)) if held > most(resume) => Err(Over::Failed(fault(
            "it acknowledged messages that it was not sent",
        ))),
        Ok(Ok(held)) => Ok(held),
        Ok(Err(error)) => Err(over_of(error.into())),
        Err(_) => Ok(resume.written),
    }
}

/// The most that an engine can hold of a seed of which so much is written down.
fn most(resume: &Resume) -> u64 {
    resume.total.min(resume.written + WINDOW_MESSAGES_MAX)
}

/// Messages on their way down.
struct Sending<'a> {
    seed: &'a Seed,
    /// So many are on their way or there, at the most.
    sent: &'a AtomicU64,
    silence: std::time::Duration,
    /// The engine has so many already.
    skip: u64,
    /// The number of the first message of the batch.
    next: u64,
    /// What is acknowledged and written down.
    written: watch::Receiver<u64>,
    batch: Vec<Bytes>,
    bytes: usize,
}

impl Sending<'_> {
    async fn push(&mut self, message: Bytes) -> Result<(), Over> {
        if self.skip > 0 {
            self.skip -= 1;
            self.next += 1;
            return Ok(());
        }
        let full = self.batch.len() >= BATCH_MESSAGES_MAX || self.bytes + message.len() > PAGE_BYTES_MAX;
        if full {
            self.flush().await?;
        }
        self.bytes += message.len();
        self.batch.push(message);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Over> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (first, count) = (self.next, self.batch.len() as u64);
        let has_room = |written: &u64| first + count <= *written + WINDOW_MESSAGES_MAX;
        // Whoever writes it down says when the engine is silent for too long.
        if self.written.wait_for(has_room).await.is_err() {
            return Err(Over::EngineLost);
        }
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        self.next = first + count;
        self.sent.fetch_max(self.next, Ordering::Relaxed);
        in_time(self.silence, self.seed.batch(first, batch)).await
    }
}

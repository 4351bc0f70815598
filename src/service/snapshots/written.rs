//! What of a snapshot is written: entries that come after what is kept, and what the engine says of the conversation.

use std::collections::HashSet;

use crate::body::{self, Given};
use crate::domain::entry::Payload;
use crate::domain::limits::SETTING_CHARS_MAX;
use crate::domain::proposal::{self, Cut, Said, SessionCommand};
use crate::domain::query::{self, Bound};
use crate::domain::session;
use crate::domain::title::Title;
use crate::domain::{
    Command, EntryId, Invalid, Kind, Namespace, NewEntry, Seq, Session, SessionId, Thread, Time, Tip,
};
use crate::engine;

use super::super::context::Relation;
use super::super::staging::Staging;
use super::super::{Error, Service};
use super::{Answer, Snapshot, fault};

impl Service {
    #[expect(clippy::too_many_arguments, reason = "all that a comparison came to")]
    pub(super) async fn command(
        &self,
        ns: &Namespace,
        wanted: &Snapshot,
        fresh: &SessionId,
        answer: &Answer,
        (thread, session): (&Thread, Option<&Session>),
        end: Option<&Tip>,
        relation: Relation,
    ) -> Result<Command, Error> {
        let kept = match (relation, end) {
            (Relation::Diverges { keep, .. }, Some(end)) => Some(Tip {
                log: end.log.clone(),
                tally: self.tally_at(end, keep).await?,
            }),
            (Relation::Diverges { .. } | Relation::Extends { .. } | Relation::Replaces, _) => None,
        };
        let onto = kept.as_ref().or(end);
        let entries = self.entries_of(answer, relation, onto).await?;
        let turn_start = self.turn_start(answer, thread, relation, &entries, onto);
        let cut = match (&kept, end) {
            (Some(kept), Some(end)) => Some(Cut {
                preview: self.preview_at(end, &kept.tally).await?,
                tally: kept.tally.clone(),
            }),
            (Some(_) | None, _) => None,
        };
        let mut staging = Staging::onto(self, ns.clone(), onto);
        for entry in entries {
            staging.push(entry).await?;
        }
        let command = proposal::Snapshot {
            thread: thread.id.clone(),
            journal: answer.thread.journal,
            epoch: answer.thread.epoch,
            items: self.covered(thread).await?,
            requested: wanted.session.clone(),
            fresh: fresh.clone(),
            title: wanted.title.clone(),
            expected: wanted.expected,
            from: session.map(|session| session.tip.clone()),
            cut,
            written: staging.finish().await?,
            said: self.said(&answer.snapshot)?,
            delta: answer.snapshot.delta,
            turn_start,
        };
        Ok(Command::Session(SessionCommand::Snapshot(Box::new(command))))
    }

    /// The entries that a snapshot adds after `onto`. Where one of them is in the log already, beyond what the context
    /// view shows, it cannot be added again: then the whole snapshot becomes a checkpoint.
    async fn entries_of(
        &self,
        answer: &Answer,
        relation: Relation,
        onto: Option<&Tip>,
    ) -> Result<Vec<NewEntry>, Error> {
        let now = self.now();
        let from = match relation {
            Relation::Extends { from } | Relation::Diverges { from, .. } => from,
            Relation::Replaces => return Ok(vec![self.checkpoint(answer, now)?]),
        };
        let mut entries = Vec::new();
        let mut ids: HashSet<EntryId> = HashSet::new();
        for (at, message) in answer.snapshot.messages.iter().enumerate().skip(from) {
            let given = Given {
                id: None,
                create_time: None,
                kind: Kind::Message,
                body: message.clone(),
            };
            let entry = body::entry(given, || self.fresh_id(), now, &self.limits)
                .map_err(|invalid| broken(&invalid, &format!("messages[{at}]")))?;
            if !ids.insert(entry.id.clone()) {
                return Err(fault(&format!("messages[{at}].message_id: is there twice")));
            }
            entries.push(entry);
        }
        let given: Vec<EntryId> = entries
            .iter()
            .filter(|entry| !entry.id_is_fresh)
            .map(|e| e.id.clone())
            .collect();
        if let (Some(onto), false) = (onto, given.is_empty())
            && !self.store.known_entries(onto, &given).await?.is_empty()
        {
            return Ok(vec![self.checkpoint(answer, now)?]);
        }
        Ok(entries)
    }

    fn checkpoint(&self, answer: &Answer, now: Time) -> Result<NewEntry, Error> {
        let given = Given {
            id: None,
            create_time: None,
            kind: Kind::Checkpoint,
            body: body::checkpoint_of(answer.snapshot.messages.clone()),
        };
        let entry = body::entry(given, || self.fresh_id(), now, &self.limits);
        entry.map_err(|invalid| broken(&invalid, "snapshot"))
    }

    /// The last entry before the turn that a snapshot caught running.
    fn turn_start(
        &self,
        answer: &Answer,
        thread: &Thread,
        relation: Relation,
        entries: &[NewEntry],
        onto: Option<&Tip>,
    ) -> Option<Seq> {
        let is_checkpoint = entries
            .first()
            .is_some_and(|entry| entry.payload.kind() == Kind::Checkpoint);
        let from = match relation {
            Relation::Extends { from } | Relation::Diverges { from, .. } if !is_checkpoint => from,
            Relation::Extends { .. } | Relation::Diverges { .. } | Relation::Replaces => return None,
        };
        let (end, active) = (onto.map_or(Seq::ZERO, Tip::seq), thread.active_turn.as_ref());
        if !answer.snapshot.incomplete_turn {
            return None;
        }
        let rest = answer.messages.iter().skip(from);
        let of_turn = rest.zip(entries).position(|(message, entry)| {
            let named = active.is_some_and(|turn| turn.as_str() == message.turn);
            named || (active.is_none() && is_user_message(entry))
        });
        let first_user = || entries.iter().position(is_user_message);
        match of_turn.or_else(first_user) {
            Some(at) => Some(Seq(end.0 + at as u64)),
            None => onto.map(|tip| Seq(tip.tally.last_user_text.0.saturating_sub(1))),
        }
    }

    /// The last item that a snapshot taken now covers: those of a turn that runs may still change.
    async fn covered(&self, thread: &Thread) -> Result<Seq, Error> {
        let Some(turn) = &thread.active_turn else {
            return Ok(Seq(thread.items));
        };
        let query = query::Items {
            turn: Some(turn.clone()),
            after: Seq::ZERO,
        };
        let first = self
            .store
            .items(thread.journal, &query, Bound { rows: 1, bytes: 0 })
            .await?;
        Ok(first
            .first()
            .map_or(Seq(thread.items), |item| Seq(item.seq.0 - 1)))
    }

    fn said(&self, snapshot: &engine::Snapshot) -> Result<Said, Error> {
        let max = self.limits.text_bytes_max;
        if snapshot.system_prompt.len() > max {
            return Err(fault("snapshot.system_prompt: is too long"));
        }
        body::well_formed(&snapshot.settings_json, "snapshot.settings_json", max)
            .map_err(|invalid| broken(&invalid, ""))?;
        let title = Title::parse(&snapshot.title, "snapshot.title", self.limits.title_chars_max);
        Ok(Said {
            usage: snapshot.usage,
            provider: short("provider", &snapshot.provider)?,
            model: short("model", &snapshot.model)?,
            mode: short("mode", &snapshot.mode)?,
            workspace: session::workspace(&short("workspace", &snapshot.workspace)?),
            system_prompt: snapshot.system_prompt.clone(),
            settings_json: snapshot.settings_json.clone(),
            // A title that cannot be one is none: it is worth less than the snapshot.
            title: title.ok(),
            incomplete_turn: snapshot.incomplete_turn,
        })
    }
}

fn is_user_message(entry: &NewEntry) -> bool {
    match &entry.payload {
        Payload::Message(facts) => facts.is_user_message() && !facts.in_sub_session,
        Payload::Checkpoint | Payload::Event => false,
    }
}

fn short(field: &str, value: &str) -> Result<String, Error> {
    if value.chars().count() > SETTING_CHARS_MAX {
        return Err(fault(&format!("snapshot.{field}: is too long")));
    }
    Ok(value.to_owned())
}

fn broken(invalid: &Invalid, within: &str) -> Error {
    let dot = if within.is_empty() { "" } else { "." };
    fault(&format!("{within}{dot}{invalid}"))
}

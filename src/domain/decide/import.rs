//! Making sessions of a transcript visible. Its entries are staged or come with the command; how they stand to the
//! sessions that came from the same source was found out on a reader, and holds only while those are what they were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Ruling;
use super::append::{Moved, derived, head, unmoved};
use super::save::{Made, appended, made_on};
use super::session::{free, writable};
use crate::domain::effect::Effect;
use crate::domain::error::{Invalid, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{LogId, Namespace, Revision, SessionId};
use crate::domain::limits::IMPORT_BRANCHES_MAX;
use crate::domain::outcome::Outcome;
use crate::domain::path::{PARTS_HARD_MAX, Tip};
use crate::domain::proposal::{Import, Imported, Place, Restored, Used};
use crate::domain::session::{Origin, Profile, Session, State};
use crate::domain::tally::Tally;
use crate::domain::time::Time;
use crate::domain::title::{ForkName, TitleSource};

pub(super) fn import(facts: &Facts, ns: &Namespace, import: &Import, now: Time) -> Ruling {
    let mut effects = Vec::new();
    let mut taken = Taken::default();
    for imported in &import.sessions {
        unchanged_source(facts, ns, imported)?;
        let (more, id) = match &imported.place {
            Place::New { id } => (made(facts, ns, id, imported, now)?, id),
            Place::After { session, from } => (extended(facts, ns, session, from, imported, now)?, session),
            Place::Branch {
                session,
                log,
                cut,
                preview,
                id,
            } => {
                let fork = Branch {
                    log: *log,
                    cut,
                    preview,
                };
                let effects = branched(facts, ns, (session, id), &fork, imported, &mut taken, now)?;
                (effects, id)
            }
        };
        if !taken.ids.insert(id) {
            return Err(moved(id));
        }
        effects.extend(more);
    }
    Ok((effects, Outcome::Imported(import.sum.clone())))
}

/// What the sessions before this one in the same command have taken.
#[derive(Default)]
struct Taken<'a> {
    ids: BTreeSet<&'a SessionId>,
    numbers: BTreeMap<String, u64>,
}

/// Where a fork is cut.
struct Branch<'a> {
    log: LogId,
    cut: &'a Tally,
    preview: &'a str,
}

fn moved(session: &SessionId) -> Refusal {
    Refusal::Moved {
        session: session.clone(),
    }
}

/// The sessions of a source are those that the transcript was compared with.
fn unchanged_source(facts: &Facts, ns: &Namespace, imported: &Imported) -> Result<(), Refusal> {
    let Some(source) = &imported.source else {
        return Ok(());
    };
    let there = facts.imported(ns, source).map_or(&[][..], Vec::as_slice);
    if there == imported.seen {
        return Ok(());
    }
    let (Place::New { id } | Place::After { session: id, .. } | Place::Branch { id, .. }) = &imported.place;
    Err(moved(id))
}

fn made(
    facts: &Facts,
    ns: &Namespace,
    id: &SessionId,
    imported: &Imported,
    now: Time,
) -> Result<Vec<Effect>, Refusal> {
    free(facts, ns, id)?;
    let (mut effects, made) = made_on(facts, None, &imported.written)?;
    let restored = &imported.restored;
    let (title, title_source) = titled(restored, &made);
    let profile = Profile {
        title,
        title_source,
        state: if restored.archive_time.is_some() {
            State::Archived
        } else {
            State::Active
        },
        starred: restored.starred,
        origin: restored.origin.clone(),
        parent: restored.parent.clone(),
        incomplete_turn: restored.incomplete_turn,
        create_time: restored.create_time.unwrap_or(now),
        archive_time: restored.archive_time,
        ..plain(imported, now)
    };
    let session = Session {
        namespace: ns.clone(),
        id: id.clone(),
        profile: Arc::new(used(profile, &made.tip.tally, restored.usage)),
        preview: made.preview.unwrap_or_default(),
        tip: made.tip,
        revision: Revision::FIRST,
        generation: 1,
        update_time: restored.update_time.unwrap_or(now),
    };
    effects.push(Effect::PutSession(Arc::new(session)));
    Ok(effects)
}

/// The session goes on. Its facts stay, but for what belongs to its log.
fn extended(
    facts: &Facts,
    ns: &Namespace,
    id: &SessionId,
    from: &Tip,
    imported: &Imported,
    now: Time,
) -> Result<Vec<Effect>, Refusal> {
    let session = writable(facts, ns, id)?;
    unmoved(session, from)?;
    let (mut effects, after) = appended(facts, session, &imported.written, now)?;
    let (Moved::Head(after) | Moved::Whole(after)) = after;
    let restored = &imported.restored;
    let profile = Profile {
        incomplete_turn: restored.incomplete_turn,
        arrival: Some(now),
        ..used(Profile::clone(&after.profile), &after.tip.tally, restored.usage)
    };
    let same = profile == *session.profile;
    let after = Session {
        profile: if same { after.profile } else { Arc::new(profile) },
        update_time: restored.update_time.unwrap_or(now).max(session.update_time),
        ..after
    };
    effects.push(head(if same {
        Moved::Head(after)
    } else {
        Moved::Whole(after)
    }));
    Ok(effects)
}

fn branched<'a>(
    facts: &Facts,
    ns: &Namespace,
    (source, id): (&SessionId, &SessionId),
    branch: &Branch<'_>,
    imported: &Imported,
    taken: &mut Taken<'a>,
    now: Time,
) -> Result<Vec<Effect>, Refusal> {
    let source = writable(facts, ns, source)?;
    free(facts, ns, id)?;
    if source.tip.log.id != branch.log || branch.cut.entries > source.tip.tally.entries {
        return Err(moved(&source.id));
    }
    if imported.seen.len() >= IMPORT_BRANCHES_MAX {
        return Err(Invalid::limit("source", "branches of one source", IMPORT_BRANCHES_MAX as u64).into());
    }
    let kept = Tip {
        log: source.tip.log.clone(),
        tally: branch.cut.clone(),
    };
    let (mut effects, made) = made_on(facts, Some(&kept), &imported.written)?;
    if made.tip.log.path.parts().len() > PARTS_HARD_MAX {
        return Err(Invalid::limit("source", "forks of forks", PARTS_HARD_MAX as u64).into());
    }
    let (title, title_source) = titled(&imported.restored, &made);
    let of_source = &source.profile.origin;
    let profile = Profile {
        title: numbered(facts, ns, &source.profile.title, title, taken),
        title_source,
        origin: Some(Origin {
            session: source.id.clone(),
            entry_seq: branch.cut.entries,
            message_count: branch.cut.visible,
            root: of_source
                .as_ref()
                .map_or_else(|| source.id.clone(), |origin| origin.root.clone()),
            depth: of_source
                .as_ref()
                .map_or(1, |origin| origin.depth.saturating_add(1)),
        }),
        inherited_cost_micros: branch.cut.usage.cost_micros,
        incomplete_turn: imported.restored.incomplete_turn,
        ..plain(imported, now)
    };
    let session = Session {
        namespace: ns.clone(),
        id: id.clone(),
        profile: Arc::new(profile),
        preview: made.preview.unwrap_or_else(|| branch.preview.to_owned()),
        tip: made.tip,
        revision: Revision::FIRST,
        generation: 1,
        update_time: now,
    };
    effects.push(Effect::PutSession(Arc::new(session)));
    Ok(effects)
}

/// What every session that an import makes has of its transcript.
fn plain(imported: &Imported, now: Time) -> Profile {
    let Restored {
        setting,
        labels,
        texts,
        ..
    } = &imported.restored;
    Profile {
        title: String::new(),
        title_source: TitleSource::Derived,
        setting: setting.clone(),
        labels: labels.clone(),
        texts: texts.clone(),
        state: State::Active,
        starred: false,
        thread: None,
        origin: None,
        parent: None,
        source: imported.source.clone(),
        usage_total: None,
        inherited_cost_micros: 0,
        incomplete_turn: false,
        create_time: now,
        archive_time: None,
        arrival: Some(now),
        deletion: None,
    }
}

/// The title that the transcript has, else one derived from what was said.
fn titled(restored: &Restored, made: &Made) -> (String, TitleSource) {
    restored.title.clone().unwrap_or_else(|| {
        let has_messages = made.tip.tally.messages > 0;
        let title = derived("", TitleSource::Derived, made.title.as_deref(), has_messages);
        (title.unwrap_or_default(), TitleSource::Derived)
    })
}

/// A fork that would have its source's title gets the next number, as every fork does.
fn numbered(facts: &Facts, ns: &Namespace, of_source: &str, title: String, taken: &mut Taken<'_>) -> String {
    let name = ForkName::of(&title);
    if title.is_empty() || title != of_source {
        return title;
    }
    let stored = facts.highest_fork(ns, name.key()).unwrap_or(0);
    let last = taken.numbers.entry(name.key().to_owned()).or_insert(stored);
    *last = last.saturating_add(1);
    let number = *last;
    ForkName { number, ..name }.title()
}

/// What the transcript says was used. A sum that the messages do not give, as where lines were left out, is theirs.
fn used(profile: Profile, tally: &Tally, usage: Option<Used>) -> Profile {
    let (usage_total, inherited_cost_micros) = match usage {
        None => (profile.usage_total, profile.inherited_cost_micros),
        Some(Used::Told(usage)) => (Some(usage), profile.inherited_cost_micros),
        Some(Used::Summed(usage)) => {
            let mut sum = tally.usage;
            let inherited = sum.cost_micros.checked_sub(usage.cost_micros);
            sum.cost_micros = usage.cost_micros;
            match inherited.filter(|_| sum == usage) {
                Some(inherited) => (None, inherited),
                None => (None, profile.inherited_cost_micros),
            }
        }
    };
    Profile {
        usage_total,
        inherited_cost_micros,
        ..profile
    }
}

//! Making a session that starts at a cut in another one: two rows, whatever the length.

use std::sync::Arc;

use super::Ruling;
use super::rewind::past_head;
use super::session::{free, writable};
use crate::domain::effect::Effect;
use crate::domain::error::{Invalid, Refusal};
use crate::domain::facts::Facts;
use crate::domain::id::{Namespace, Revision};
use crate::domain::outcome::Outcome;
use crate::domain::path::{PARTS_HARD_MAX, Tip};
use crate::domain::proposal::Fork;
use crate::domain::session::{Origin, Profile, Session, State, Texts};
use crate::domain::time::Time;
use crate::domain::title::{ForkName, TitleSource};

pub(super) fn fork(facts: &Facts, ns: &Namespace, fork: &Fork, now: Time) -> Ruling {
    let source = writable(facts, ns, &fork.source)?;
    free(facts, ns, &fork.id)?;
    let tip = match fork.revision {
        Some(revision) => &past_head(facts, ns, source, revision)?.tip,
        None => &source.tip,
    };
    if tip.log.id != fork.source_log || fork.cut.entries > tip.tally.entries {
        return Err(Refusal::Moved {
            session: source.id.clone(),
        });
    }
    let log = Arc::new(tip.log.child(fork.log, &fork.cut));
    if log.path.parts().len() > PARTS_HARD_MAX {
        return Err(Invalid::limit("session_id", "forks of forks", PARTS_HARD_MAX as u64).into());
    }
    let session = Session {
        namespace: ns.clone(),
        id: fork.id.clone(),
        profile: Arc::new(profile(facts, ns, source, fork, now)),
        tip: Tip {
            log: log.clone(),
            tally: fork.cut.clone(),
        },
        revision: Revision::FIRST,
        preview: fork.preview.clone(),
        generation: 1,
        update_time: now,
    };
    let effects = vec![Effect::OpenLog(log), Effect::PutSession(Arc::new(session))];
    let outcome = Outcome::Forked {
        session: fork.id.clone(),
        source: source.id.clone(),
        removed: fork.removed.clone(),
    };
    Ok((effects, outcome))
}

fn profile(facts: &Facts, ns: &Namespace, source: &Session, fork: &Fork, now: Time) -> Profile {
    let of_source = &source.profile;
    let (title, title_source) = match &fork.title {
        Some(title) => (title.as_str().to_owned(), TitleSource::User),
        None if of_source.title.is_empty() => (String::new(), TitleSource::Derived),
        None => (numbered(facts, ns, &of_source.title), TitleSource::Derived),
    };
    let origin = Origin {
        session: source.id.clone(),
        entry_seq: fork.cut.entries,
        message_count: fork.cut.visible,
        root: of_source
            .origin
            .as_ref()
            .map_or_else(|| source.id.clone(), |origin| origin.root.clone()),
        depth: of_source.origin.as_ref().map_or(1, |origin| origin.depth + 1),
    };
    Profile {
        title,
        title_source,
        setting: of_source.setting.clone(),
        labels: of_source.labels.clone(),
        texts: Arc::new(Texts {
            metadata_json: String::new(),
            ..Texts::clone(&of_source.texts)
        }),
        state: State::Active,
        starred: false,
        thread: None,
        origin: Some(origin),
        parent: None,
        source: None,
        usage_total: None,
        inherited_cost_micros: fork.cut.usage.cost_micros,
        incomplete_turn: false,
        create_time: now,
        archive_time: None,
        arrival: None,
        deletion: None,
    }
}

/// The base title of the source, and one more than the highest number any title of that base has.
fn numbered(facts: &Facts, ns: &Namespace, title: &str) -> String {
    let name = ForkName::of(title);
    let number = facts.highest_fork(ns, name.key()).unwrap_or(0).saturating_add(1);
    ForkName { number, ..name }.title()
}

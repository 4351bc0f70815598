//! The thread that a resume makes of a session: shown to an engine before it is seeded, written when it is seated.

use super::id::Seq;
use super::proposal::Seat;
use super::resume::Resume;
use super::session::{Session, Setting};
use super::thread::{self, Draft, SaveMark, Texts, Thread};
use super::time::Time;

/// The mode of a thread where neither the request nor the session names one.
const MODE: &str = "agent";

/// The thread with the session's log as its base and no turns of its own.
pub fn seated(resume: &Resume, session: &Session, seat: &Seat, before: Option<&Thread>, now: Time) -> Thread {
    let draft = draft(resume, session, seat);
    let fresh = Thread::new(&resume.namespace, &resume.thread, seat.journal, &draft, now);
    let tip = &session.tip;
    let mark = SaveMark {
        session: session.id.clone(),
        log: tip.log.holder(tip.seq()),
        seq: tip.seq(),
        messages: tip.tally.messages,
        item: Seq(tip.tally.items),
        turn_start: None,
    };
    Thread {
        base: Some(tip.clone()),
        session: Some(session.id.clone()),
        turns: tip.tally.turns,
        items: tip.tally.items,
        marks: vec![mark],
        change: before.map_or(1, |before| before.change + 1),
        create_time: before.map_or(now, |before| before.create_time),
        ..fresh
    }
}

fn draft(resume: &Resume, session: &Session, seat: &Seat) -> Draft {
    let profile = &session.profile;
    let or = |wished: &Option<String>, known: &str, default: &str| {
        let known = if known.is_empty() { default } else { known };
        wished.clone().unwrap_or_else(|| known.to_owned())
    };
    let setting = Setting {
        model: or(&resume.wish.model, &profile.setting.model, ""),
        mode: or(&resume.wish.mode, &profile.setting.mode, MODE),
        task_type: or(&resume.wish.task_type, &profile.setting.task_type, ""),
        ..profile.setting.clone()
    };
    let system_prompt = if profile.texts.system_prompt.is_empty() {
        seat.system_prompt.clone()
    } else {
        profile.texts.system_prompt.clone()
    };
    Draft {
        title: profile.title.clone(),
        setting,
        labels: profile.labels.clone(),
        texts: Texts {
            system_prompt,
            settings_json: profile.texts.settings_json.clone(),
        },
        state: thread::State::Open,
    }
}

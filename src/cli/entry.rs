//! The entries of a log as a person reads them: messages, and in one line each what is no message.

use std::io::{self, Write};

use super::term::{Look, line};
use super::transcript::{Detail, Transcript};
use super::when;
use crate::pb::client::entry::Payload;
use crate::pb::client::{self as pb};

/// Characters of an event's data that are shown unless everything is asked for.
const DATA_CHARS: usize = 200;

/// How a log is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    look: Look,
    detail: Detail,
    transcript: Transcript,
}

impl Log {
    /// Prints as `look` says.
    pub(crate) fn new(look: Look, detail: Detail) -> Self {
        Self {
            look,
            detail,
            transcript: Transcript::new(look, detail),
        }
    }

    /// Prints an entry; its seq stands beside it.
    pub(crate) fn entry(self, out: &mut dyn Write, entry: &pb::Entry) -> io::Result<()> {
        let seq = entry.seq.to_string();
        let (name, told) = match &entry.payload {
            Some(Payload::Message(message)) => return self.transcript.message(out, message, &seq),
            Some(Payload::Checkpoint(checkpoint)) => ("checkpoint", context(checkpoint)),
            Some(Payload::Event(event)) => ("event", self.event(event)),
            None => (
                "?",
                "an entry of a kind that this version does not know".to_owned(),
            ),
        };
        let time = when::exact(entry.create_time.as_ref());
        let beside = [seq, time].map(|part| line(&part)).join("  ");
        writeln!(out, "{name}  {}\n  {told}\n", self.look.dim(&beside))
    }

    fn event(self, event: &pb::Event) -> String {
        let data = match self.detail {
            Detail::Whole => event.data_json.clone(),
            Detail::Cut => super::term::cut(&event.data_json, DATA_CHARS),
        };
        let parts = [&event.r#type, &event.event_id, &event.stream_id, &data].map(|part| line(part));
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("  ")
    }
}

fn context(checkpoint: &pb::Checkpoint) -> String {
    if checkpoint.summary_message_id.is_empty() || !checkpoint.context.is_empty() {
        let messages = super::show::count(checkpoint.context.len() as u64, "message");
        return format!("the context starts anew with {messages}");
    }
    let summary = line(&checkpoint.summary_message_id);
    match line(&checkpoint.last_message_id) {
        last if last.is_empty() => format!("the context starts anew with {summary}"),
        last => format!("the context starts anew with {summary}, then what follows {last}"),
    }
}

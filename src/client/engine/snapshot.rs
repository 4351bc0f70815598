//! What is sent of a snapshot: the rest alone where the service has the beginning, in parts that fit a frame. Pure.

use prost::Message as _;

use crate::pb::client as pb;
use crate::pb::client::snapshot_reply::Result as Answer;

/// Bytes of messages in one part: under 2 MiB with what stands around them.
const PART_BYTES_MAX: usize = (2 << 20) - (64 << 10);
/// Bytes that a message takes beside its own.
const FIELD_BYTES: usize = 8;

/// The replies that answer `ask` with `snapshot`, in order. The facts stand in the last one.
pub(super) fn replies(ask: &pb::SnapshotRequest, mut snapshot: pb::EngineSnapshot) -> Vec<pb::SnapshotReply> {
    if let Some(known) = known(ask, &snapshot.messages) {
        snapshot.messages.drain(..known);
        snapshot.delta = true;
    }
    let mut parts = parts(std::mem::take(&mut snapshot.messages));
    snapshot.messages = parts.pop().unwrap_or_default();
    let others = parts.into_iter().map(|messages| pb::EngineSnapshot {
        messages,
        ..Default::default()
    });
    let mut replies: Vec<pb::SnapshotReply> = others
        .chain([snapshot])
        .map(|part| pb::SnapshotReply {
            ask_id: ask.ask_id.clone(),
            last: false,
            result: Some(Answer::Snapshot(part)),
        })
        .collect();
    if let Some(last) = replies.last_mut() {
        last.last = true;
    }
    replies
}

/// How many of the messages the service has already: those up to the one it names, if that stands in its place.
fn known(ask: &pb::SnapshotRequest, messages: &[pb::Message]) -> Option<usize> {
    let known = usize::try_from(ask.known_messages).ok()?;
    let last = messages.get(known.checked_sub(1)?)?;
    (last.message_id == ask.known_last_message_id).then_some(known)
}

/// Messages in order, as many as fit together; one that is larger stands alone.
fn parts(messages: Vec<pb::Message>) -> Vec<Vec<pb::Message>> {
    let mut parts: Vec<Vec<pb::Message>> = Vec::new();
    let mut room = 0;
    for message in messages {
        let bytes = message.encoded_len() + FIELD_BYTES;
        match parts.last_mut().filter(|_| bytes <= room) {
            Some(part) => {
                room -= bytes;
                part.push(message);
            }
            None => {
                room = PART_BYTES_MAX.saturating_sub(bytes);
                parts.push(vec![message]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, bytes: usize) -> pb::Message {
        pb::Message {
            message_id: id.into(),
            metadata_json: "x".repeat(bytes),
            ..Default::default()
        }
    }

    fn ids(replies: &[pb::SnapshotReply]) -> Vec<Vec<String>> {
        let snapshots = replies.iter().map(|reply| match &reply.result {
            Some(Answer::Snapshot(part)) => part.messages.iter().map(|one| one.message_id.clone()).collect(),
            Some(Answer::Error(_)) | None => panic!("{reply:?}"),
        });
        snapshots.collect()
    }

    fn last(replies: &[pb::SnapshotReply]) -> pb::EngineSnapshot {
        match replies.last().and_then(|reply| reply.result.clone()) {
            Some(Answer::Snapshot(part)) => part,
            Some(Answer::Error(_)) | None => panic!("{replies:?}"),
        }
    }

    fn snapshot(messages: Vec<pb::Message>) -> pb::EngineSnapshot {
        pb::EngineSnapshot {
            messages,
            model: "m".into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_rest_alone_is_sent_where_the_beginning_is_the_same() {
        for (known, id, expected, delta) in [
            (0, "", vec!["a", "b", "c"], false),
            (2, "b", vec!["c"], true),
            (3, "c", vec![], true),
            (2, "x", vec!["a", "b", "c"], false),
            (4, "c", vec!["a", "b", "c"], false),
            (u64::MAX, "c", vec!["a", "b", "c"], false),
        ] {
            let ask = pb::SnapshotRequest {
                ask_id: "ask".into(),
                known_messages: known,
                known_last_message_id: id.into(),
                ..Default::default()
            };
            let replies = replies(&ask, snapshot(["a", "b", "c"].map(|id| message(id, 1)).to_vec()));
            assert_eq!(ids(&replies), [expected], "{known} {id}");
            assert_eq!((last(&replies).delta, &*last(&replies).model), (delta, "m"));
            assert!(replies[0].last && replies[0].ask_id == "ask");
        }
    }

    #[test]
    fn parts_fit_a_frame_and_a_large_message_stands_alone() {
        let messages = vec![
            message("a", 1 << 20),
            message("b", 1 << 19),
            message("c", 3 << 20),
            message("d", 1),
        ];
        let replies = replies(&pb::SnapshotRequest::default(), snapshot(messages));
        assert_eq!(ids(&replies), [vec!["a", "b"], vec!["c"], vec!["d"]]);
        assert!(
            replies
                .iter()
                .all(|reply| reply.encoded_len() < 2 << 20 || ids(std::slice::from_ref(reply)) == [["c"]])
        );
        assert_eq!(
            replies.iter().map(|reply| reply.last).collect::<Vec<_>>(),
            [false, false, true]
        );
    }
}

//! Small values, from the wire and to it.

use prost_types::Timestamp;

use crate::domain::turn::{ItemKind, Status};
use crate::domain::{Invalid, Role, Time, Usage};
use crate::pb;

const NANOS: i64 = 1_000_000_000;

/// A point in time. The service keeps the years 1678 to 2262.
pub fn time(value: &Timestamp, field: &str) -> Result<Time, Invalid> {
    let out_of_range = || {
        Invalid::new(
            field,
            "a time lies in the years 1678 to 2261, with nanos below 1e9",
        )
    };
    let nanos = i64::from(value.nanos);
    if !(0..NANOS).contains(&nanos) {
        return Err(out_of_range());
    }
    let time = value
        .seconds
        .checked_mul(NANOS)
        .and_then(|time| time.checked_add(nanos));
    time.map(Time).ok_or_else(out_of_range)
}

/// A point in time that may be absent.
pub fn optional_time(value: Option<&Timestamp>, field: &str) -> Result<Option<Time>, Invalid> {
    value.map(|value| time(value, field)).transpose()
}

/// A point in time, for the wire.
pub fn timestamp(time: Time) -> Timestamp {
    // A remainder of a billion fits.
    let nanos = i32::try_from(time.0.rem_euclid(NANOS)).unwrap_or_default();
    Timestamp {
        seconds: time.0.div_euclid(NANOS),
        nanos,
    }
}

/// What was used.
pub fn usage(value: &pb::Usage) -> Usage {
    let &pb::Usage {
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_micros,
    } = value;
    Usage {
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_micros,
    }
}

/// What was used, for the wire.
pub fn usage_to_pb(value: Usage) -> pb::Usage {
    let Usage {
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_micros,
    } = value;
    pb::Usage {
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_micros,
    }
}

/// Who speaks; `None` for UNSPECIFIED and for what this version does not know.
pub fn role(value: i32) -> Option<Role> {
    match pb::Role::try_from(value).ok()? {
        pb::Role::Unspecified => None,
        pb::Role::User => Some(Role::User),
        pb::Role::Assistant => Some(Role::Assistant),
        pb::Role::System => Some(Role::System),
        pb::Role::Tool => Some(Role::Tool),
    }
}

/// Who speaks, for the wire.
pub fn role_to_pb(value: Role) -> pb::Role {
    match value {
        Role::User => pb::Role::User,
        Role::Assistant => pb::Role::Assistant,
        Role::System => pb::Role::System,
        Role::Tool => pb::Role::Tool,
    }
}

/// How far a turn or an item is; `None` for UNSPECIFIED and for what this version does not know.
pub fn status(value: i32) -> Option<Status> {
    match pb::TurnStatus::try_from(value).ok()? {
        pb::TurnStatus::Unspecified => None,
        pb::TurnStatus::Queued => Some(Status::Queued),
        pb::TurnStatus::InProgress => Some(Status::InProgress),
        pb::TurnStatus::Completed => Some(Status::Completed),
        pb::TurnStatus::Failed => Some(Status::Failed),
        pb::TurnStatus::Interrupted => Some(Status::Interrupted),
        pb::TurnStatus::Canceled => Some(Status::Canceled),
    }
}

/// How far a turn or an item is, for the wire.
pub fn status_to_pb(value: Status) -> pb::TurnStatus {
    match value {
        Status::Queued => pb::TurnStatus::Queued,
        Status::InProgress => pb::TurnStatus::InProgress,
        Status::Completed => pb::TurnStatus::Completed,
        Status::Failed => pb::TurnStatus::Failed,
        Status::Interrupted => pb::TurnStatus::Interrupted,
        Status::Canceled => pb::TurnStatus::Canceled,
    }
}

/// What an item is; `None` for UNSPECIFIED and for what this version does not know.
pub fn item_kind(value: i32) -> Option<ItemKind> {
    match pb::ItemKind::try_from(value).ok()? {
        pb::ItemKind::Unspecified => None,
        pb::ItemKind::UserMessage => Some(ItemKind::UserMessage),
        pb::ItemKind::AgentMessage => Some(ItemKind::AgentMessage),
        pb::ItemKind::AgentReasoning => Some(ItemKind::AgentReasoning),
        pb::ItemKind::ToolCall => Some(ItemKind::ToolCall),
        pb::ItemKind::ToolResult => Some(ItemKind::ToolResult),
        pb::ItemKind::FileChange => Some(ItemKind::FileChange),
        pb::ItemKind::CommandExecution => Some(ItemKind::CommandExecution),
        pb::ItemKind::ContextCompaction => Some(ItemKind::ContextCompaction),
        pb::ItemKind::Status => Some(ItemKind::Status),
        pb::ItemKind::Error => Some(ItemKind::Error),
    }
}

/// What an item is, for the wire.
pub fn item_kind_to_pb(value: ItemKind) -> pb::ItemKind {
    match value {
        ItemKind::UserMessage => pb::ItemKind::UserMessage,
        ItemKind::AgentMessage => pb::ItemKind::AgentMessage,
        ItemKind::AgentReasoning => pb::ItemKind::AgentReasoning,
        ItemKind::ToolCall => pb::ItemKind::ToolCall,
        ItemKind::ToolResult => pb::ItemKind::ToolResult,
        ItemKind::FileChange => pb::ItemKind::FileChange,
        ItemKind::CommandExecution => pb::ItemKind::CommandExecution,
        ItemKind::ContextCompaction => pb::ItemKind::ContextCompaction,
        ItemKind::Status => pb::ItemKind::Status,
        ItemKind::Error => pb::ItemKind::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds_and_their_range() {
        for time_ns in [0, 1, -1, i64::MAX, i64::MIN, 1_700_000_000_123_456_789] {
            let there = timestamp(Time(time_ns));
            let back = time(&there, "create_time");
            // The very first second of the range cannot be written as whole seconds and positive nanos.
            let expected = (time_ns != i64::MIN).then_some(Time(time_ns));
            assert_eq!(back.ok(), expected);
        }
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (-10_000_000_000, 0)] {
            assert!(time(&Timestamp { seconds, nanos }, "create_time").is_err());
        }
    }
}

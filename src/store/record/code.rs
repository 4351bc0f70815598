//! Enums as small numbers. A number is never given to anything else.

use super::Damage;
use crate::domain::entry::Kind;
use crate::domain::message::Role;
use crate::domain::title::TitleSource;
use crate::domain::turn::{ItemKind, Status};
use crate::domain::{resume, session, thread};

/// An enum whose variants have numbers.
pub(crate) trait Code: Sized {
    /// The number of a variant.
    fn code(self) -> i64;

    /// The variant of a number.
    fn from_code(code: i64) -> Result<Self, Damage>;
}

macro_rules! codes {
    ($ty:ty { $($variant:ident = $code:literal),* $(,)? }) => {
        impl Code for $ty {
            fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            fn from_code(code: i64) -> Result<Self, Damage> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    other => Err(Damage::new(format_args!("no {} is {other}", stringify!($ty)))),
                }
            }
        }
    };
}

codes!(session::State { Active = 0, Archived = 1, Deleted = 2 });
codes!(thread::State { Open = 0, Closed = 1, Archived = 2 });
codes!(resume::State { Queued = 0, Seeding = 1, Ready = 2, Failed = 3, Canceled = 4 });
codes!(TitleSource { Derived = 0, User = 1, Engine = 2 });
codes!(Kind { Message = 0, Checkpoint = 1, Event = 2 });
codes!(Role { User = 1, Assistant = 2, System = 3, Tool = 4 });
codes!(Status { Queued = 0, InProgress = 1, Completed = 2, Failed = 3, Interrupted = 4, Canceled = 5 });
codes!(ItemKind {
    UserMessage = 0,
    AgentMessage = 1,
    AgentReasoning = 2,
    ToolCall = 3,
    ToolResult = 4,
    FileChange = 5,
    CommandExecution = 6,
    ContextCompaction = 7,
    Status = 8,
    Error = 9,
});

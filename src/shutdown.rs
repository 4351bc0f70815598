//! When a process is asked to stop.
//!
//! The first SIGINT or SIGTERM asks for a shutdown in good order; whoever waits for the next one learns that nobody
//! wants to wait for that. [`crate::server::Running::shutdown`] is what happens in between.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The requests to stop that reach this process.
#[derive(Debug)]
pub struct Requests {
    interrupt: Signal,
    terminate: Signal,
}

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGINT: a person at the keyboard.
    Interrupt,
    /// SIGTERM: whoever started the process.
    Terminate,
}

impl Requests {
    /// Takes the signals over: from now on they end the process only through this.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::Interrupt,
            _ = self.terminate.recv() => Request::Terminate,
        }
    }
}

impl Request {
    /// The exit code by which a shell tells that a process ended by this signal.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
        }
    }
}

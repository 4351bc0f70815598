//! The gRPC services: thin handlers between the wire and the use cases.
//!
//! A handler takes the frame off a request (`frame`), turns the rest into what a use case takes (`convert`), calls it,
//! and turns the answer back. Whatever fails becomes a status in one place (`status`). Nothing here decides, keeps or
//! remembers anything.

use std::sync::Arc;

use crate::cluster::Peers;
use crate::service::Service;

pub mod auth;
pub mod edge;
pub mod status;

mod convert;
mod cursor;
mod engine_service;
mod forward;
mod frame;
mod page_token;
mod repair;
mod session_service;
mod stream;
mod thread_service;

/// `sessiond.v1.SessionService`.
#[derive(Clone, Debug)]
pub struct Sessions {
    service: Service,
    peers: Option<Arc<Peers>>,
}

impl Sessions {
    /// The service's sessions.
    pub fn new(service: Service) -> Self {
        Self { service, peers: None }
    }

    /// The same; calls that need an engine of another replica are passed on to it.
    #[must_use]
    pub fn with_peers(mut self, peers: Arc<Peers>) -> Self {
        self.peers = Some(peers);
        self
    }
}

/// `sessiond.v1.ThreadService`.
#[derive(Clone, Debug)]
pub struct Threads {
    service: Service,
}

impl Threads {
    /// The service's threads.
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

/// `sessiond.v1.EngineService`.
#[derive(Clone, Debug)]
pub struct Engines {
    service: Service,
}

impl Engines {
    /// The service's engines.
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

#[cfg(test)]
mod tests;

//! sessiond keeps the conversations of AI agents: it saves them while they run, forks them where a person wants to
//! try another question, and resumes them anywhere, with every step of the way streamed over gRPC.
//!
//! The binary is a thin shell around this library, so that a Rust host can embed the same service in its own process.
//! The wire contract is the protos under `proto/sessiond/v1`; [`pb`] holds the types generated from them.

pub mod api;
pub mod body;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod domain;
pub mod engine;
pub mod formats;
pub mod pb;
pub mod server;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod upkeep;
pub mod watchers;

//! The whole server over the wire: every test here talks gRPC to a `sessiond` process, or runs its command line.
//!
//! One module a noun. Most tests share one server and keep to a namespace of their own; tests that kill, stop or starve
//! a server have their own. Nothing sleeps to wait for an effect: `support::wait` asks until a deadline.
#![expect(
    clippy::unwrap_used,
    reason = "the whole crate is tests: a panic is how they fail"
)]

mod support;

mod backup;
mod check;
mod cli;
mod cluster;
mod conversations;
mod copies;
mod crash;
mod database;
mod deadlines;
mod discovery;
mod engines;
mod entries;
mod forks;
mod history;
mod outage;
mod requests;
mod restart;
mod retention;
mod saves;
mod search;
mod sessions;
mod shutdown;
mod threads;
mod tidy;
mod transfer;
mod trees;
mod trouble;
mod watches;

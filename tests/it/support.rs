//! What the tests stand on: a server process, clients of it, builders, and what an error says.

pub(crate) mod build;
pub(crate) mod client;
pub(crate) mod disk;
pub(crate) mod engine;
pub(crate) mod failure;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod postgres;
pub(crate) mod raw;
pub(crate) mod resume;
pub(crate) mod rng;
pub(crate) mod server;
pub(crate) mod transfer;
pub(crate) mod wait;
pub(crate) mod watch;

pub(crate) use client::{Client, fresh};
pub(crate) use engine::Wire;
pub(crate) use failure::{Failure, invalid, refused};
pub(crate) use link::Link;
pub(crate) use network::Network;
pub(crate) use postgres::Cluster;
pub(crate) use server::{Server, shared};
pub(crate) use wait::{until, within};

pub(crate) use sessiond::pb::client as pb;
pub(crate) use tonic::{Code, Status};

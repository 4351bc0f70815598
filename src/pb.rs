//! The types of the wire, generated from `proto/sessiond/v1` by `build.rs`.
//!
//! What stands here is the server's side: service traits, and messages in which bodies are [`bytes::Bytes`]. Wherever
//! a field has the type `Message`, `Checkpoint` or `Event`, and in [`Item::content`], it holds the encoded message as
//! it came, unknown fields included; the types themselves are generated too, for whoever opens a body.
//!
//! [`client`] is the other side: the same protos untouched, with a client for every service.
//!
//! Both sides are the same on the wire. This module promises nothing about values: they are as a peer sent them.

pub use server::*;

/// The protos as clients see them, as an encoded `google.protobuf.FileDescriptorSet` with imports and comments. This
/// is what reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

mod server {
    include!(concat!(env!("OUT_DIR"), "/server/sessiond.v1.rs"));
}

/// The types and clients that a caller uses: every field has the type that the protos give it.
pub mod client {
    include!(concat!(env!("OUT_DIR"), "/client/sessiond.v1.rs"));
}

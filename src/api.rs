//! The wire: services over the use cases, and the layer around them.

pub mod auth;
pub mod edge;
mod repair;

//! Types generated from the protos.

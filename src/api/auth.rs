//! Who calls. Every request carries a [`Caller`] beside its namespace, put there before any service sees it.
//!
//! Today everyone is [`Anyone`], and anyone may do everything: the server listens where only those who may do so reach
//! it. Credentials come as another [`Authenticate`], which reads them from the metadata and answers UNAUTHENTICATED;
//! what its callers may do is then the [`Caller`]'s to say.

use async_trait::async_trait;
use http::request::Parts;
use tonic::Status;

/// Who makes a call; found in the extensions of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular, who may do everything.
    Anyone,
}

/// Tells who makes a call.
#[async_trait]
pub trait Authenticate: Send + Sync + std::fmt::Debug {
    /// Who sent the request with this head, or the status that turns them away. Runs before anything of the body is
    /// read, within the call's deadline.
    async fn caller(&self, head: &Parts) -> Result<Caller, Status>;
}

/// Lets everybody in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anyone;

#[async_trait]
impl Authenticate for Anyone {
    async fn caller(&self, _head: &Parts) -> Result<Caller, Status> {
        Ok(Caller::Anyone)
    }
}

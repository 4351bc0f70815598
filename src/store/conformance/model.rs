//! placeholder
use super::Backend;
pub(crate) async fn agrees_with_memory(_: &impl Backend) {}
pub(crate) async fn agrees_with_memory_under_load(_: &impl Backend) {}

//! Engines that are attached here, held against their rows. An engine that attaches elsewhere has its older stream ended by
//! a message; where that is lost, or the store has an attachment as over that goes on here, this finds it.

use std::collections::{BTreeSet, HashMap};

use super::ROWS_MAX;
use crate::domain::{EngineId, Namespace};
use crate::engine::EngineHandle;
use crate::service::{Error, Service};

impl Service {
    /// Ends attachments here that the store has as over; nothing where nobody else writes to it.
    pub(super) async fn compare_attachments(&self) -> Result<(), Error> {
        if !self.store.is_shared() {
            return Ok(());
        }
        // First the handles, then the rows: what is attached later is not looked at.
        let handles = self.live.registry.all();
        let namespaces: BTreeSet<_> = handles
            .iter()
            .map(|handle| &handle.attachment().namespace)
            .collect();
        for ns in namespaces {
            let epochs = self.epochs(ns).await?;
            for handle in handles
                .iter()
                .filter(|handle| handle.attachment().namespace == *ns)
            {
                let attachment = handle.attachment();
                if epochs.get(&attachment.id) != Some(&attachment.epoch) {
                    self.compare(handle).await?;
                }
            }
        }
        Ok(())
    }

    /// The epochs of the attached engines of a namespace.
    async fn epochs(&self, ns: &Namespace) -> Result<HashMap<EngineId, u64>, Error> {
        let mut epochs = HashMap::new();
        let mut after = None;
        loop {
            let page = self.store.attached(ns, after.as_ref(), ROWS_MAX).await?;
            let Some(last) = page.last() else {
                return Ok(epochs);
            };
            after = Some(last.id.clone());
            epochs.extend(page.iter().map(|engine| (engine.id.clone(), engine.epoch)));
        }
    }

    async fn compare(&self, handle: &EngineHandle) -> Result<(), Error> {
        let attachment = handle.attachment();
        let (ns, id, epoch) = (&attachment.namespace, &attachment.id, attachment.epoch);
        let registry = &self.live.registry;
        match self.store.engine(ns, id).await? {
            Some(engine) if engine.is_at(epoch) => {}
            Some(engine) if engine.epoch > epoch => registry.evict(ns, id, engine.epoch),
            Some(_) | None => registry.forget(ns, id, epoch),
        }
        Ok(())
    }
}

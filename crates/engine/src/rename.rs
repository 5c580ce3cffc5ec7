//! Renaming.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::{self, RenameRequest};
use crate::tasks::spawn_blocking;
use drystone_catalog::{Data, ObjectRow, Versioning};

impl Engine {
    /// Gives the current version of a key another key: rows change, bytes do not.
    ///
    /// # Errors
    ///
    /// As [`plan::rename`].
    pub async fn rename(&self, bucket: &str, request: RenameRequest) -> Result<(), EngineError> {
        let (fresh, target) = (self.pool().new_blob(self.now_ms(), 0), request.target.clone());
        let name = bucket.to_owned();
        let renamed = self.commit(move |tx| plan::rename(tx, &name, &request, fresh)).await?;
        if let Some(row) = renamed {
            let (engine, bucket) = (self.clone(), bucket.to_owned());
            spawn_blocking(move || engine.tell_new_name(&bucket, &target, &row));
        }
        Ok(())
    }

    /// Lets the manifest beside the bytes of a renamed object say its new name. Nobody waits for it.
    fn tell_new_name(&self, bucket: &str, object: &[u8], row: &ObjectRow) {
        let Ok(bucket) = self.find_bucket(bucket) else { return };
        // Where versions are kept, the old name has them too.
        if bucket.versioning != Versioning::Off || row.is_shared {
            return;
        }
        let parts = match &row.data {
            Data::Manifest(id) => self.stored_manifest(*id).ok(),
            _ => None,
        };
        self.write_manifest(&bucket, object, row, parts.as_ref());
    }
}

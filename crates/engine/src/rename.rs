//! Renaming.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::{self, RenameRequest, Resealed, SealedFields};
use drystone_catalog::{Data, Encryption, Manifest, ObjectRow, Versioning};

impl Engine {
    /// Gives the current version of a key another key: rows change, bytes do not. An encrypted one needs
    /// `encryption`: the one that it was found with, and the one that it gets under the new key.
    ///
    /// # Errors
    ///
    /// As [`plan::rename`]; [`EngineError::Conflict`] if it is not as it was found, so that it is to be
    /// looked at again.
    pub async fn rename(
        &self,
        bucket: &str,
        mut request: RenameRequest,
        encryption: Option<(Encryption, Encryption)>,
    ) -> Result<(), EngineError> {
        let (fresh, target) = (self.pool().new_blob(self.now_ms(), 0), request.target.clone());
        if let Some(pair) = encryption {
            request.resealed = Some(self.reseal(bucket, &request, pair)?);
        }
        let id = self.bucket_id(bucket)?;
        let renamed = self.commit(move |tx| plan::rename(tx, id, &request, fresh)).await?;
        if let Some(row) = renamed {
            self.tell_new_name(bucket, target, row).await;
        }
        Ok(())
    }

    /// Seals what belongs to an encrypted version for another key of its bucket.
    fn reseal(
        &self,
        bucket: &str,
        request: &RenameRequest,
        (old, new): (Encryption, Encryption),
    ) -> Result<Resealed, EngineError> {
        let located = self.locate_sealed(bucket, &request.source, None)?;
        let bucket = located.bucket.id;
        let from = located.row.clone();
        if from.encryption.as_ref() != Some(&old) {
            return Err(EngineError::Conflict);
        }
        let mut row = located.row;
        self.reveal((bucket, &request.source), &mut row)?;
        row.encryption = Some(new);
        let to = self.hide((bucket, &request.target), row)?;
        Ok(Resealed { bucket, from: SealedFields::of(&from), to: SealedFields::of(&to) })
    }

    /// Lets the manifest beside the bytes of a renamed object say its new name. It is only handed to the
    /// drives, and does without what cannot be read.
    async fn tell_new_name(&self, bucket: &str, object: Vec<u8>, row: ObjectRow) {
        let Ok(bucket) = self.find_bucket(bucket) else { return };
        // Where versions are kept, the old name has them too.
        if bucket.versioning != Versioning::Off || row.is_shared {
            return;
        }
        let Data::Manifest(id) = row.data else {
            return self.write_manifest(&bucket, &object, &row, None);
        };
        let engine = self.clone();
        let told = self.look_at_parts(id, move |list| {
            engine.write_manifest(&bucket, &object, &row, Some(&Manifest::decode(list)?));
            Ok(())
        });
        if let Err(error) = told.await {
            tracing::warn!(%error, "the list of parts beside a renamed object keeps its old name");
        }
    }
}

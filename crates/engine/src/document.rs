//! Configuration documents of buckets.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::{self, DocumentKind};
use bytes::Bytes;
use drystone_catalog::{BucketRow, Key};
use drystone_index::prefix_range;

impl Engine {
    /// Sets a document of a bucket, or removes it. `name` is empty for kinds that there is one of.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], [`EngineError::Full`] when a document is set, or the catalog failed.
    pub async fn set_document(
        &self,
        bucket: &str,
        kind: DocumentKind,
        name: &str,
        document: Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        if document.is_some() {
            self.check_space()?;
        }
        let (owned, name) = (bucket.to_owned(), name.to_owned());
        self.commit(move |tx| plan::set_document(tx, &owned, (kind, &name), document)).await?;
        self.forget_bucket(bucket);
        Ok(())
    }

    /// Puts another text of the same meaning in the place of a document, also where a drive is full.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], or the catalog failed.
    pub async fn rewrite_document(
        &self,
        bucket: &str,
        kind: DocumentKind,
        document: Vec<u8>,
    ) -> Result<(), EngineError> {
        let owned = bucket.to_owned();
        self.commit(move |tx| {
            tx.use_reserve();
            plan::set_document(tx, &owned, (kind, ""), Some(document))
        })
        .await?;
        self.forget_bucket(bucket);
        Ok(())
    }

    /// A document of a bucket.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn document(
        &self,
        bucket: &BucketRow,
        kind: DocumentKind,
        name: &str,
    ) -> Result<Option<Bytes>, EngineError> {
        Ok(self.shared.catalog.get(&Key::document(bucket.id, kind as u8, name))?)
    }

    /// All documents of a kind, by name.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn documents(
        &self,
        bucket: &BucketRow,
        kind: DocumentKind,
    ) -> Result<Vec<(String, Bytes)>, EngineError> {
        let prefix = Key::document(bucket.id, kind as u8, "");
        let rows = self.shared.catalog.snapshot().scan(prefix_range(&prefix));
        let named = rows.map(|row| {
            let (key, document) = row?;
            Ok((String::from_utf8_lossy(&key[prefix.len()..]).into_owned(), document))
        });
        named.collect()
    }

    /// Replaces the tags of a bucket.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], or the catalog failed.
    pub async fn set_bucket_tags(
        &self,
        bucket: &str,
        tags: Vec<(String, String)>,
    ) -> Result<(), EngineError> {
        let owned = bucket.to_owned();
        self.commit(move |tx| plan::set_bucket_tags(tx, &owned, tags)).await?;
        self.forget_bucket(bucket);
        Ok(())
    }
}

//! Configuration documents of buckets.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::{self, DocumentKind};
use bytes::Bytes;
use drystone_catalog::{BucketRow, Key, Tx};
use drystone_index::prefix_range;
use std::ops::Bound;

/// Bytes of documents that are read for one page: it ends behind the one that reaches them.
const PAGE_LEN_BYTES_MAX: usize = 1 << 20;

/// A page of documents that have names.
#[derive(Clone, Debug, Default)]
pub struct DocumentPage {
    /// Names and documents.
    pub documents: Vec<(String, Bytes)>,
    /// Bytes of the documents.
    pub len_bytes: usize,
    /// There are more behind it.
    pub is_truncated: bool,
}

impl Engine {
    /// Sets a document of a bucket, or removes it. `name` is empty for kinds that there is one of.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], [`EngineError::TooManyDocuments`], [`EngineError::Full`] when a
    /// document is set, or the catalog failed.
    pub async fn set_document(
        &self,
        bucket: &str,
        kind: DocumentKind,
        name: &str,
        document: Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        self.set_documents(bucket, kind, vec![(name.to_owned(), document)]).await
    }

    /// Sets documents of a kind, or removes them: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Engine::set_document`].
    pub async fn set_documents(
        &self,
        bucket: &str,
        kind: DocumentKind,
        documents: Vec<(String, Option<Vec<u8>>)>,
    ) -> Result<(), EngineError> {
        if documents.iter().any(|(_, document)| document.is_some()) {
            self.check_space()?;
        }
        let id = self.bucket_id(bucket)?;
        let plan = move |tx: &mut Tx<'_>| {
            let mut documents = documents.into_iter();
            documents.try_for_each(|(name, text)| plan::set_document(tx, id, (kind, &name), text))
        };
        self.commit_configuration(id, plan).await?;
        self.changed_bucket(bucket);
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
        let id = self.bucket_id(bucket)?;
        self.commit_configuration(id, move |tx| {
            tx.use_reserve();
            plan::set_document(tx, id, (kind, ""), Some(document))
        })
        .await?;
        self.changed_bucket(bucket);
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

    /// Documents of a kind whose names come after `after`, by name: so many at most, and a page of 1 MiB.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn list_documents(
        &self,
        bucket: &BucketRow,
        kind: DocumentKind,
        (after, limit): (&str, usize),
    ) -> Result<DocumentPage, EngineError> {
        let prefix = Key::document(bucket.id, kind as u8, "");
        let mut range = prefix_range(&prefix);
        if !after.is_empty() {
            range.0 = Bound::Excluded(Key::document(bucket.id, kind as u8, after));
        }
        let mut page = DocumentPage::default();
        for row in self.shared.catalog.snapshot().scan(range) {
            let (key, document) = row?;
            if page.documents.len() >= limit || page.len_bytes >= PAGE_LEN_BYTES_MAX {
                page.is_truncated = true;
                break;
            }
            page.len_bytes += document.len();
            let name = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            page.documents.push((name, document));
        }
        Ok(page)
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
        let id = self.bucket_id(bucket)?;
        self.commit_configuration(id, move |tx| plan::set_bucket_tags(tx, id, tags)).await?;
        self.changed_bucket(bucket);
        Ok(())
    }

    /// Changes the tags of a bucket as they are when the plan runs: what others set meanwhile stays.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], or the catalog failed; within, why `change` refused.
    pub async fn change_bucket_tags<E: Send + 'static>(
        &self,
        bucket: &str,
        change: impl FnOnce(Vec<(String, String)>) -> Result<Vec<(String, String)>, E> + Send + 'static,
    ) -> Result<Result<(), E>, EngineError> {
        let id = self.bucket_id(bucket)?;
        let outcome = self
            .commit_configuration(id, move |tx| plan::change_bucket_tags(tx, id, change))
            .await?;
        self.changed_bucket(bucket);
        Ok(outcome)
    }
}

//! Buckets.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::{self, DocumentKind};
use drystone_base::BucketId;
use drystone_catalog::{BucketLock, BucketRow, Family, Key, KeyParts, Tx, Usage, Versioning};
use drystone_index::prefix_range;

impl Engine {
    /// Creates a bucket. `owner` is the id of its account, empty for the default one.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketExists`], [`EngineError::Full`], or the catalog failed.
    pub async fn create_bucket(
        &self,
        name: &str,
        owner: &str,
        tags: Vec<(String, String)>,
        documents: Vec<(DocumentKind, Vec<u8>)>,
        lock: Option<BucketLock>,
    ) -> Result<BucketRow, EngineError> {
        self.check_space()?;
        let (owned, owner) = (name.to_owned(), owner.to_owned());
        let noted = lock.and_then(|_| self.lock_clock_row());
        let plan = move |tx: &mut Tx<'_>| {
            noted.into_iter().for_each(|(key, row)| tx.put(key, row));
            plan::create_bucket(tx, &owned, &owner, tags, documents, lock)
        };
        let row = self.commit(plan).await?;
        if lock.is_some() {
            self.lock_clock_is_stored();
        }
        self.forget_bucket(name);
        Ok(row)
    }

    /// Deletes a bucket that has nothing in it; uploads that are left are aborted.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], [`EngineError::BucketNotEmpty`],
    /// [`EngineError::UploadBusy`] while an upload is being completed, or the catalog failed.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), EngineError> {
        loop {
            let owned = name.to_owned();
            match self.commit(move |tx| plan::delete_bucket(tx, &owned)).await {
                Err(EngineError::UploadBusy) => self.abort_uploads(name).await?,
                Ok(()) => {
                    self.forget_bucket(name);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Aborts the open uploads of a bucket and drops the rows of completed ones.
    async fn abort_uploads(&self, name: &str) -> Result<(), EngineError> {
        let bucket = self.find_bucket(name)?;
        let range = prefix_range(&Key::bucket_prefix(Family::Upload, bucket.id));
        let rows: Result<Vec<_>, _> = self.shared.catalog.snapshot().scan(range).collect();
        for (key, _) in rows? {
            let parts = KeyParts::parse(&key)?;
            let Some(upload) = parts.upload() else { continue };
            let (owned, term) = (name.to_owned(), self.term());
            self.commit(move |tx| {
                match plan::abort_upload(tx, &owned, &parts.object, upload, term) {
                    // A completed upload only waits for repeated requests.
                    Err(EngineError::UploadNotFound) => {
                        tx.use_reserve();
                        tx.delete(key.to_vec());
                        Ok(())
                    }
                    result => result,
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Enables or suspends versioning.
    ///
    /// # Errors
    ///
    /// As [`plan::set_versioning`].
    pub async fn set_versioning(
        &self,
        name: &str,
        versioning: Versioning,
        needs_mfa: Option<bool>,
        has_mfa: bool,
    ) -> Result<(), EngineError> {
        let owned = name.to_owned();
        let plan =
            move |tx: &mut Tx<'_>| plan::set_versioning(tx, &owned, versioning, needs_mfa, has_mfa);
        self.commit(plan).await?;
        self.forget_bucket(name);
        Ok(())
    }

    /// Makes a bucket lock objects, or changes what it locks by default.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], [`EngineError::BucketState`] if it does not keep versions, or the
    /// catalog failed.
    pub async fn set_lock(&self, name: &str, lock: BucketLock) -> Result<(), EngineError> {
        let owned = name.to_owned();
        let noted = self.lock_clock_row();
        let plan = move |tx: &mut Tx<'_>| {
            noted.into_iter().for_each(|(key, row)| tx.put(key, row));
            plan::set_lock(tx, &owned, lock)
        };
        self.commit(plan).await?;
        self.lock_clock_is_stored();
        self.forget_bucket(name);
        Ok(())
    }

    /// All buckets whose names begin with `prefix` and come after `after`, by name.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn list_buckets(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<BucketRow>, EngineError> {
        let snapshot = self.shared.catalog.snapshot();
        let mut buckets = Vec::new();
        for row in snapshot.scan(prefix_range(&Key::bucket_name(prefix))) {
            let (key, id) = row?;
            if &key[1..] <= after.as_bytes() {
                continue;
            }
            if buckets.len() == limit {
                break;
            }
            let Ok(id) = id[..].try_into().map(u64::from_le_bytes) else { continue };
            let key = Key::bucket(BucketId(id));
            let range = (std::ops::Bound::Included(key.clone()), std::ops::Bound::Included(key));
            if let Some(row) = snapshot.scan(range).next() {
                let (_, value) = row?;
                buckets.push(BucketRow::decode(&value)?);
            }
        }
        Ok(buckets)
    }

    /// Counts and bytes of a bucket.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], or the catalog failed.
    pub fn usage(&self, name: &str) -> Result<Usage, EngineError> {
        let bucket = self.find_bucket(name)?;
        match self.shared.catalog.get(&Key::usage(bucket.id))? {
            Some(bytes) => Ok(Usage::decode(&bytes)?),
            None => Ok(Usage::default()),
        }
    }
}

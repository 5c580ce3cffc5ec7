//! Buckets.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::{self, DocumentKind};
use drystone_base::BucketId;
use drystone_catalog::CatalogSnapshot;
use drystone_catalog::{BucketLock, BucketRow, Family, Key, KeyParts, Tx, Usage, Versioning};
use drystone_index::prefix_range;
use std::ops::Bound;

/// Rows, and bytes of rows, looked at for one page of a list of buckets at most: one has 80 KB of tags.
const ROW_COUNT_MAX: usize = 1000;
const ROWS_LEN_MAX: usize = 4 << 20;

/// Where a list of buckets goes on.
#[derive(Clone, Copy, Debug)]
pub struct BucketsAsked<'a> {
    /// Only names that begin with this.
    pub prefix: &'a str,
    /// Only names behind this.
    pub after: &'a str,
    /// Only buckets of this account, empty for the default one; `None` for those of all.
    pub owner: Option<&'a str>,
    /// Entries at most.
    pub limit: usize,
}

/// A page of buckets.
#[derive(Clone, Debug, Default)]
pub struct BucketPage {
    /// The buckets, by name, without their tags.
    pub buckets: Vec<BucketRow>,
    /// The name that was looked at last, if there may be more behind it.
    pub next: Option<String>,
}

/// A row of a snapshot.
fn row_in(snapshot: &CatalogSnapshot, key: Vec<u8>) -> Result<Option<bytes::Bytes>, EngineError> {
    let range = (Bound::Included(key.clone()), Bound::Included(key));
    Ok(snapshot.scan(range).next().transpose()?.map(|(_, value)| value))
}

impl Engine {
    /// Creates a bucket. `owner` is the id of its account, empty for the default one. One that locks versions
    /// takes no appends.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketExists`], [`EngineError::TooManyBuckets`], [`EngineError::Full`], or the catalog
    /// failed.
    pub async fn create_bucket(
        &self,
        name: &str,
        owner: &str,
        tags: Vec<(String, String)>,
        documents: Vec<(DocumentKind, Vec<u8>)>,
        lock: Option<BucketLock>,
        takes_appends: bool,
    ) -> Result<BucketRow, EngineError> {
        self.check_space()?;
        let (owned, owner) = (name.to_owned(), owner.to_owned());
        let noted = lock.and_then(|_| self.lock_clock_row());
        let plan = move |tx: &mut Tx<'_>| {
            noted.into_iter().for_each(|(key, row)| tx.put(key, row));
            let row = plan::create_bucket(tx, &owned, &owner, tags, documents, lock)?;
            if takes_appends { plan::set_appends(tx, row.id, true) } else { Ok(row) }
        };
        let row = self.commit(plan).await?;
        if lock.is_some() {
            self.lock_clock_is_stored();
        }
        self.made_bucket(&row);
        Ok(row)
    }

    /// Deletes a bucket that has nothing in it; uploads that are left are aborted, each by a commit.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], [`EngineError::BucketNotEmpty`],
    /// [`EngineError::UploadBusy`] while an upload is being completed, or the catalog failed.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), EngineError> {
        let id = self.bucket_id(name)?;
        loop {
            match self.commit_configuration(id, move |tx| plan::delete_bucket(tx, id)).await {
                Err(EngineError::UploadBusy) => self.abort_uploads(id).await?,
                Ok(()) => {
                    self.changed_bucket(name);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Aborts the open uploads of a bucket and drops the rows of completed ones.
    async fn abort_uploads(&self, id: BucketId) -> Result<(), EngineError> {
        let mut range = prefix_range(&Key::bucket_prefix(Family::Upload, id));
        loop {
            // A snapshot is not held while others wait for the commit.
            let first = self.shared.catalog.snapshot().scan(range.clone()).next().transpose();
            let Some((key, _)) = first? else { break };
            range.0 = Bound::Excluded(key.to_vec());
            let parts = KeyParts::parse(&key)?;
            let Some(upload) = parts.upload() else { continue };
            let term = self.term();
            self.commit(move |tx| {
                match plan::abort_upload(tx, id, &parts.object, upload, term) {
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
        let id = self.bucket_id(name)?;
        let plan =
            move |tx: &mut Tx<'_>| plan::set_versioning(tx, id, versioning, needs_mfa, has_mfa);
        self.commit_configuration(id, plan).await?;
        self.changed_bucket(name);
        Ok(())
    }

    /// Makes a bucket lock objects, or changes what it locks by default.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], [`EngineError::BucketState`] if it does not keep versions, or the
    /// catalog failed.
    pub async fn set_lock(&self, name: &str, lock: BucketLock) -> Result<(), EngineError> {
        let id = self.bucket_id(name)?;
        let noted = self.lock_clock_row();
        let plan = move |tx: &mut Tx<'_>| {
            noted.into_iter().for_each(|(key, row)| tx.put(key, row));
            plan::set_lock(tx, id, lock)
        };
        self.commit_configuration(id, plan).await?;
        self.lock_clock_is_stored();
        self.changed_bucket(name);
        Ok(())
    }

    /// Buckets whose names begin with `prefix` and come after `after`, by name. A page looks at a bounded
    /// number of rows, so it may be short, or empty, where there is more. Those of one account are listed
    /// without a look at others.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn list_buckets(&self, request: &BucketsAsked<'_>) -> Result<BucketPage, EngineError> {
        let snapshot = self.shared.catalog.snapshot();
        let listed = match request.owner {
            Some(owner) if self.has_account_buckets()? => Some(owner),
            _ => None,
        };
        // Rows of one account, or of all: names to ids, both.
        let key_of = |name: &str| match listed {
            Some(owner) => Key::account_bucket(owner, name),
            None => Key::bucket_name(name),
        };
        let name_at = key_of("").len();
        let prefix = key_of(request.prefix);
        let mut range = prefix_range(&prefix);
        let after = key_of(request.after);
        if after >= prefix {
            range.0 = Bound::Excluded(after);
        }
        let (mut page, mut last, mut len) = (BucketPage::default(), None, 0);
        for (count, row) in snapshot.scan(range).enumerate() {
            let is_enough = count == ROW_COUNT_MAX || len >= ROWS_LEN_MAX;
            if is_enough || page.buckets.len() == request.limit {
                page.next = last;
                break;
            }
            let (key, id) = row?;
            last = Some(String::from_utf8_lossy(&key[name_at..]).into_owned());
            let Ok(id) = id[..].try_into().map(u64::from_le_bytes) else { continue };
            let Some(value) = row_in(&snapshot, Key::bucket(BucketId(id)))? else { continue };
            len += value.len();
            let row = BucketRow::decode_for_listing(&value)?;
            if request.owner.is_none_or(|owner| owner == row.owner) {
                page.buckets.push(row);
            }
        }
        Ok(page)
    }

    /// The name of a bucket.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn bucket_name(&self, id: BucketId) -> Result<Option<String>, EngineError> {
        let row = self.shared.catalog.get(&Key::bucket(id))?;
        Ok(row.map(|row| BucketRow::decode_for_listing(&row)).transpose()?.map(|row| row.name))
    }

    /// Counts and bytes of a bucket.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn usage_of(&self, id: BucketId) -> Result<Usage, EngineError> {
        match self.shared.catalog.get(&Key::usage(id))? {
            Some(bytes) => Ok(Usage::decode(&bytes)?),
            None => Ok(Usage::default()),
        }
    }

    /// Counts and bytes of a bucket.
    ///
    /// # Errors
    ///
    /// [`EngineError::BucketNotFound`], or the catalog failed.
    pub fn usage(&self, name: &str) -> Result<Usage, EngineError> {
        self.usage_of(self.find_bucket(name)?.id)
    }
}

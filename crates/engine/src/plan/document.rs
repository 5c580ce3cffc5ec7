//! Configuration documents of buckets.

use super::rows::load_bucket;
use crate::error::EngineError;
use drystone_catalog::{Key, Tx};

/// What a document configures. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DocumentKind {
    /// Who may do what.
    Policy = 1,
    /// From which pages browsers may call.
    Cors = 2,
    /// What happens to objects as they age.
    Lifecycle = 3,
    /// Where events go.
    Notification = 4,
    /// Where copies go.
    Replication = 5,
    /// Which public grants are ignored.
    PublicAccessBlock = 6,
    /// Who owns what others upload.
    OwnershipControls = 7,
    /// Who pays for requests.
    RequestPayment = 8,
    /// Transfer acceleration.
    Accelerate = 9,
    /// Reports of what is there; several by name.
    Inventory = 10,
    /// Storage class analysis; several by name.
    Analytics = 11,
    /// Request metrics; several by name.
    Metrics = 12,
    /// Archive tiers of INTELLIGENT_TIERING; several by name.
    IntelligentTiering = 13,
    /// Who may do what, in the stored form of access control lists.
    Acl = 14,
    /// Pages of a website.
    Website = 15,
    /// Where access logs go.
    Logging = 16,
    /// How objects are encrypted whose writers say nothing.
    Encryption = 17,
}

/// Documents of one kind that a bucket may have, where there may be several.
pub const DOCUMENT_COUNT_MAX: usize = 1000;

/// Sets a document, or removes it.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], or the catalog failed.
pub fn set_document(
    tx: &mut Tx<'_>,
    bucket_name: &str,
    (kind, name): (DocumentKind, &str),
    document: Option<Vec<u8>>,
) -> Result<(), EngineError> {
    let mut bucket = load_bucket(tx, bucket_name)?;
    bucket.epoch += 1;
    let key = Key::document(bucket.id, kind as u8, name);
    match document {
        Some(document) => tx.put(key, document),
        // Where a drive is full, deletes that remove nothing must not use up what is kept for others.
        None if tx.get(&key)?.is_none() => return Ok(()),
        None => {
            tx.use_reserve();
            tx.delete(key);
        }
    }
    tx.put(Key::bucket(bucket.id), bucket.encode());
    Ok(())
}

/// Replaces the tags of a bucket.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], or the catalog failed.
pub fn set_bucket_tags(
    tx: &mut Tx<'_>,
    bucket_name: &str,
    tags: Vec<(String, String)>,
) -> Result<(), EngineError> {
    let mut bucket = load_bucket(tx, bucket_name)?;
    if tags.is_empty() {
        // A delete, which goes on where a drive is full; one that removes nothing writes nothing.
        if bucket.tags.is_empty() {
            return Ok(());
        }
        tx.use_reserve();
    }
    bucket.epoch += 1;
    bucket.tags = tags;
    tx.put(Key::bucket(bucket.id), bucket.encode());
    Ok(())
}

//! Configuration documents of buckets.

use super::rows::load_bucket;
use crate::error::EngineError;
use drystone_base::BucketId;
use drystone_catalog::{Key, Tx};
use drystone_index::prefix_range;
use std::ops::Bound;

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

impl DocumentKind {
    /// All kinds.
    pub const ALL: [Self; 17] = [
        Self::Policy,
        Self::Cors,
        Self::Lifecycle,
        Self::Notification,
        Self::Replication,
        Self::PublicAccessBlock,
        Self::OwnershipControls,
        Self::RequestPayment,
        Self::Accelerate,
        Self::Inventory,
        Self::Analytics,
        Self::Metrics,
        Self::IntelligentTiering,
        Self::Acl,
        Self::Website,
        Self::Logging,
        Self::Encryption,
    ];

    /// Whether a bucket may have several, told apart by name.
    #[must_use]
    pub fn is_named(self) -> bool {
        matches!(self, Self::Inventory | Self::Analytics | Self::Metrics | Self::IntelligentTiering)
    }
}

/// Documents of one kind that a bucket may have, where there may be several (S3 API reference,
/// `PutBucketMetricsConfiguration` and its kin).
const DOCUMENT_COUNT_MAX: u64 = 1000;

/// How many documents of a kind a bucket has: they are counted once, then noted.
fn count_of(tx: &Tx<'_>, bucket: BucketId, kind: DocumentKind) -> Result<u64, EngineError> {
    if let Some(row) = tx.get(&Key::document_count(bucket, kind as u8))? {
        return Ok(row[..].try_into().map_or(0, u64::from_le_bytes));
    }
    let (mut range, mut count) = (prefix_range(&Key::document(bucket, kind as u8, "")), 0);
    while count < DOCUMENT_COUNT_MAX
        && let Some((key, _)) = tx.first(range.clone())?
    {
        count += 1;
        range.0 = Bound::Excluded(key.to_vec());
    }
    Ok(count)
}

/// Counts a document of a kind of which there may be several, before it is set or removed.
fn count(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    kind: DocumentKind,
    (was_there, is_there): (bool, bool),
) -> Result<(), EngineError> {
    let count = count_of(tx, bucket, kind)?;
    let count = match (was_there, is_there) {
        (false, true) if count >= DOCUMENT_COUNT_MAX => return Err(EngineError::TooManyDocuments),
        (false, true) => count + 1,
        (true, false) => count.saturating_sub(1),
        _ => count,
    };
    tx.put(Key::document_count(bucket, kind as u8), count.to_le_bytes().to_vec());
    Ok(())
}

/// Sets a document, or removes it.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], [`EngineError::TooManyDocuments`], or the catalog failed.
pub fn set_document(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    (kind, name): (DocumentKind, &str),
    document: Option<Vec<u8>>,
) -> Result<(), EngineError> {
    let mut bucket = load_bucket(tx, bucket_id)?;
    bucket.epoch += 1;
    let key = Key::document(bucket.id, kind as u8, name);
    if kind.is_named() {
        let was_there = tx.get(&key)?.is_some();
        count(tx, bucket.id, kind, (was_there, document.is_some()))?;
    }
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
    bucket_id: BucketId,
    tags: Vec<(String, String)>,
) -> Result<(), EngineError> {
    let mut bucket = load_bucket(tx, bucket_id)?;
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

/// Changes the tags of a bucket as they are now; nothing is written if `change` refuses or changes nothing.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], or the catalog failed; within, why `change` refused.
pub fn change_bucket_tags<E>(
    tx: &mut Tx<'_>,
    bucket_id: BucketId,
    change: impl FnOnce(Vec<(String, String)>) -> Result<Vec<(String, String)>, E>,
) -> Result<Result<(), E>, EngineError> {
    let old = load_bucket(tx, bucket_id)?.tags;
    match change(old.clone()) {
        Ok(new) if new == old => Ok(Ok(())),
        Ok(new) => set_bucket_tags(tx, bucket_id, new).map(Ok),
        Err(refused) => Ok(Err(refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{bucket_named, create_bucket};
    use drystone_base::{SeededRng, Seq};
    use drystone_catalog::MapView;

    struct World(MapView);

    impl World {
        fn run<T>(
            &mut self,
            plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError>,
        ) -> Result<T, EngineError> {
            let (rows, rng) = (self.0.clone(), SeededRng::new(1));
            let mut tx = Tx::new(&rows, &rng, 0, Seq(1));
            let value = plan(&mut tx)?;
            self.0.apply(tx);
            Ok(value)
        }

        fn set(&mut self, name: &str, document: Option<&[u8]>) -> Result<(), EngineError> {
            let (kind, document) = (DocumentKind::Metrics, document.map(<[u8]>::to_vec));
            self.run(|tx| {
                let id = bucket_named(tx, "b")?.id;
                set_document(tx, id, (kind, name), document)
            })
        }
    }

    #[test]
    fn documents_with_names_are_counted_as_they_come_and_go() {
        let mut world = World(MapView::default());
        world.run(|tx| create_bucket(tx, "b", "", Vec::new(), Vec::new(), None)).expect("a map");
        for number in 0..DOCUMENT_COUNT_MAX {
            world.set(&format!("n{number}"), Some(b"x")).expect("room");
        }
        let refused = world.set("more", Some(b"x")).expect_err("too many");
        assert!(matches!(refused, EngineError::TooManyDocuments));
        world.set("n7", Some(b"another")).expect("it is there");
        // A store of an earlier version has no count.
        let noted = |key: &[u8]| key[0] == 0x12 && key[9] & 0x80 != 0;
        assert_eq!(world.0.rows.keys().filter(|key| noted(key)).count(), 1);
        world.0.rows.retain(|key, _| !noted(key));
        assert!(world.set("more", Some(b"x")).is_err());
        world.set("n8", None).expect("it is there");
        world.set("n8", None).expect("nothing happens");
        world.set("more", Some(b"x")).expect("room again");
        assert!(world.set("n8", Some(b"x")).is_err());
    }

    #[test]
    fn numbers_leave_room_for_the_bit_of_counts() {
        for kind in DocumentKind::ALL {
            assert!((kind as u8) < 0x80, "{kind:?}");
        }
    }
}

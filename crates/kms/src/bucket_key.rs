//! Keys of buckets: a provider is asked once for many objects. A data key is sealed under the key of the
//! bucket, and that under the named key; both are stored with the object. What is remembered of a key of a
//! bucket is used for some seconds only, so that a key that its provider disables opens nothing soon after.

use drystone_base::sync::{Mutex, lock};
use drystone_base::{BucketId, Cache, Reader, Writer};
use drystone_keyring::DataKey;
use std::sync::Arc;

/// For how long a key of a bucket is remembered, in milliseconds.
const FRESH_MS: u64 = 5000;
/// Bytes of keys that are remembered, for sealing and for opening each.
const LEN_MAX: usize = 4 << 20;

/// The bucket that a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketKeyScope(pub BucketId);

impl BucketKeyScope {
    /// What the key of the bucket is bound to, in place of the context of an object.
    pub(crate) fn context(self) -> Vec<u8> {
        [&b"bucket\0"[..], &self.0.0.to_be_bytes()].concat()
    }
}

/// A data key under a key of its bucket, as it is stored.
pub(crate) struct Layered {
    pub(crate) bucket_key: Vec<u8>,
    pub(crate) data_key: Vec<u8>,
}

impl Layered {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&self.bucket_key).raw(&self.data_key);
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes, "sealed data key");
        let bucket_key = r.bytes().ok()?.to_vec();
        Some(Self { bucket_key, data_key: r.rest().to_vec() })
    }
}

#[derive(Clone)]
struct Known {
    key: DataKey,
    sealed: Arc<Vec<u8>>,
    until_ms: u64,
}

/// The key that a bucket seals with at present, by named key and bucket.
type Sealing = Cache<(String, BucketKeyScope), Known>;

/// Keys of buckets that are remembered.
pub(crate) struct BucketKeys {
    sealing: Mutex<Sealing>,
    opened: Mutex<Cache<Vec<u8>, Known>>,
}

impl Default for BucketKeys {
    fn default() -> Self {
        Self { sealing: Mutex::new(Cache::new(LEN_MAX)), opened: Mutex::new(Cache::new(LEN_MAX)) }
    }
}

impl BucketKeys {
    /// The key that a bucket seals with, and its sealed form.
    pub(crate) fn sealing(
        &self,
        id: &str,
        bucket: BucketKeyScope,
        now_ms: u64,
    ) -> Option<(DataKey, Arc<Vec<u8>>)> {
        let known = lock(&self.sealing).get(&(id.to_owned(), bucket));
        let known = known.filter(|known| known.until_ms > now_ms)?;
        Some((known.key, known.sealed))
    }

    pub(crate) fn keep_sealing(
        &self,
        id: &str,
        bucket: BucketKeyScope,
        key: DataKey,
        sealed: Arc<Vec<u8>>,
        now_ms: u64,
    ) {
        let weight = id.len() + sealed.len() + size_of::<DataKey>();
        let known = Known { key, sealed, until_ms: now_ms + FRESH_MS };
        lock(&self.sealing).insert((id.to_owned(), bucket), known, weight);
    }

    /// What a sealed key of a bucket opened to.
    pub(crate) fn opened(&self, sealed: &[u8], now_ms: u64) -> Option<DataKey> {
        let known = lock(&self.opened).get(sealed);
        known.filter(|known| known.until_ms > now_ms).map(|known| known.key)
    }

    pub(crate) fn keep_opened(&self, sealed: Vec<u8>, key: DataKey, now_ms: u64) {
        let weight = sealed.len() + size_of::<DataKey>();
        let known = Known { key, sealed: Arc::default(), until_ms: now_ms + FRESH_MS };
        lock(&self.opened).insert(sealed, known, weight);
    }

    /// Forgets everything: a key was changed.
    pub(crate) fn forget(&self) {
        lock(&self.sealing).clear();
        lock(&self.opened).clear();
    }
}

//! Keys of rows: order-preserving, integers big-endian. The table is in `docs/formats/catalog.md`.

use drystone_base::{BlobId, BucketId, DecodeError, Seq, UploadId};
use drystone_index::{KeyRange, prefix_range};

/// Kinds of rows; the first byte of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// State of the catalog itself.
    State = 0x01,
    /// Bucket name to bucket id.
    BucketName = 0x10,
    /// Bucket.
    Bucket = 0x11,
    /// Configuration document of a bucket.
    Document = 0x12,
    /// Buckets of an account.
    AccountBucket = 0x13,
    /// Current version of a key.
    Head = 0x20,
    /// Noncurrent version of a key.
    Version = 0x21,
    /// Small payload.
    Inline = 0x22,
    /// Multipart upload.
    Upload = 0x30,
    /// Part of an upload.
    Part = 0x31,
    /// Parts of a completed object.
    Manifest = 0x32,
    /// Owners of bytes that have, or had, several.
    BlobRef = 0x33,
    /// Bytes that may be reclaimed.
    Sweep = 0x40,
    /// Blobs that lack shards since they were written.
    Repair = 0x41,
    /// Counts and bytes of a bucket.
    Usage = 0x50,
    /// Accounts, users, groups, roles, policies, keys.
    Identity = 0x60,
    /// Keys of SSE-KMS, and their other names.
    Kms = 0x61,
    /// Lines of access logs that wait to be delivered.
    AccessLog = 0x70,
    /// Placement groups.
    Group = 0x80,
    /// Drives, and where they are.
    Drive = 0x81,
}

impl Family {
    /// All families, in key order.
    pub const ALL: [Family; 20] = [
        Family::State,
        Family::BucketName,
        Family::Bucket,
        Family::Document,
        Family::AccountBucket,
        Family::Head,
        Family::Version,
        Family::Inline,
        Family::Upload,
        Family::Part,
        Family::Manifest,
        Family::BlobRef,
        Family::Sweep,
        Family::Repair,
        Family::Usage,
        Family::Identity,
        Family::Kms,
        Family::AccessLog,
        Family::Group,
        Family::Drive,
    ];

    /// The family of a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Option<Self> {
        let first = *key.first()?;
        Self::ALL.into_iter().find(|family| *family as u8 == first)
    }

    /// The rows of the family.
    #[must_use]
    pub fn range(self) -> KeyRange {
        prefix_range(&[self as u8])
    }
}

/// The only list shard that there is for now.
const LIST_SHARD: u8 = 0;

/// Makes the keys of rows.
#[derive(Clone, Copy, Debug)]
pub struct Key;

impl Key {
    /// The hybrid clock.
    pub const CLOCK: &'static [u8] = &[Family::State as u8, b'c'];
    /// Something is to be moved: a drive was added, or is being emptied.
    pub const REBALANCE: &'static [u8] = &[Family::State as u8, b'b'];
    /// What verifications found and did not repair.
    pub const UNREPAIRED: &'static [u8] = &[Family::State as u8, b'v'];
    /// The clock by which locks end.
    pub const LOCK_CLOCK: &'static [u8] = &[Family::State as u8, b'l'];
    /// Ids of the keys of keyrings that something was sealed under.
    pub const KEYRING: &'static [u8] = &[Family::State as u8, b'k'];
    /// How far rows were sealed, in a deployment that was written before rows had seals.
    pub const SEALING: &'static [u8] = &[Family::State as u8, b'm'];
    /// Root keys of keyrings that are lost, while rows are sealed again under others.
    pub const LOST_KEYS: &'static [u8] = &[Family::State as u8, b'n'];
    /// The buckets of each account were counted.
    pub const BUCKETS_COUNTED: &'static [u8] = &[Family::State as u8, b'q'];
    /// The buckets of each account are listed in the family of such rows.
    pub const BUCKETS_LISTED: &'static [u8] = &[Family::State as u8, b'i'];
    /// The last export of the only drive, in deployments that never had another.
    pub const EXPORT: &'static [u8] = &[Family::State as u8, b'e'];

    /// The last export of a drive: its id.
    #[must_use]
    pub fn export_of(drive: [u8; 16]) -> Vec<u8> {
        let mut key = vec![Family::State as u8, b'x'];
        key.extend_from_slice(&drive);
        key
    }

    /// How many buckets an account has: its id, empty for the default account.
    #[must_use]
    pub fn bucket_count(owner: &str) -> Vec<u8> {
        let mut key = vec![Family::State as u8, b'a'];
        key.extend_from_slice(owner.as_bytes());
        key
    }
    /// A drive that was put in and lacks shards: its id.
    #[must_use]
    pub fn refill(drive: [u8; 16]) -> Vec<u8> {
        let mut key = vec![Family::State as u8, b'r'];
        key.extend_from_slice(&drive);
        key
    }
    /// All drives that lack shards.
    #[must_use]
    pub fn refills() -> KeyRange {
        prefix_range(&[Family::State as u8, b'r'])
    }
    /// A drive that is being emptied: its id.
    #[must_use]
    pub fn drain(drive: [u8; 16]) -> Vec<u8> {
        let mut key = vec![Family::State as u8, b'd'];
        key.extend_from_slice(&drive);
        key
    }
    /// All drives that are being emptied.
    #[must_use]
    pub fn drains() -> KeyRange {
        prefix_range(&[Family::State as u8, b'd'])
    }
    /// How far the scrub of a drive is: its id.
    #[must_use]
    pub fn scrub(drive: [u8; 16]) -> Vec<u8> {
        let mut key = vec![Family::State as u8, b's'];
        key.extend_from_slice(&drive);
        key
    }
    /// `drive`: id.
    #[must_use]
    pub fn drive(id: [u8; 16]) -> Vec<u8> {
        let mut key = Self::start(Family::Drive, 16);
        key.extend_from_slice(&id);
        key
    }

    fn start(family: Family, capacity: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(capacity + 1);
        key.push(family as u8);
        key
    }
    fn in_bucket(family: Family, bucket: BucketId, capacity: usize) -> Vec<u8> {
        let mut key = Self::start(family, capacity + 9);
        key.extend_from_slice(&bucket.0.to_be_bytes());
        key.push(LIST_SHARD);
        key
    }
    /// `bucket_name`: name.
    #[must_use]
    pub fn bucket_name(name: &str) -> Vec<u8> {
        let mut key = Self::start(Family::BucketName, name.len());
        key.extend_from_slice(name.as_bytes());
        key
    }
    /// `bucket`: id.
    #[must_use]
    pub fn bucket(bucket: BucketId) -> Vec<u8> {
        let mut key = Self::start(Family::Bucket, 8);
        key.extend_from_slice(&bucket.0.to_be_bytes());
        key
    }
    /// `account_bucket`: id of the account, which is empty for the default one; name. All of an account begin
    /// with the key of an empty name.
    #[must_use]
    pub fn account_bucket(owner: &str, name: &str) -> Vec<u8> {
        let mut key = Self::start(Family::AccountBucket, owner.len() + name.len() + 1);
        key.extend_from_slice(owner.as_bytes());
        key.push(0);
        key.extend_from_slice(name.as_bytes());
        key
    }
    /// Bytes of the key of a document up to its kind, inclusive.
    pub const DOCUMENT_KIND_END: usize = 10;
    /// The prefix of all documents of all buckets.
    #[must_use]
    pub fn documents() -> Vec<u8> {
        Self::start(Family::Document, 0)
    }
    /// The kind of a document, from its key; none of a key that is not a document's.
    #[must_use]
    pub fn kind_of_document(key: &[u8]) -> Option<u8> {
        let is_document = key.first() == Some(&(Family::Document as u8));
        key.get(Self::DOCUMENT_KIND_END - 1).copied().filter(|_| is_document)
    }
    /// The prefix of all documents of a bucket: bucket id.
    #[must_use]
    pub fn documents_of(bucket: BucketId) -> Vec<u8> {
        let mut key = Self::start(Family::Document, 64);
        key.extend_from_slice(&bucket.0.to_be_bytes());
        key
    }
    /// `document`: bucket id, kind, name, which is empty for a kind that there is one of.
    #[must_use]
    pub fn document(bucket: BucketId, kind: u8, name: &str) -> Vec<u8> {
        let mut key = Self::documents_of(bucket);
        key.push(kind);
        key.extend_from_slice(name.as_bytes());
        key
    }
    /// How many documents of a kind a bucket has, where it may have several.
    #[must_use]
    pub fn document_count(bucket: BucketId, kind: u8) -> Vec<u8> {
        Self::document(bucket, kind | 0x80, "")
    }
    /// `head`: bucket id, list shard, key.
    #[must_use]
    pub fn head(bucket: BucketId, object: &[u8]) -> Vec<u8> {
        let mut key = Self::in_bucket(Family::Head, bucket, object.len());
        key.extend_from_slice(object);
        key
    }
    /// The prefix of all versions of a key: bucket id, list shard, escaped key.
    #[must_use]
    pub fn versions_of(bucket: BucketId, object: &[u8]) -> Vec<u8> {
        let mut key = Self::in_bucket(Family::Version, bucket, object.len() + 10);
        escape(&mut key, object);
        key
    }
    /// `version`: bucket id, list shard, escaped key, inverse seq.
    #[must_use]
    pub fn version(bucket: BucketId, object: &[u8], seq: Seq) -> Vec<u8> {
        let mut key = Self::versions_of(bucket, object);
        key.extend_from_slice(&(!seq.0).to_be_bytes());
        key
    }
    /// The prefix of all noncurrent versions of keys that begin with `prefix`.
    #[must_use]
    pub fn versions_with_prefix(bucket: BucketId, prefix: &[u8]) -> Vec<u8> {
        let mut key = Self::in_bucket(Family::Version, bucket, prefix.len());
        escape_open(&mut key, prefix);
        key
    }
    /// `inline`: blob id.
    #[must_use]
    pub fn inline(blob: BlobId) -> Vec<u8> {
        Self::of_blob(Family::Inline, blob)
    }
    /// `manifest`: its id.
    #[must_use]
    pub fn manifest(id: BlobId) -> Vec<u8> {
        Self::of_blob(Family::Manifest, id)
    }
    fn of_blob(family: Family, blob: BlobId) -> Vec<u8> {
        let mut key = Self::start(family, 16);
        key.extend_from_slice(&blob.0);
        key
    }
    /// `upload`: bucket id, escaped key, upload id.
    #[must_use]
    pub fn upload(bucket: BucketId, object: &[u8], upload: UploadId) -> Vec<u8> {
        let mut key = Self::uploads_of(bucket, object);
        key.extend_from_slice(&upload.0);
        key
    }
    /// The prefix of all uploads of a key.
    #[must_use]
    pub fn uploads_of(bucket: BucketId, object: &[u8]) -> Vec<u8> {
        let mut key = Self::in_bucket(Family::Upload, bucket, object.len() + 26);
        escape(&mut key, object);
        key
    }
    /// The prefix of all uploads of keys that begin with `prefix`.
    #[must_use]
    pub fn uploads_with_prefix(bucket: BucketId, prefix: &[u8]) -> Vec<u8> {
        let mut key = Self::in_bucket(Family::Upload, bucket, prefix.len());
        escape_open(&mut key, prefix);
        key
    }
    /// The prefix of all parts of an upload.
    #[must_use]
    pub fn parts_of(upload: UploadId) -> Vec<u8> {
        let mut key = Self::start(Family::Part, 26);
        key.extend_from_slice(&upload.0);
        key
    }
    /// `part`: upload id, part number.
    #[must_use]
    pub fn part(upload: UploadId, number: u16) -> Vec<u8> {
        let mut key = Self::parts_of(upload);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }
    /// `sweep`: due time, blob id.
    #[must_use]
    pub fn sweep(due_ms: u64, blob: BlobId) -> Vec<u8> {
        let mut key = Self::start(Family::Sweep, 24);
        key.extend_from_slice(&due_ms.to_be_bytes());
        key.extend_from_slice(&blob.0);
        key
    }
    /// `access_log`: time of the rows' writing, which orders them.
    #[must_use]
    pub fn access_log(seq: Seq) -> Vec<u8> {
        let mut key = Self::start(Family::AccessLog, 8);
        key.extend_from_slice(&seq.0.to_be_bytes());
        key
    }
    /// The prefix of all owners of shared bytes: blob or manifest id.
    #[must_use]
    pub fn blob_refs_of(id: BlobId) -> Vec<u8> {
        Self::of_blob(Family::BlobRef, id)
    }
    /// `blob_ref`: blob or manifest id, seq of the version or part that is an owner.
    #[must_use]
    pub fn blob_ref(id: BlobId, owner: Seq) -> Vec<u8> {
        let mut key = Self::blob_refs_of(id);
        key.extend_from_slice(&owner.0.to_be_bytes());
        key
    }
    /// A renaming that was carried out: bucket id, hash of its token.
    #[must_use]
    pub fn rename_token(bucket: BucketId, token: u64) -> Vec<u8> {
        let mut key = vec![Family::State as u8, b't'];
        key.extend_from_slice(&bucket.0.to_be_bytes());
        key.extend_from_slice(&token.to_be_bytes());
        key
    }
    /// `repair`: blob id.
    #[must_use]
    pub fn repair(blob: BlobId) -> Vec<u8> {
        Self::of_blob(Family::Repair, blob)
    }
    /// `group`: number.
    #[must_use]
    pub fn group(id: u16) -> Vec<u8> {
        let mut key = Self::start(Family::Group, 2);
        key.extend_from_slice(&id.to_be_bytes());
        key
    }
    /// `usage`: bucket id.
    #[must_use]
    pub fn usage(bucket: BucketId) -> Vec<u8> {
        let mut key = Self::start(Family::Usage, 8);
        key.extend_from_slice(&bucket.0.to_be_bytes());
        key
    }
    /// `identity`: kind, then the parts of the name, each but the last ended by a zero byte.
    #[must_use]
    pub fn identity(kind: u8, parts: &[&str]) -> Vec<u8> {
        let mut key = Self::start(Family::Identity, 64);
        key.push(kind);
        key.extend_from_slice(parts.join("\0").as_bytes());
        key
    }
    /// `kms`: kind, name.
    #[must_use]
    pub fn kms(kind: u8, name: &str) -> Vec<u8> {
        let mut key = Self::start(Family::Kms, 64);
        key.push(kind);
        key.extend_from_slice(name.as_bytes());
        key
    }
    /// The rows of a family that belong to one bucket.
    #[must_use]
    pub fn bucket_prefix(family: Family, bucket: BucketId) -> Vec<u8> {
        Self::in_bucket(family, bucket, 0)
    }
}

/// Appends a key so that what follows it does not disturb the order: zero is written as 0 255, the
/// end as 0 1.
fn escape(out: &mut Vec<u8>, object: &[u8]) {
    escape_open(out, object);
    out.extend_from_slice(&[0, 1]);
}

fn escape_open(out: &mut Vec<u8>, object: &[u8]) {
    for byte in object {
        out.push(*byte);
        if *byte == 0 {
            out.push(255);
        }
    }
}

/// What a key of the families `head`, `version` and `upload` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts {
    /// Bucket.
    pub bucket: BucketId,
    /// Key of the object.
    pub object: Vec<u8>,
    /// What follows the escaped key: inverse seq, or upload id; empty for `head`.
    pub rest: Vec<u8>,
}

impl KeyParts {
    /// Takes a key apart.
    ///
    /// # Errors
    ///
    /// The key is not of one of the three families, or malformed.
    pub fn parse(key: &[u8]) -> Result<Self, DecodeError> {
        let malformed = DecodeError { what: "row key" };
        let (id, rest) =
            key.get(1..).and_then(|k| k.split_at_checked(8)).ok_or(malformed.clone())?;
        let bucket = BucketId(u64::from_be_bytes(id.try_into().map_err(|_| malformed.clone())?));
        let rest = rest.get(1..).ok_or(malformed.clone())?;
        match Family::of(key) {
            Some(Family::Head) => Ok(Self { bucket, object: rest.to_vec(), rest: Vec::new() }),
            Some(Family::Version | Family::Upload) => {
                let (mut object, mut at) = (Vec::new(), 0);
                loop {
                    match (rest.get(at), rest.get(at + 1)) {
                        (Some(0), Some(255)) => {
                            object.push(0);
                            at += 2;
                        }
                        (Some(0), Some(1)) => {
                            return Ok(Self { bucket, object, rest: rest[at + 2..].to_vec() });
                        }
                        (Some(0), _) | (None, _) => return Err(malformed),
                        (Some(byte), _) => {
                            object.push(*byte);
                            at += 1;
                        }
                    }
                }
            }
            _ => Err(malformed),
        }
    }

    /// The upload id of an `upload` key.
    #[must_use]
    pub fn upload(&self) -> Option<UploadId> {
        self.rest.as_slice().try_into().ok().map(UploadId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: rows sort by bucket, then key, then newest first, and keys read back. Method:
        /// random keys, zero bytes included.
        #[test]
        fn version_keys_sort_and_round_trip(
            a in prop::collection::vec(0_u8..4, 0..6), b in prop::collection::vec(0_u8..4, 0..6),
            m in any::<u64>(), n in any::<u64>(),
        ) {
            let bucket = BucketId(5);
            let (x, y) = (Key::version(bucket, &a, Seq(m)), Key::version(bucket, &b, Seq(n)));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b).then(n.cmp(&m)));
            let parts = KeyParts::parse(&x).expect("well formed");
            prop_assert_eq!(parts.object, a.clone());
            prop_assert_eq!(parts.rest, (!m).to_be_bytes().to_vec());
            let range = prefix_range(&Key::versions_with_prefix(bucket, &a));
            let inside = std::ops::RangeBounds::contains(&range, &y);
            prop_assert_eq!(inside, b.starts_with(&a));
        }

        /// Goal: no bytes make the parser panic.
        #[test]
        fn random_keys_never_panic(key in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = KeyParts::parse(&key);
        }
    }
}

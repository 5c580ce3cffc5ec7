//! Loading rows, and what every plan does with them.

use crate::error::EngineError;
use drystone_base::{BlobId, BucketId, DecodeError, Reader, Seq, UploadId, VersionId, Writer};
use drystone_catalog::{BucketRow, CatalogError, Key, ObjectRow, Tx, Usage};

/// Which version of a key a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRef {
    /// The null version.
    Null,
    /// A version by its id.
    Id(VersionId),
}

impl VersionRef {
    /// Reads what a client sent; `None` if it is no version id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "null" { Some(Self::Null) } else { VersionId::parse(text).map(Self::Id) }
    }
}

/// The bucket that has this name now. Only for looking it up, and for making buckets: by the time that a plan
/// runs, a name may belong to another bucket than the one that was decided on.
pub(crate) fn bucket_named(tx: &Tx<'_>, name: &str) -> Result<BucketRow, EngineError> {
    let id = tx.get(&Key::bucket_name(name))?.ok_or(EngineError::BucketNotFound)?;
    let id: [u8; 8] = id[..].try_into().map_err(|_| DecodeError { what: "bucket name row" })?;
    load_bucket(tx, BucketId(u64::from_le_bytes(id)))
}

/// The bucket of a plan. Ids are not used again: one that was deleted is not found, whatever has its name.
///
/// # Errors
///
/// [`EngineError::BucketNotFound`], or the catalog failed.
pub fn load_bucket(tx: &Tx<'_>, id: BucketId) -> Result<BucketRow, EngineError> {
    let row = tx.get(&Key::bucket(id))?;
    Ok(BucketRow::decode(&row.ok_or(EngineError::BucketNotFound)?)?)
}

/// The head of a key: `Ok(None)` if there is none, `Err` inside if it cannot be understood.
///
/// # Errors
///
/// The catalog failed.
pub fn load_head(
    tx: &Tx<'_>,
    bucket: BucketId,
    object: &[u8],
) -> Result<Option<Result<ObjectRow, DecodeError>>, EngineError> {
    match tx.get(&Key::head(bucket, object)) {
        Ok(bytes) => Ok(bytes.map(|bytes| ObjectRow::decode(&bytes))),
        // As one that is damaged: it is not served, and can be overwritten and removed where no lock may be
        // in it.
        Err(CatalogError::Forged { .. }) => {
            Ok(Some(Err(DecodeError { what: "object row of another writer" })))
        }
        Err(error) => Err(error.into()),
    }
}

/// The row of a named version: whether it is the head, and the row. `None` if there is no such version.
///
/// # Errors
///
/// The catalog failed, or a row cannot be understood.
pub fn load_version(
    tx: &Tx<'_>,
    bucket: BucketId,
    object: &[u8],
    version: VersionRef,
) -> Result<Option<(bool, ObjectRow)>, EngineError> {
    let Some(head) = load_head(tx, bucket, object)? else { return Ok(None) };
    let head = head?;
    let seq = match version {
        VersionRef::Null if head.is_null => return Ok(Some((true, head))),
        VersionRef::Id(id) if head.is_version(id) => return Ok(Some((true, head))),
        VersionRef::Null => head.null_seq,
        VersionRef::Id(id) => Some(id.seq),
    };
    let Some(seq) = seq else { return Ok(None) };
    let Some(bytes) = tx.get(&Key::version(bucket, object, seq))? else { return Ok(None) };
    let row = ObjectRow::decode(&bytes)?;
    let same = match version {
        VersionRef::Null => row.is_null,
        VersionRef::Id(id) => row.is_version(id),
    };
    Ok(same.then_some((false, row)))
}

/// What a `sweep` row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepItem {
    /// A blob that nothing refers to any more.
    Blob(BlobId),
    /// A manifest with its parts.
    Manifest(BlobId),
    /// The parts of an upload that are not in the manifest, if there is one.
    Parts {
        /// Bucket of the upload, whose usage counts the parts.
        bucket: BucketId,
        /// Upload.
        upload: UploadId,
        /// Parts to keep.
        manifest: Option<BlobId>,
    },
    /// The row of an upload that was completed.
    Upload {
        /// Bucket.
        bucket: BucketId,
        /// Upload.
        upload: UploadId,
        /// Key of the object.
        object: Vec<u8>,
    },
    /// A row that is of no use any more: its key.
    Row(Vec<u8>),
}

impl SweepItem {
    /// Stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Self::Blob(blob) => w.u8(1).raw(&blob.0),
            Self::Manifest(id) => w.u8(2).raw(&id.0),
            Self::Parts { bucket, upload, manifest } => {
                w.u8(3).u64(bucket.0).raw(&upload.0);
                w.raw(manifest.as_ref().map_or(&[][..], |id| &id.0))
            }
            Self::Upload { bucket, upload, object } => {
                w.u8(4).u64(bucket.0).raw(&upload.0).raw(object)
            }
            Self::Row(key) => w.u8(5).raw(key),
        };
        w.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "sweep row");
        let malformed = r.malformed();
        let blob = |bytes: &[u8]| BlobId::from_slice(bytes).ok_or(malformed.clone());
        let upload = |bytes: &[u8]| bytes.try_into().map(UploadId).map_err(|_| malformed.clone());
        match r.u8()? {
            1 => Ok(Self::Blob(blob(r.rest())?)),
            2 => Ok(Self::Manifest(blob(r.rest())?)),
            3 => {
                let (bucket, upload) = (BucketId(r.u64()?), upload(r.take(24)?)?);
                let manifest = if r.is_empty() { None } else { Some(blob(r.rest())?) };
                Ok(Self::Parts { bucket, upload, manifest })
            }
            4 => Ok(Self::Upload {
                bucket: BucketId(r.u64()?),
                upload: upload(r.take(24)?)?,
                object: r.rest().to_vec(),
            }),
            5 => Ok(Self::Row(r.rest().to_vec())),
            _ => Err(malformed),
        }
    }
}

/// Adds a sweep row.
pub(crate) fn add_sweep(tx: &mut Tx<'_>, due_ms: u64, item: &SweepItem) {
    let id = match item {
        SweepItem::Blob(id) | SweepItem::Manifest(id) => *id,
        SweepItem::Parts { .. } | SweepItem::Upload { .. } | SweepItem::Row(_) => {
            let seq = tx.next_seq();
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&seq.0.to_be_bytes());
            BlobId(bytes)
        }
    };
    tx.put(Key::sweep(due_ms, id), item.encode());
}

/// Changes the usage of a bucket.
///
/// # Errors
///
/// The catalog failed, or the row cannot be understood.
pub fn adjust_usage(
    tx: &mut Tx<'_>,
    bucket: BucketId,
    change: impl FnOnce(&mut Usage),
) -> Result<(), EngineError> {
    let key = Key::usage(bucket);
    let mut usage = match tx.get(&key)? {
        Some(bytes) => Usage::decode(&bytes)?,
        None => Usage::default(),
    };
    change(&mut usage);
    tx.put(key, usage.encode());
    Ok(())
}

/// Counts a version in or out of the usage, as current or noncurrent.
pub(crate) fn count_version(usage: &mut Usage, row: &ObjectRow, is_current: bool, by: i64) {
    let step = |field: &mut u64, by: i64| {
        *field = field.checked_add_signed(by).expect("usage never goes below zero");
    };
    if row.is_marker {
        step(&mut usage.marker_count, by);
        return;
    }
    let bytes = i64::try_from(row.size).expect("objects are below 2^63 bytes") * by;
    if is_current {
        step(&mut usage.current_count, by);
        step(&mut usage.current_bytes, bytes);
    } else {
        step(&mut usage.noncurrent_count, by);
        step(&mut usage.noncurrent_bytes, bytes);
    }
}

/// The null version among the versions below a head, as the head that replaces it must name it.
pub(crate) fn null_below(head: &ObjectRow) -> Option<Seq> {
    if head.is_null { Some(head.seq) } else { head.null_seq }
}

//! Errors of the engine.

use drystone_catalog::{CatalogError, ChecksumAlgorithm};
use drystone_drive::DriveError;
use drystone_keyring::KeyringError;

/// The condition that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `If-Match`.
    IfMatch,
    /// `If-None-Match`.
    IfNoneMatch,
    /// `x-amz-if-match-size`.
    IfMatchSize,
    /// `x-amz-if-match-last-modified-time`.
    IfMatchLastModified,
    /// `If-Modified-Since`.
    IfModifiedSince,
    /// `If-Unmodified-Since`.
    IfUnmodifiedSince,
}

/// Why an engine operation did not happen. Unless said otherwise nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// No such bucket.
    #[error("bucket does not exist")]
    BucketNotFound,
    /// A bucket of this name exists.
    #[error("bucket exists already")]
    BucketExists {
        /// Whether it belongs to the one who wanted to create it.
        is_own: bool,
    },
    /// The account has as many buckets as it may have.
    #[error("the account has too many buckets")]
    TooManyBuckets,
    /// The bucket has as many documents of the kind as it may have.
    #[error("the bucket has too many documents of the kind")]
    TooManyDocuments,
    /// The bucket has objects, versions or delete markers.
    #[error("bucket is not empty")]
    BucketNotEmpty,
    /// The key has no current version, or it is a delete marker.
    #[error("object does not exist")]
    ObjectNotFound {
        /// Version id of the delete marker that is current.
        marker: Option<String>,
    },
    /// The named version does not exist.
    #[error("version does not exist")]
    VersionNotFound,
    /// The named version is a delete marker.
    #[error("version is a delete marker")]
    IsDeleteMarker {
        /// Its version id.
        version: String,
        /// Its Last-Modified, in milliseconds since 1970.
        modified_ms: u64,
    },
    /// A condition of the request does not hold.
    #[error("precondition does not hold")]
    PreconditionFailed(Condition),
    /// The version is locked: by a retention that has not ended, or by a legal hold.
    #[error("the version is locked")]
    Locked,
    /// It needs a second factor, and none was shown.
    #[error("it needs a second factor")]
    MfaNeeded,
    /// Locks need a bucket that is made for them.
    #[error("the bucket does not lock objects")]
    NoBucketLock,
    /// The wall clock and the clock of locks are more than a day apart, so that a default retention cannot be
    /// counted. May be tried again after an operator has confirmed the time.
    #[error("the wall clock and the clock of locks are far apart")]
    LockClockBehind,
    /// The clock of locks is more than a day ahead of the wall clock, so that it would not hold a new lock.
    /// May be tried again after an operator has confirmed the time.
    #[error("the clock of locks is far ahead of the wall clock")]
    LockClockAhead,
    /// The note of the clock of locks cannot be read; no lock ends until an operator has confirmed the time.
    #[error("the note of the clock of locks is damaged")]
    DamagedLockClock,
    /// What is asked of the bucket contradicts its versioning or its lock.
    #[error("the bucket is in another state than that needs")]
    BucketState,
    /// The version is not archived: there is nothing to restore.
    #[error("the version is not archived")]
    NotArchived,
    /// The restored copy is on its way already.
    #[error("the version is being restored")]
    RestoreOngoing,
    /// Bytes can be put behind the object only.
    #[error("the object has {size_bytes} bytes")]
    WriteOffset {
        /// Where it ends.
        size_bytes: u64,
    },
    /// Objects of the bucket cannot be appended to.
    #[error("objects of the bucket cannot be appended to")]
    NotAppendable,
    /// The object was appended to as often as that can be.
    #[error("the object has too many parts")]
    TooManyParts,
    /// A request with this token asked for something else.
    #[error("the token belongs to another request")]
    TokenMismatch,
    /// The object changed while the request was worked on. May be tried again.
    #[error("the object changed at the same time")]
    Conflict,
    /// Tags, owner or grants of an object changed since the request was decided on by them. Can be decided
    /// again.
    #[error("what the request was decided on changed at the same time")]
    DecidedOnOther,
    /// No such multipart upload for this key.
    #[error("upload does not exist")]
    UploadNotFound,
    /// The upload is being completed by another request. May be tried again.
    #[error("upload is being completed")]
    UploadBusy,
    /// A part of the list was not uploaded, or its entity tag or checksum is another.
    #[error("part {number} was not found as given")]
    InvalidPart {
        /// Its number.
        number: u32,
    },
    /// The list of parts is not in ascending order.
    #[error("parts are not in order")]
    InvalidPartOrder,
    /// A part other than the last one is smaller than 5 MiB.
    #[error("part {number} of {size_bytes} bytes is too small")]
    PartTooSmall {
        /// Its number.
        number: u32,
        /// Its size.
        size_bytes: u64,
        /// Its entity tag.
        etag: String,
    },
    /// The object would be larger than 5 TiB.
    #[error("object of {size_bytes} bytes is too large")]
    ObjectTooLarge {
        /// Its size.
        size_bytes: u64,
    },
    /// A checksum that the client declared differs from that of the bytes.
    #[error("checksum differs")]
    ChecksumMismatch {
        /// Which algorithm; `None` for Content-MD5.
        algorithm: Option<ChecksumAlgorithm>,
    },
    /// The part has a checksum of another algorithm than the upload.
    #[error("checksum algorithm differs from that of the upload")]
    ChecksumTypeMismatch {
        /// The upload's.
        expected: Option<ChecksumAlgorithm>,
        /// The part's.
        actual: Option<ChecksumAlgorithm>,
    },
    /// The request contradicts what is stored; the text says how.
    #[error("{0}")]
    Invalid(&'static str),
    /// The byte budget is used up. May be tried again.
    #[error("too many bytes in flight")]
    Busy,
    /// A file could not be opened, for want of descriptors for example. May be tried again.
    #[error("a file could not be opened")]
    NotOpened,
    /// No space. Deletes still work.
    #[error("the drive is full")]
    Full,
    /// The outcome is not known: the drive failed while the change was on its way. The connection
    /// must be dropped without an answer.
    #[error("the outcome is not known")]
    Unknown,
    /// Changes are not taken: the drive failed earlier, or the process is stopping.
    #[error("{}", CatalogError::Closed)]
    Closed,
    /// Changes are not taken: too few drives were there at the start.
    #[error("{}", CatalogError::ReadOnly)]
    ReadOnly,
    /// A write needs more drives than work now. May be tried again.
    #[error(
        "Too few drives work to write this: {there} of the {needed} that the write needs. `drystone status` \
         names those that are missing; bring them back, or replace them with `drystone drive replace`."
    )]
    TooFewDrives {
        /// Drives of the group that work.
        there: usize,
        /// Drives that must have the write.
        needed: usize,
    },
    /// So many of the drives that hold the bytes must be here again before they can be read. May be tried
    /// again.
    #[error("too many drives are missing: {missing} more are needed to read the bytes")]
    Unreachable {
        /// Drives that are needed more.
        missing: usize,
    },
    /// Stored bytes or rows do not verify.
    #[error("stored data is damaged")]
    Damaged(#[source] DriveError),
    /// Something sealed cannot be opened with the keyring that there is.
    #[error("what is stored sealed cannot be opened")]
    Keyring(#[from] KeyringError),
    /// The engine was not given a keyring.
    #[error("there is no keyring")]
    NoKeyring,
    /// The version is encrypted, and its key was not given.
    #[error("the version is encrypted, and its key was not given")]
    KeyNeeded,
    /// The version went while it was opened. May be tried again.
    #[error("the version went while it was opened")]
    Vanished,
    /// Sealed bytes do not open: they are not at their place, or were changed behind their checksums.
    #[error("sealed bytes do not open")]
    SealBroken,
    /// The catalog failed.
    #[error("the catalog failed")]
    Catalog(#[source] CatalogError),
    /// A drive failed.
    #[error("a drive failed")]
    Drive(#[source] DriveError),
}

impl EngineError {
    /// Whether a row cannot be read, now or later.
    #[must_use]
    pub fn is_unreadable_row(&self) -> bool {
        matches!(self, Self::Catalog(CatalogError::Row(_) | CatalogError::Forged { .. }))
    }
}

impl From<CatalogError> for EngineError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Full => Self::Full,
            CatalogError::NotOpened => Self::NotOpened,
            CatalogError::Unknown => Self::Unknown,
            CatalogError::Closed => Self::Closed,
            CatalogError::ReadOnly => Self::ReadOnly,
            other => Self::Catalog(other),
        }
    }
}

impl From<DriveError> for EngineError {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Full => Self::Full,
            DriveError::NotOpened(_) => Self::NotOpened,
            DriveError::Damaged { .. } | DriveError::NotFound(_) => Self::Damaged(error),
            other => Self::Drive(other),
        }
    }
}

impl From<drystone_log::LogError> for EngineError {
    fn from(error: drystone_log::LogError) -> Self {
        DriveError::from(error).into()
    }
}

impl From<drystone_base::DecodeError> for EngineError {
    fn from(error: drystone_base::DecodeError) -> Self {
        Self::Catalog(error.into())
    }
}

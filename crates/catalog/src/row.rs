//! Values of rows. Tagged fields; the tables are in `docs/formats/catalog.md`.

mod bucket;
mod checksum;
mod encryption;
mod lock;
mod object;
mod parts;
mod restore;
mod upload;
mod usage;

pub use bucket::{BucketRow, Versioning};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
pub use encryption::{Encryption, SseMode};
pub use lock::{BucketLock, LockMode, LockPeriod, ObjectLock, Retention};
pub use object::{Data, ETag, Headers, ObjectRow};
pub use parts::{Manifest, PartWalk, StoredPart};
pub use restore::{Restore, RestoreState};
pub use upload::{Initiator, PartRow, UploadRow, UploadState};
pub use usage::Usage;

/// Format number of all rows.
pub(crate) const FORMAT: u8 = 1;

/// Fields that this version does not know, kept to be written back.
pub(crate) type Unknown = Vec<(u8, Vec<u8>)>;

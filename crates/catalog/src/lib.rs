//! The catalog: the only truth of the namespace, as ordered rows changed by transactions.
//!
//! A request hands a *plan* to the single committer, which evaluates it against the rows as they
//! will be when all batches in flight are durable. What the plan changes is logged as post-images in
//! one frame per batch; the reply goes out when the frame is durable and applied to the index.
//!
//! # Invariants
//!
//! - The truth is the last verified export and all later frames. The index can be lost at any time.
//! - Every reply, a refusal included, waits until the batch that it was decided on is durable.
//! - If a frame fails, everything that was decided on top of it fails with it.
//! - Rows are read and written through `guard`, which looks at their seals and makes them; index,
//!   frames and exports hold rows with their seals.
//! - Frames hold whole rows, never differences, so applying one twice changes nothing.
//!
//! # Not here
//!
//! What S3 requests mean is in `engine`; bytes of objects beyond inline ones are in `drive`.

mod catalog;
mod committer;
mod error;
mod export;
mod frame;
mod guard;
mod key;
mod mirrors;
mod replay;
mod row;
mod salvage;
mod sealing;
mod tx;

pub use catalog::{Catalog, CatalogConfig, CatalogSnapshot, SnapshotRows};
pub use committer::SeededBug;
pub use error::CatalogError;
pub use export::ExportReport;
pub use frame::{Frame, FrameChange, HintPatch};
pub use guard::{KeyIds, RowAccess, RowProtection};
pub use key::{Family, Key, KeyParts};
pub use mirrors::{Mirror, MirrorConfig, ViewKeeper, catch_up};
pub use row::{
    BucketLock, BucketRow, Checksum, ChecksumAlgorithm, ChecksumKind, Data, ETag, Encryption,
    Headers, Initiator, LockMode, LockPeriod, Manifest, ObjectLock, ObjectRow, PartRow, PartWalk,
    Restore, RestoreState, Retention, SseMode, StoredPart, UploadRow, UploadState, Usage,
    Versioning,
};
pub use salvage::{SalvageReport, salvage};
pub use sealing::{SealReport, Sealed, SealsFound};
pub use tx::{Decision, MapView, RowValue, Tx, View};

//! What S3 requests mean: pure plans over catalog rows, bodies streamed to and from drives, and the
//! workers that give space back.
//!
//! # Invariants
//!
//! - What a request means is decided by a plan ([`plan`]), a pure function of rows, request and
//!   clock, evaluated at the commit. No lock is held while a client sends.
//! - No body is ever held whole: what requests hold is taken from one byte budget, the minimum before they
//!   begin.
//! - A payload is durable before the row that names it can be.
//!
//! # Not here
//!
//! XML, HTTP, signatures and S3 error codes are in `s3`.

mod access_log;
mod account_buckets;
mod append;
mod asked;
mod audit;
mod basis;
mod blob;
mod bucket;
mod budget;
mod cells;
mod check;
mod commit;
mod configuration;
mod copy;
mod cut;
mod decided;
pub mod deployment;
mod digest;
mod document;
mod engine;
mod error;
mod hedge;
mod inactive;
mod layout;
mod list;
mod lock_clock;
mod looked_at;
mod manifest;
mod multipart;
mod object;
mod pace;
mod parts;
mod pins;
pub mod plan;
mod reach;
mod read;
mod recode;
mod rename;
mod repair;
mod salvage;
mod scrub;
mod seal;
mod sealed_under;
mod stray;
mod stripe;
mod sweep;
mod tasks;
mod verified;

pub use access_log::{
    AccessLogRow, FORGET_COUNT_MAX, LogFailure, LogRoom, LogShare, LogState, LogTotals,
};
pub use append::AppendRequest;
pub use audit::{AuditReport, AuditScope};
pub use basis::Stamp;
pub use blob::{BlobWriter, NewBlob, Stored};
pub use bucket::{BucketPage, BucketsAsked};
pub use budget::{ByteBudget, Kind, KindUsage, Offer, Reclaimable, Share};
pub use check::CheckReport;
pub use commit::{ATTEMPT_COUNT_MAX, LENIENT_FROM};
pub use configuration::Reserved;
pub use copy::{CopyPart, CopyRequest};
pub use digest::{Digests, combine_crc};
pub use document::DocumentPage;
pub use engine::{Engine, EngineConfig};
pub use error::{Condition, EngineError};
pub use inactive::{Inactive, InactiveCount};
pub use list::{
    ListPage, ListRequest, ListedVersion, UploadPage, VersionMark, VersionPage, VersionRequest,
};
pub use lock_clock::{ConfirmedClock, LockClockState};
pub use multipart::{CompleteRequest, NewUpload, PartInput};
pub use object::{Located, ObjectDraft, PutRequest};
pub use pace::{Meter, Pace, Work};
pub use parts::PartPage;
pub use plan::{Conditions, DeleteOutcome, VersionRef, WriteOutcome};
pub use read::ObjectReader;
pub use repair::RepairReport;
pub use salvage::SalvagedObjects;
pub use scrub::ScrubState;
pub use seal::Seal;
pub use sealed_under::KeyNeed;
pub use sweep::{SweepReport, Sweeper};
pub use verified::{Unrepaired, Verified};

pub use drystone_base::{Consumer, Turn, Turns};
pub use drystone_catalog::{
    BucketLock, BucketRow, Checksum, ChecksumAlgorithm, ChecksumKind, Data, ETag, Encryption,
    Headers, Initiator, LockMode, LockPeriod, Manifest, ObjectLock, ObjectRow, PartRow, Restore,
    RestoreState, Retention, RowAccess, RowProtection, SealReport, Sealed, SseMode, UploadRow,
    UploadState, Usage, Versioning,
};

//! Pure plans: what a request means, as a function of rows, request and clock.
//!
//! A plan reads and changes rows of a `Tx` and does nothing else, so that it is also the
//! executable specification: `tests/it/model.rs` runs plans over a map and compares them with a
//! naive model of S3.
//!
//! A plan takes the id of the bucket that was decided on, never its name.

mod append;
mod bucket;
mod bucket_count;
mod condition;
mod delete;
mod document;
mod lock;
mod put;
mod rename;
mod restore;
mod rows;
mod share;
mod upload;

pub use append::{AppendPlan, MergePlan, append, merge_parts, takes_appends};
pub use bucket::{create_bucket, delete_bucket, set_appends, set_lock, set_versioning};
pub use condition::{Conditions, check_write};
pub use delete::{DeleteOutcome, delete_object};
pub use document::{DocumentKind, change_bucket_tags, set_bucket_tags, set_document};
pub use lock::{set_legal_hold, set_retention};
pub use put::{Payload, WriteOutcome, put_object};
pub use rename::{RenameRequest, Resealed, SealedFields, SideConditions, rename};
pub use restore::{RestoreOutcome, is_archive_class, is_readable, restore};
pub use rows::{SweepItem, VersionRef, adjust_usage, load_bucket, load_head, load_version};
pub use share::{
    SourceRef, TakeApartPlan, copy_reference, release_part, release_version, take_apart,
};
pub use upload::{
    CompletePlan, abort_upload, change_version, complete_upload, create_upload, freeze_upload,
    load_upload, put_part, put_part_reference, reopen_upload, set_tags,
};

pub(crate) use put::put_dated;
pub(crate) use rows::{add_sweep, bucket_named, count_version};
pub(crate) use share::add_owner;
pub(crate) use upload::part_blob;

//! One drive: a shard store over a log, with an index that can be thrown away.
//!
//! # Invariants
//!
//! - A shard is found by its blob id and stripe; the record verifies itself, so that neither a hint
//!   nor the index is ever trusted.
//! - Nothing is freed by inference. A shard dies only by a tombstone; a segment is freed only when
//!   everything in it is dead, moved, or covered by an export.
//! - A tombstone wins at any position of the log: blob ids are never used again.
//!
//! # Not here
//!
//! Bucket and key names mean nothing here; which blobs are referenced is the catalog's business.

mod compact;
mod drive;
mod error;
mod scrub;
mod shard;
mod stray;
mod superblock;
mod table;

pub use compact::{CompactReport, Retain};
pub use drive::{Drive, DriveConfig, ShardRead};
pub use error::DriveError;
pub use scrub::Scrubbed;
pub use shard::{Coding, ShardId};
pub use stray::InProgress;
pub use superblock::{
    DRIVE_COUNT_MAX, NewDrive, SUPER_FILE, Super, format_drive, open_super, raise_term,
    read_sealed, read_super, segment_len_for, write_super,
};

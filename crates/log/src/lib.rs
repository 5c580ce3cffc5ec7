//! The append-only log that everything durable is in: segments, records, group commit, recovery.
//!
//! There is one log per drive. It has three classes ([`Class`]) with their own segments and their own
//! batches, so that a large upload does not stand in front of a small commit. A class's single
//! writer takes what is waiting, writes it as one batch with one vectored write and at most one
//! flush, and then runs the callbacks of those who wait.
//!
//! # Invariants
//!
//! - A callback with `Ok` of a group that asked for a flush means: durable.
//! - A record is valid only if its whole batch was; recovery never serves what a second power cut
//!   could take back.
//! - Nothing is appended behind a torn tail.
//! - After a failed write or flush of the device the log is quarantined for the life of the process; after
//!   nothing else. A file that cannot be opened fails what needs it.
//!
//! # Not here
//!
//! What the records mean: shards are the business of `drive`, frames that of `catalog`. The byte
//! tables are in `docs/formats/log.md`.
//!
//! # Tests
//!
//! `tests/it` enumerates crashes over the simulated disk and checks that seeded bugs are caught.

mod buffers;
mod error;
mod format;
mod group;
mod queue;
mod read;
mod recovery;
mod scan;
mod segment;
mod ticket;
mod writer;

mod log;

pub use error::{Damage, Failure, LogError};
pub use format::{Class, Location, RecordKind, SHARD_META_LEN_BYTES};
pub use group::{Chain, Durability, Group, RecordInput, Recorded, encoded_len_bytes};
pub use log::{Log, LogConfig, LogSpace, Observer, SeededBug};
pub use read::{ReadPlan, RecordRead};
pub use recovery::drive_of_segments;
pub use scan::{Scanned, ScannedRecord};
pub use segment::SegmentInfo;
pub use ticket::Ticket;

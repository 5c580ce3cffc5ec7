//! Errors of the log.

use std::io;
use std::sync::Arc;

/// A range of a segment that does not verify although it was durable once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Segment id.
    pub segment: u32,
    /// First damaged byte of the segment.
    pub from: u32,
    /// First byte behind the damage that verifies again, or the end of the segment.
    pub to: u32,
    /// What was damaged lies between this lsn and the next valid one.
    pub after_lsn: u64,
}

/// A write or a flush that failed. The drive is not written to again by this process: what the device has
/// is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} of segment {segment} failed")]
pub struct Failure {
    /// What was done.
    pub operation: &'static str,
    /// Segment id.
    pub segment: u32,
    /// What the operating system says.
    #[source]
    pub error: Arc<io::Error>,
}

/// Why the log could not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// No space for another segment. Nothing was written; may be tried again when there is space.
    #[error("the drive is full")]
    Full,
    /// The drive failed earlier and is not written to again by this process. Whether the last
    /// writes are durable is not known. Not retryable.
    #[error("the drive is quarantined after a failed write or flush")]
    Quarantined,
    /// The log was shut down. Not retryable.
    #[error("the log is closed")]
    Closed,
    /// A record larger than a segment can hold. Not retryable.
    #[error("a group of {len_bytes} bytes does not fit into a segment")]
    TooLarge {
        /// Encoded length of the group.
        len_bytes: u64,
    },
    /// Stored bytes do not verify. Not retryable.
    #[error("segment {} is damaged from byte {} to {}", .0.segment, .0.from, .0.to)]
    Damaged(Damage),
    /// The record asked for is not at this place any more (moved, or never was). Look it up again.
    #[error("no such record at this place")]
    NotThere,
    /// A segment of another drive lies in the directory. Not retryable.
    #[error("segment {segment} belongs to another drive")]
    Foreign {
        /// Segment id.
        segment: u32,
    },
    /// A segment was written by a newer version of this program. Not retryable.
    #[error("segment {segment} has format {format}, which this version cannot read")]
    Format {
        /// Segment id.
        segment: u32,
        /// Format number found.
        format: u8,
    },
    /// A file could not be opened or made: descriptors, memory or rights are missing. Nothing was
    /// written; may be tried again.
    #[error("a file of the log could not be opened")]
    NotOpened(#[source] Arc<io::Error>),
    /// A write or a flush failed just now. Not retryable.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The operating system reports an error of a read. May be tried again.
    #[error("input or output failed")]
    Io(#[source] Arc<io::Error>),
}

impl LogError {
    /// Whether there was no space or no file for what was to be written, so that certainly nothing was,
    /// and the same may be tried again.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Full | Self::NotOpened(_))
    }

    /// Of making a file whose space is reserved at once.
    pub(crate) fn of_creation(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::NotOpened(error.into()),
        }
    }
}

/// For errors of a write or a flush, whatever their kind: also where a device is full, something may have
/// been written.
pub(crate) fn failed(operation: &'static str, segment: u32) -> impl Fn(io::Error) -> LogError {
    move |error| Failure { operation, segment, error: error.into() }.into()
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

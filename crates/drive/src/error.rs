//! Errors of a drive.

use crate::shard::ShardId;
use drystone_index::IndexError;
use drystone_log::{Damage, LogError};
use std::io;
use std::sync::Arc;

/// Why a drive could not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DriveError {
    /// The directory has files in it, but is not a drive of ours. Not retryable.
    #[error(
        "{path} is not empty and is not a drystone drive (found {found}); \
         is the right filesystem mounted?"
    )]
    NotADrive {
        /// The directory.
        path: String,
        /// A file that was found there.
        found: String,
    },
    /// Neither slot of the identity file verifies. Not retryable.
    #[error("the identity of the drive (file `super`) is damaged")]
    SuperDamaged,
    /// The drive was written by a newer version of this program. Not retryable.
    #[error("the drive has format {format}, which this version cannot read")]
    Format {
        /// Format number found.
        format: u8,
    },
    /// Another drive is mounted than the one that was expected. Not retryable.
    #[error("this is drive {found}, but drive {expected} was expected here")]
    WrongDrive {
        /// Identity found, in hexadecimal.
        found: String,
        /// Identity expected, in hexadecimal.
        expected: String,
    },
    /// The shard is on no segment of this drive. Not retryable.
    #[error("shard {0} is not on this drive")]
    NotFound(ShardId),
    /// The shard's bytes do not verify. Not retryable.
    #[error("shard {shard} is damaged in segment {} at byte {}", .damage.segment, .damage.from)]
    Damaged {
        /// Which shard.
        shard: ShardId,
        /// Where it lies.
        damage: Damage,
    },
    /// No space. May be tried again when there is space.
    #[error("the drive is full")]
    Full,
    /// A file could not be opened. Nothing was written; may be tried again.
    #[error("a file of the drive could not be opened")]
    NotOpened(#[source] Arc<io::Error>),
    /// The log failed.
    #[error("the log failed")]
    Log(#[source] LogError),
    /// The index failed; it can be rebuilt.
    #[error("the index of the drive failed")]
    Index(#[from] IndexError),
    /// The operating system reports an error.
    #[error("input or output failed")]
    Io(#[source] Arc<io::Error>),
}

impl From<LogError> for DriveError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full => Self::Full,
            LogError::NotOpened(error) => Self::NotOpened(error),
            other => Self::Log(other),
        }
    }
}

impl From<io::Error> for DriveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

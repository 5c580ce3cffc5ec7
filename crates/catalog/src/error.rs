//! Errors of the catalog.

use crate::key::Family;
use drystone_base::DecodeError;
use drystone_index::IndexError;
use drystone_log::{Damage, LogError};

/// Why the catalog could not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CatalogError {
    /// No space for the frame. Nothing was committed; may be tried again when there is space.
    #[error("no space for the change")]
    Full,
    /// A file could not be opened. Nothing was committed; may be tried again.
    #[error("a file that the change needs could not be opened")]
    NotOpened,
    /// The change is larger than a segment of the log. Nothing was committed. Not retryable.
    #[error("a change does not fit into a segment of the log")]
    TooLarge,
    /// The drive failed while the change was on its way: whether it is committed is not known until
    /// the next start. Not retryable.
    #[error("the outcome of the change is not known")]
    Unknown,
    /// The catalog does not take changes any more: the drive failed earlier, or the process is
    /// stopping. Nothing was committed.
    #[error(
        "The store takes no changes: a drive failed, or the server is stopping. `drystone status` names the \
         drive; check it, then restart the server."
    )]
    Closed,
    /// The process was started with too few drives to change anything. Nothing was committed.
    #[error(
        "The store is read-only: too few of its drives were found at the start to be certain of the newest \
         state. `drystone status` names those that are missing; bring them back, then restart the server."
    )]
    ReadOnly,
    /// A stored row cannot be understood. It can still be overwritten and deleted.
    #[error("a stored row is damaged")]
    Row(#[from] DecodeError),
    /// A row is not what this deployment wrote: it was changed, has the seal of another row, or lost its
    /// seal. Who did that can write a drive that holds the catalog. Not retryable.
    #[error("the row {} was not written by this deployment: it was changed, moved or put there", shown(.key))]
    Forged {
        /// Key of the row.
        key: Vec<u8>,
    },
    /// The keyring is needed for this row, and was not given.
    #[error("the keyring is needed to read and write rows")]
    Locked,
    /// The index failed; the truth is not affected.
    #[error("the index of the catalog failed")]
    Index(#[from] IndexError),
    /// Frames that are needed do not verify. The catalog does not start on a part of its truth.
    #[error(
        "catalog frames after lsn {} are damaged: segment {}, bytes {} to {}",
        .0.after_lsn, .0.segment, .0.from, .0.to
    )]
    FramesDamaged(Damage),
    /// Frames that are needed are not there any more, and no export covers them.
    #[error("frames up to lsn {needed} were reclaimed, and no export that covers them is readable")]
    FramesMissing {
        /// The oldest frame that is still there begins after this.
        needed: u64,
    },
    /// The log failed.
    #[error("the log failed")]
    Log(#[source] LogError),
}

impl CatalogError {
    /// Whether no change at all is taken, by no fault of the one that was refused.
    #[must_use]
    pub fn takes_no_changes(&self) -> bool {
        matches!(self, Self::Closed | Self::ReadOnly)
    }
}

/// A key of a row, for people.
fn shown(key: &[u8]) -> String {
    let family =
        Family::of(key).map_or_else(|| "unknown".to_owned(), |family| format!("{family:?}"));
    let rest = key.get(1..).unwrap_or_default();
    format!("{} {}", family.to_lowercase(), rest.escape_ascii())
}

impl From<LogError> for CatalogError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full => Self::Full,
            LogError::NotOpened(_) => Self::NotOpened,
            LogError::TooLarge { .. } => Self::TooLarge,
            LogError::Closed | LogError::Quarantined => Self::Closed,
            LogError::Damaged(damage) => Self::FramesDamaged(damage),
            other => Self::Log(other),
        }
    }
}

//! `drystone bucket` and `drystone lock`: what no S3 request sets.

use super::Made;
use clap::Subcommand;
use drystone_admin_api::Request;

#[derive(Subcommand)]
pub(crate) enum BucketCommand {
    /// Let objects of a bucket without versions be appended to (x-amz-write-offset-bytes).
    Appends {
        bucket: String,
        /// Allow no more appends.
        #[arg(long)]
        off: bool,
    },
}

impl BucketCommand {
    pub(crate) fn request(self) -> Made {
        match self {
            Self::Appends { bucket, off } => Ok(Request::BucketAppends { bucket, enabled: !off }),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum LockCommand {
    /// Confirm that the clock of this machine is right. After a start that found it too far ahead to be
    /// believed, locks end by the old time until this is done, and writes under a default retention are
    /// refused; after one that found it more than a day behind, all writes with a retention are. `status`
    /// says so.
    ConfirmClock,
}

impl LockCommand {
    pub(crate) fn request(self) -> Made {
        match self {
            Self::ConfirmClock => Ok(Request::LockConfirmClock),
        }
    }
}

//! `drystone bucket` and `drystone lock`: what no S3 request sets.

use super::Made;
use clap::Subcommand;
use drystone_admin_api::Request;

#[derive(Subcommand)]
pub(crate) enum BucketCommand {
    /// Let objects of a bucket without versions be appended to (x-amz-write-offset-bytes).
    Appends {
        bucket: String,
        /// No more.
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
    /// Say that the clock of this machine is right: after a start that found it more than a day ahead, locks
    /// go on by the old time until then.
    ConfirmClock,
}

impl LockCommand {
    pub(crate) fn request(self) -> Made {
        match self {
            Self::ConfirmClock => Ok(Request::LockConfirmClock),
        }
    }
}

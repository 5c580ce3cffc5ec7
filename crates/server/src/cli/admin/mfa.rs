//! `drystone mfa`: the second factor of the owner.

use super::Made;
use clap::Subcommand;
use drystone_admin_api::Request;

#[derive(Subcommand)]
pub(crate) enum MfaCommand {
    /// Make a second factor for the owner of the server, and print its secret once.
    Enroll,
    /// Switch it on, by a code that it shows now.
    Confirm { code: String },
    /// Show its serial number and state.
    Info,
    /// Remove it: MFA Delete and sessions with a second factor need a new one then. Until there is one, no
    /// version of buckets with MFA Delete can be removed, and it cannot be switched off.
    Remove,
}

impl MfaCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Enroll => Request::MfaEnroll,
            Self::Confirm { code } => Request::MfaConfirm { code },
            Self::Info => Request::MfaInfo,
            Self::Remove => Request::MfaRemove,
        })
    }
}

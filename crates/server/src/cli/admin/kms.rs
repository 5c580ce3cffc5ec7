//! `drystone kms`: keys that data keys of objects are sealed under. `drystone mfa`: the second factor of the
//! owner. `drystone bucket`: what no S3 request sets.

use super::Made;
use clap::Subcommand;
use drystone_admin_api::Request;

#[derive(Subcommand)]
pub(crate) enum KmsCommand {
    /// Make a key; its id is chosen if it is left out.
    Add {
        #[arg(default_value = "")]
        key: String,
        /// For people.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List keys.
    List,
    /// Let a key seal and open again.
    Enable { key: String },
    /// Let a key seal and open nothing: what is sealed under it cannot be read meanwhile.
    Disable { key: String },
    /// Seal with new material from now on; what was sealed still opens.
    Rotate { key: String },
    /// Give a key another name, such as alias/datasets.
    Alias { name: String, key: String },
    /// Take a name away from its key.
    Unalias { name: String },
    /// Print the keyring, for a backup. Whoever has it and the drives can read everything.
    ExportKeyring,
}

impl KmsCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Add { key, description } => Request::KmsAdd { key, description },
            Self::List => Request::KmsList,
            Self::Enable { key } => Request::KmsEnable { key, enabled: true },
            Self::Disable { key } => Request::KmsEnable { key, enabled: false },
            Self::Rotate { key } => Request::KmsRotate { key },
            Self::Alias { name, key } => Request::KmsAlias { name, key: Some(key) },
            Self::Unalias { name } => Request::KmsAlias { name, key: None },
            Self::ExportKeyring => Request::KeyringExport,
        })
    }
}

#[derive(Subcommand)]
pub(crate) enum MfaCommand {
    /// Make a second factor for the owner of the server, and print its secret once.
    Enroll,
    /// Let it count, by its first code.
    Confirm { code: String },
    /// Tell about it.
    Info,
    /// Take it away.
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

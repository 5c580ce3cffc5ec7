//! `drystone kms`: keys that data keys of objects are sealed under.

use super::Made;
use clap::Subcommand;
use drystone_admin_api::Request;

#[derive(Subcommand)]
pub(crate) enum KmsCommand {
    /// Make a key.
    Add {
        /// Id; chosen at random if left out.
        #[arg(default_value = "", hide_default_value = true)]
        key: String,
        /// Note that `kms list` shows.
        #[arg(long, default_value = "")]
        description: String,
        /// Account that the key belongs to [default: that of the server].
        #[arg(long, default_value = "", hide_default_value = true)]
        account: String,
    },
    /// List keys.
    List,
    /// Enable a key: it encrypts and decrypts again.
    Enable { key: String },
    /// Disable a key: it encrypts nothing, and objects encrypted under it cannot be read until it is enabled.
    Disable { key: String },
    /// Encrypt with new key material from now on; what was encrypted before can still be read.
    Rotate { key: String },
    /// Give a key another name, such as alias/datasets.
    Alias { name: String, key: String },
    /// Remove such a name; the key stays.
    Unalias { name: String },
    /// Print the keyring, for a backup. Anyone who has it and the drives can read everything.
    ExportKeyring,
}

impl KmsCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::Add { key, description, account } => {
                Request::KmsAdd { key, description, account }
            }
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

//! `drystone kms`: keys that data keys of objects are sealed under.

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

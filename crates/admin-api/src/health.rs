//! Whether the server can do what it is there for. There is one such account at a time: the health paths,
//! metrics, `drystone status` and MinIO's admin API show it, and none of them knows more or less.

use serde::{Deserialize, Serialize};

/// Another server that keeps keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyService {
    /// None is set: keys are kept by the server itself.
    #[default]
    None,
    /// It answers.
    Answers,
    /// It does not answer, or is sealed: what is encrypted under its keys cannot be written or read.
    Gone,
}

/// What the server can do now, and why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// As many drives work as the write of an object needs. A full store counts: it takes deletes.
    pub takes_writes: bool,
    /// Nothing can be changed: too few drives were found at the start to be certain of the newest state.
    pub is_read_only: bool,
    /// All objects of the default storage class can be read, as far as drives decide it.
    pub is_readable: bool,
    /// A drive has no room for new objects: they are refused with 507.
    pub is_full: bool,
    /// Requests in progress are let end, and new ones are refused.
    pub is_stopping: bool,
    /// The drives said in time how they are; otherwise this is what was known before.
    pub is_current: bool,
    /// Locks wait for someone to confirm that the clock is right.
    pub is_clock_held: bool,
    /// The server that keeps keys.
    pub key_service: KeyService,
    /// Drives that a write needs.
    pub write_quorum: u64,
    /// Drives that a read needs.
    pub read_quorum: u64,
    /// Drives that are here and work.
    pub drives_online: u64,
    /// Drives that are missing, failed or not trusted.
    pub drives_offline: u64,
    /// Drives that lack shards and are given them; they are online.
    pub drives_filling: u64,
    /// Drives that are being emptied; they are online.
    pub drives_draining: u64,
    /// Drives without room for new objects; they are online.
    pub drives_full: u64,
}

impl Health {
    /// Name and value of each: 1 for yes, 0 for no. The names are those of the fields.
    #[must_use]
    pub fn values(&self) -> [(&'static str, u64); 16] {
        [
            ("takes_writes", self.takes_writes.into()),
            ("is_read_only", self.is_read_only.into()),
            ("is_readable", self.is_readable.into()),
            ("is_full", self.is_full.into()),
            ("is_stopping", self.is_stopping.into()),
            ("is_current", self.is_current.into()),
            ("is_clock_held", self.is_clock_held.into()),
            ("has_key_service", (self.key_service != KeyService::None).into()),
            ("is_key_service_gone", (self.key_service == KeyService::Gone).into()),
            ("write_quorum", self.write_quorum),
            ("read_quorum", self.read_quorum),
            ("drives_online", self.drives_online),
            ("drives_offline", self.drives_offline),
            ("drives_filling", self.drives_filling),
            ("drives_draining", self.drives_draining),
            ("drives_full", self.drives_full),
        ]
    }
}

//! Settings: what they may be, and what they mean.
//!
//! A value that is not understood is an error which names the setting as it was given, the value (unless it
//! is a secret) and what is accepted: no parser falls back to a default.

mod credentials;
mod environment;
mod ldap;
mod names;
mod openid;
mod values;

pub(crate) use credentials::{bench_secret, metrics_token, root_credentials};
pub(crate) use environment::{
    Given, argument_or_setting, check_names, home, read_variables, setting,
};
pub(crate) use ldap::ldap;
pub(crate) use names::{FLAGS, check_flag, page};
pub(crate) use openid::{openid, parse_issuers};
pub(crate) use values::*;

use crate::connection::ConnectionSettings;
use crate::keys::KeySettings;
use crate::places::GivenDirectory;
use crate::proxy::TrustedProxies;
use drystone_admin::{LdapConfig, OpenIdConfig};
use drystone_s3::{BucketDefaults, RestoreDelays};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a server, after command line and environment were put together.
#[derive(Clone)]
pub(crate) struct ServerConfig {
    /// Directories of the drives.
    pub(crate) directories: Vec<GivenDirectory>,
    /// Address of the S3 port.
    pub(crate) address: Given,
    /// Address of the console port; `None` for none.
    pub(crate) console_address: Option<Given>,
    /// Where clients find the server, as it is shown to people.
    pub(crate) server_url: Option<String>,
    /// Time for requests in progress when the server stops.
    pub(crate) shutdown_timeout: Duration,
    /// The form of log lines, also of what is said at the start.
    pub(crate) log_format: LogFormat,
    /// Nothing is said at the start.
    pub(crate) is_quiet: bool,
    /// Region of the server.
    pub(crate) region: String,
    /// Domains under which hosts name buckets, in lower case.
    pub(crate) domains: Vec<String>,
    /// Domains under which hosts name websites, in lower case.
    pub(crate) website_domains: Vec<String>,
    /// Directory with `public.crt` and `private.key`.
    pub(crate) certs_dir: Option<PathBuf>,
    /// Bytes of bodies held in memory at most.
    pub(crate) budget_bytes: u64,
    /// Length of segments of a drive that is made now; `None` for a 1,024th of the filesystem.
    pub(crate) segment_len: Option<u32>,
    /// Directories on the device of the root directory may become drives where others are not there.
    pub(crate) allow_root_device: bool,
    /// URLs and forms of signature version 2 are taken.
    pub(crate) allow_sigv2: bool,
    /// Drive that must be found, in hexadecimal.
    pub(crate) expected_drive: Option<String>,
    /// Where the access log goes.
    pub(crate) access_log: AccessLogTarget,
    /// What holds for buckets whose owners have not said anything about public access.
    pub(crate) bucket_defaults: BucketDefaults,
    /// Proxies whose forwarding headers count.
    pub(crate) proxies: TrustedProxies,
    /// Bounds of connections.
    pub(crate) connections: ConnectionSettings,
    /// OpenID providers.
    pub(crate) openid: Vec<OpenIdConfig>,
    /// Issuers that OpenID providers of accounts may name.
    pub(crate) openid_issuers: Vec<OpenIdConfig>,
    /// LDAP server.
    pub(crate) ldap: Option<LdapConfig>,
    /// Time between two deliveries of buckets' access logs.
    pub(crate) log_delivery: Duration,
    /// How long restores of archived objects take.
    pub(crate) restore_delays: RestoreDelays,
    /// Time after which a drive that is gone is given up; `None` for never.
    pub(crate) rehome_after: Option<Duration>,
    /// Time from the end of one scrub to the next; `None` for none.
    pub(crate) scrub_every: Option<Duration>,
    /// Bytes a second of a scrub.
    pub(crate) scrub_rate: u64,
    /// Bytes a second of repair, and of moves, at most; 0 for no limit.
    pub(crate) repair_rate: u64,
    /// Bytes of a single PUT at most.
    pub(crate) put_len_max: u64,
    /// Keys that things are sealed under.
    pub(crate) keys: KeySettings,
    /// Whether metrics need a token.
    pub(crate) metrics_public: bool,
    /// The token that metrics need; `None` for one that is derived from the root credentials.
    pub(crate) metrics_token: Option<String>,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccessLogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A value out of its range.
    #[error("{name} is {value:?}; allowed: {allowed}")]
    Value { name: String, value: String, allowed: String },
    /// A file that a setting names cannot be read.
    #[error("{name} names {path}, which cannot be read")]
    File {
        name: String,
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A file is to lie where no directory is.
    #[error("{option} {path}: there is no directory {parent}; make it first, or name another file")]
    Parent { option: &'static str, path: String, parent: String },
    /// A setting that must not be empty is.
    #[error("{name} is set, but empty; leave it out, or give it a value")]
    Empty { name: String },
    /// One of two settings that belong together is missing.
    #[error("{present} is set, but {missing} is not")]
    Pair { present: String, missing: String },
    /// A setting is given in two ways, and only one could count.
    #[error("{first} and {second} are both set; unset one of them")]
    Twice { first: String, second: String },
    /// A file of variables has a line that is none.
    #[error("{name} names {path}, whose line {line} is not NAME=VALUE")]
    Line { name: String, path: String, line: usize },
    /// A name of MinIO whose neglect would mislead.
    #[error("{name} cannot be followed: {reason}; take it out to start without it")]
    Refused { name: String, reason: &'static str },
    /// Directories are named in two places.
    #[error(
        "{variable} names {by_variable}, and the command line {by_argument}; name the same directories in \
         both, or unset {variable}"
    )]
    Volumes { variable: String, by_variable: String, by_argument: String },
}

/// The error of a setting without another one that it needs.
pub(crate) fn lacks(present: &Given, missing: &str) -> ConfigError {
    // The name by which a person knows it: who set MINIO_ROOT_USER lacks MINIO_ROOT_PASSWORD.
    let prefix = if present.name.starts_with("MINIO_") { "MINIO" } else { "DRYSTONE" };
    ConfigError::Pair { present: present.name.clone(), missing: format!("{prefix}_{missing}") }
}

/// Refuses files that settings name in directories that are not there. What lies in the directory of a drive
/// is made with it.
pub(crate) fn check_files(config: &ServerConfig) -> Result<(), ConfigError> {
    let log = match &config.access_log {
        AccessLogTarget::File(path) => Some(path),
        AccessLogTarget::Off | AccessLogTarget::Stdout => None,
    };
    for (option, path) in [("--keyring", config.keys.keyring.as_ref()), ("--access-log", log)] {
        let Some((path, parent)) = path.and_then(|path| Some((path, path.parent()?))) else {
            continue;
        };
        let is_in_drive = config.directories.iter().any(|given| parent.starts_with(&given.path));
        if !is_in_drive && !parent.as_os_str().is_empty() && !parent.is_dir() {
            let (path, parent) = (path.display().to_string(), parent.display().to_string());
            return Err(ConfigError::Parent { option, path, parent });
        }
    }
    Ok(())
}

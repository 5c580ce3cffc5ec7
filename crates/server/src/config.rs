//! Settings: the only place that reads the environment.

use crate::connection::ConnectionSettings;
use crate::keys::KeySettings;
use crate::places::GivenDirectory;
use crate::proxy::TrustedProxies;
use drystone_admin::{LdapConfig, OpenIdConfig};
use drystone_base::limits::{OBJECT_LEN_BYTES_MAX, PUT_LEN_BYTES_MAX};
use drystone_s3::{BucketDefaults, RestoreDelays};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a server, after command line and environment were put together.
#[derive(Clone)]
pub(crate) struct ServerConfig {
    /// Directories of the drives.
    pub(crate) directories: Vec<GivenDirectory>,
    /// Address of the S3 port.
    pub(crate) address: String,
    /// Address of the console port.
    pub(crate) console_address: String,
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
    Value { name: &'static str, value: String, allowed: &'static str },
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
    #[error("{name} is set, but empty; unset it, or give it a value")]
    Empty { name: String },
    /// One of two settings that belong together is missing.
    #[error("{present} is set, but {missing} is not")]
    Pair { present: &'static str, missing: &'static str },
}

#[allow(clippy::disallowed_methods, reason = "this is the one place")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A setting from `DRYSTONE_NAME` or `MINIO_NAME`, or from the file that `…_FILE` names.
pub(crate) fn setting(name: &str) -> Result<Option<String>, ConfigError> {
    for prefix in ["DRYSTONE", "MINIO"] {
        let name = format!("{prefix}_{name}");
        if let Some(value) = env(&name) {
            return Ok(Some(value));
        }
        let name = format!("{name}_FILE");
        if let Some(path) = env(&name) {
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|source| ConfigError::File { name, path, source })?;
            return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
    }
    Ok(None)
}

/// Suffixes of settings such as `IDENTITY_OPENID_CONFIG_URL_GOOGLE`; empty for the one without.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
fn suffixes(name: &str) -> Vec<String> {
    let mut found = std::collections::BTreeSet::new();
    for (key, value) in std::env::vars() {
        for prefix in ["DRYSTONE", "MINIO"] {
            let Some(rest) = key.strip_prefix(&format!("{prefix}_{name}")) else { continue };
            if !value.is_empty() && rest != "_FILE" && (rest.is_empty() || rest.starts_with('_')) {
                found.insert(rest.to_owned());
            }
        }
    }
    found.into_iter().collect()
}

/// Whether a setting switches something on.
pub(crate) fn is_on(value: &str) -> bool {
    matches!(value, "on" | "true" | "1")
}

/// OpenID providers from the environment.
pub(crate) fn openid() -> Result<Vec<OpenIdConfig>, ConfigError> {
    let mut providers = Vec::new();
    for suffix in suffixes("IDENTITY_OPENID_CONFIG_URL") {
        let get = |name: &str| {
            let value = setting(&format!("IDENTITY_OPENID_{name}{suffix}"))?;
            Ok::<_, ConfigError>(value.unwrap_or_default())
        };
        providers.push(OpenIdConfig {
            config_url: get("CONFIG_URL")?,
            client_id: get("CLIENT_ID")?,
            claim_name: get("CLAIM_NAME")?,
            claim_prefix: get("CLAIM_PREFIX")?,
            role_policy: get("ROLE_POLICY")?,
            user_id_claim: get("USER_ID_CLAIM")?,
            claim_userinfo: is_on(&get("CLAIM_USERINFO")?),
        });
    }
    let by_claim = providers.iter().filter(|provider| provider.role_policy.is_empty()).count();
    if by_claim > 1 {
        let value = format!("{by_claim} providers without a role policy");
        let allowed = "one at most; give the others IDENTITY_OPENID_ROLE_POLICY";
        return Err(ConfigError::Value { name: "IDENTITY_OPENID", value, allowed });
    }
    Ok(providers)
}

/// The LDAP server of the environment.
pub(crate) fn ldap() -> Result<Option<LdapConfig>, ConfigError> {
    let get = |name: &str| {
        Ok::<_, ConfigError>(setting(&format!("IDENTITY_LDAP_{name}"))?.unwrap_or_default())
    };
    let is_on = |name: &str| Ok::<_, ConfigError>(is_on(&get(name)?));
    let server_addr = get("SERVER_ADDR")?;
    if server_addr.is_empty() {
        return Ok(None);
    }
    let config = LdapConfig {
        server_addr,
        lookup_bind_dn: get("LOOKUP_BIND_DN")?,
        lookup_bind_password: get("LOOKUP_BIND_PASSWORD")?,
        user_base: get("USER_DN_SEARCH_BASE_DN")?,
        user_filter: get("USER_DN_SEARCH_FILTER")?,
        group_base: get("GROUP_SEARCH_BASE_DN")?,
        group_filter: get("GROUP_SEARCH_FILTER")?,
        tls_skip_verify: is_on("TLS_SKIP_VERIFY")?,
        server_insecure: is_on("SERVER_INSECURE")?,
        server_starttls: is_on("SERVER_STARTTLS")?,
    };
    if config.user_base.is_empty() || !config.user_filter.contains("%s") {
        let name = "IDENTITY_LDAP_USER_DN_SEARCH_FILTER";
        let allowed = "a filter with %s, and a search base";
        return Err(ConfigError::Value { name, value: config.user_filter, allowed });
    }
    Ok(Some(config))
}

/// Refuses a setting that is there but empty, under any of its names. A variable that a script failed to fill
/// in would otherwise count as none.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
fn must_not_be_empty(name: &str) -> Result<(), ConfigError> {
    for prefix in ["DRYSTONE", "MINIO"] {
        for suffix in ["", "_FILE"] {
            let name = format!("{prefix}_{name}{suffix}");
            if std::env::var_os(&name).is_some_and(|value| value.is_empty()) {
                return Err(ConfigError::Empty { name });
            }
        }
    }
    Ok(())
}

/// Root credentials from the environment.
pub(crate) fn root_credentials() -> Result<Option<(String, String)>, ConfigError> {
    must_not_be_empty("ROOT_USER")?;
    must_not_be_empty("ROOT_PASSWORD")?;
    let (present, missing) = ("DRYSTONE_ROOT_USER", "DRYSTONE_ROOT_PASSWORD");
    match (setting("ROOT_USER")?, setting("ROOT_PASSWORD")?) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::Pair { present, missing }),
        (None, Some(_)) => Err(ConfigError::Pair { present: missing, missing: present }),
        (Some(user), Some(password)) => {
            if user.len() < 3 {
                let allowed = "3 or more characters";
                return Err(ConfigError::Value { name: present, value: user, allowed });
            }
            if password.len() < 8 {
                let (value, allowed) = ("(hidden)".to_owned(), "8 or more characters");
                return Err(ConfigError::Value { name: missing, value, allowed });
            }
            Ok(Some((user, password)))
        }
    }
}

/// The secret key for measuring.
pub(crate) fn bench_secret() -> Result<String, ConfigError> {
    if let Some(secret) = setting("BENCH_SECRET_KEY")? {
        return Ok(secret);
    }
    setting("ROOT_PASSWORD")?
        .ok_or(ConfigError::Pair { present: "--access-key", missing: "DRYSTONE_BENCH_SECRET_KEY" })
}

/// A comma-separated list of domains.
pub(crate) fn domains(text: &str) -> Vec<String> {
    let names = text.split(',').map(|name| name.trim().to_ascii_lowercase());
    names.filter(|name| !name.is_empty()).collect()
}

/// A size such as `256MiB`.
pub(crate) fn parse_size(name: &'static str, text: &str) -> Result<u64, ConfigError> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        _ => None,
    };
    let size = digits.parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    size.ok_or_else(|| ConfigError::Value {
        name,
        value: text.to_owned(),
        allowed: "a number with KiB, MiB or GiB",
    })
}

/// Bytes of the memory budget. What is less than a server can work with is refused: a number without its unit
/// would otherwise make a server that refuses most requests.
pub(crate) fn parse_budget(text: &str) -> Result<u64, ConfigError> {
    let (name, allowed) = ("memory budget", "4MiB or more, such as 256MiB");
    let value = text.to_owned();
    match parse_size(name, text) {
        Ok(bytes) if bytes >= 4 << 20 => Ok(bytes),
        _ => Err(ConfigError::Value { name, value, allowed }),
    }
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

/// A count of at least one, if it is set.
pub(crate) fn parse_count(
    name: &'static str,
    text: Option<&str>,
) -> Result<Option<usize>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let count = text.parse::<usize>().ok().filter(|count| *count > 0);
    count.map(Some).ok_or_else(|| ConfigError::Value {
        name,
        value: text.to_owned(),
        allowed: "a number from 1 on",
    })
}

/// The longest single PUT: 5 GiB as in S3, or more, up to the longest object.
pub(crate) fn parse_put_len(text: Option<&str>) -> Result<u64, ConfigError> {
    let (name, allowed) = ("put limit", "5GiB to 5120GiB");
    let Some(text) = text else { return Ok(PUT_LEN_BYTES_MAX) };
    let len = parse_size(name, text)?;
    let fits = (PUT_LEN_BYTES_MAX..=OBJECT_LEN_BYTES_MAX).contains(&len);
    fits.then_some(len).ok_or_else(|| ConfigError::Value { name, value: text.to_owned(), allowed })
}

/// A time such as `14d` or `30s`; `None` for `off`.
pub(crate) fn parse_interval(
    name: &'static str,
    text: &str,
) -> Result<Option<Duration>, ConfigError> {
    if text == "off" {
        return Ok(None);
    }
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = match text[digits.len()..].trim() {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(24 * 3600),
        _ => None,
    };
    let seconds = digits.parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    let seconds = seconds.filter(|seconds| (1..=3650 * 24 * 3600).contains(seconds));
    seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(|| ConfigError::Value {
        name,
        value: text.to_owned(),
        allowed: "a number with s, m, h or d, or off",
    })
}

/// A time limit of connections, such as `30s`; 30 seconds if none is set.
pub(crate) fn parse_limit(name: &'static str, text: Option<&str>) -> Result<Duration, ConfigError> {
    let limit = parse_interval(name, text.unwrap_or("30s"))?;
    let limit = limit.filter(|limit| *limit <= Duration::from_secs(3600));
    limit.ok_or_else(|| ConfigError::Value {
        name,
        value: text.unwrap_or_default().to_owned(),
        allowed: "1s to 1h",
    })
}

/// How long restores take, such as `expedited=1m,standard=3h,bulk=5h`; what is not named takes no time.
pub(crate) fn parse_restore_delays(text: &str) -> Result<RestoreDelays, ConfigError> {
    let mut delays = RestoreDelays::default();
    let name = "restore delays";
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (tier, time) = item.split_once('=').unwrap_or((item, ""));
        let delay = match time {
            "0" => Duration::ZERO,
            time => parse_interval(name, time)?.unwrap_or_default(),
        };
        match tier {
            "expedited" => delays.expedited = delay,
            "standard" => delays.standard = delay,
            "bulk" => delays.bulk = delay,
            _ => {
                let allowed = "expedited=TIME,standard=TIME,bulk=TIME";
                return Err(ConfigError::Value { name, value: text.to_owned(), allowed });
            }
        }
    }
    Ok(delays)
}

/// Length of segments, from its setting.
pub(crate) fn parse_segment_len(text: &str) -> Result<u32, ConfigError> {
    let name = "segment size";
    let len = parse_size(name, text)?;
    let fits = (1 << 20..=256 << 20).contains(&len) && len.is_multiple_of(4096);
    u32::try_from(len).ok().filter(|_| fits).ok_or_else(|| ConfigError::Value {
        name,
        value: text.to_owned(),
        allowed: "1MiB to 256MiB, a multiple of 4KiB",
    })
}

/// Where the access log goes, from its setting.
pub(crate) fn parse_access_log(text: &str) -> AccessLogTarget {
    match text {
        "off" => AccessLogTarget::Off,
        "stdout" => AccessLogTarget::Stdout,
        path => AccessLogTarget::File(path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("x", "5").ok(), Some(5));
        assert_eq!(parse_size("x", "256MiB").ok(), Some(256 << 20));
        assert_eq!(parse_size("x", "2 g").ok(), Some(2 << 30));
        assert!(parse_size("x", "MiB").is_err());
        assert!(parse_size("x", "5 parsecs").is_err());
    }

    #[test]
    fn restores_take_as_long_as_is_said_for_their_tier() {
        let delays = parse_restore_delays("expedited=1m, bulk=5h").expect("is understood");
        assert_eq!(delays.expedited, Duration::from_secs(60));
        assert_eq!((delays.standard, delays.bulk), (Duration::ZERO, Duration::from_secs(18_000)));
        for wrong in ["slow=1h", "bulk", "bulk=5"] {
            assert!(parse_restore_delays(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn intervals_have_units() {
        let days = |n: u64| Some(Some(Duration::from_secs(n * 24 * 3600)));
        assert_eq!(parse_interval("x", "14d").ok(), days(14));
        assert_eq!(parse_interval("x", "24h").ok(), days(1));
        assert_eq!(parse_interval("x", "off").ok(), Some(None));
        for wrong in ["14", "d", "0s", "1y", "99999d", "-1d"] {
            assert!(parse_interval("x", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn domains_are_lower_case_and_trimmed() {
        assert_eq!(domains("S3.Example.com, b.c,"), ["s3.example.com", "b.c"]);
    }
}

//! Settings: what they may be, and what they mean.
//!
//! A value that is not understood is an error which names the setting as it was given, the value (unless it
//! is a secret) and what is accepted: no parser falls back to a default.

mod environment;
mod openid;

pub(crate) use environment::{Given, argument_or_setting, setting, warn_of_unknown};
pub(crate) use openid::{openid, parse_issuers};

use crate::connection::ConnectionSettings;
use crate::keys::KeySettings;
use crate::places::GivenDirectory;
use crate::proxy::TrustedProxies;
use crate::root_keys::{ACCESS_KEY_LEN_MIN, SECRET_KEY_LEN_MIN};
use drystone_admin::{LdapConfig, OpenIdConfig};
use drystone_base::limits::{OBJECT_LEN_BYTES_MAX, PUT_LEN_BYTES_MAX};
use drystone_base::unhex;
use drystone_s3::{BucketDefaults, RestoreDelays};
use environment::suffixes;
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
}

/// The error of a setting without another one that it needs.
pub(crate) fn lacks(present: &Given, missing: &str) -> ConfigError {
    ConfigError::Pair { present: present.name.clone(), missing: format!("DRYSTONE_{missing}") }
}

/// What a switch says.
pub(crate) fn parse_switch(given: &Given) -> Result<bool, ConfigError> {
    match given.value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(given.refused("on, true, yes or 1; off, false, no or 0")),
    }
}

/// Whether a setting switches something on.
pub(crate) fn switch(name: &str) -> Result<bool, ConfigError> {
    setting(name)?.as_ref().map_or(Ok(false), parse_switch)
}

/// One of several words.
pub(crate) fn parse_word<T: Copy>(given: &Given, words: &[(&str, T)]) -> Result<T, ConfigError> {
    let found = words.iter().find(|(word, _)| *word == given.value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        given.refused(names.join(" or "))
    })
}

/// An address of a server that is asked, such as `https://vault.example:8200`.
pub(crate) fn parse_url(given: &Given) -> Result<String, ConfigError> {
    let is_url = given.value.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|h| !h.is_empty())
    });
    is_url.then(|| given.value.clone()).ok_or_else(|| given.refused("a URL of http:// or https://"))
}

/// Settings of the LDAP server beside its address.
const LDAP_NAMES: [&str; 9] = [
    "LOOKUP_BIND_DN",
    "LOOKUP_BIND_PASSWORD",
    "USER_DN_SEARCH_BASE_DN",
    "USER_DN_SEARCH_FILTER",
    "GROUP_SEARCH_BASE_DN",
    "GROUP_SEARCH_FILTER",
    "TLS_SKIP_VERIFY",
    "SERVER_INSECURE",
    "SERVER_STARTTLS",
];

/// The LDAP server of the environment.
pub(crate) fn ldap() -> Result<Option<LdapConfig>, ConfigError> {
    let given = |name: &str| setting(&format!("IDENTITY_LDAP_{name}"));
    let Some(address) = given("SERVER_ADDR")? else {
        for name in LDAP_NAMES {
            if let Some(given) = given(name)? {
                return Err(lacks(&given, "IDENTITY_LDAP_SERVER_ADDR"));
            }
        }
        return Ok(None);
    };
    if address.value.parse::<http::uri::Authority>().is_err() || address.value.contains('@') {
        return Err(address.refused("HOST or HOST:PORT"));
    }
    for (name, other) in [
        ("LOOKUP_BIND_DN", "LOOKUP_BIND_PASSWORD"),
        ("LOOKUP_BIND_PASSWORD", "LOOKUP_BIND_DN"),
        ("GROUP_SEARCH_BASE_DN", "GROUP_SEARCH_FILTER"),
        ("GROUP_SEARCH_FILTER", "GROUP_SEARCH_BASE_DN"),
    ] {
        if let (Some(given), None) = (given(name)?, given(other)?) {
            return Err(lacks(&given, &format!("IDENTITY_LDAP_{other}")));
        }
    }
    let get = |name: &str| Ok::<_, ConfigError>(given(name)?.map_or_else(String::new, |g| g.value));
    let is_on = |name: &str| given(name)?.as_ref().map_or(Ok(false), parse_switch);
    let user_filter = given("USER_DN_SEARCH_FILTER")?;
    let user_filter =
        user_filter.ok_or_else(|| lacks(&address, "IDENTITY_LDAP_USER_DN_SEARCH_FILTER"))?;
    if given("USER_DN_SEARCH_BASE_DN")?.is_none() {
        return Err(lacks(&address, "IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN"));
    }
    if !is_filter(&user_filter.value) || !user_filter.value.contains("%s") {
        return Err(user_filter.refused("a filter with %s, such as (uid=%s)"));
    }
    if let Some(filter) = given("GROUP_SEARCH_FILTER")?.filter(|given| !is_filter(&given.value)) {
        return Err(filter.refused("a filter such as (&(objectClass=groupOfNames)(member=%d))"));
    }
    Ok(Some(LdapConfig {
        server_addr: address.value,
        lookup_bind_dn: get("LOOKUP_BIND_DN")?,
        lookup_bind_password: get("LOOKUP_BIND_PASSWORD")?,
        user_base: get("USER_DN_SEARCH_BASE_DN")?,
        user_filter: user_filter.value,
        group_base: get("GROUP_SEARCH_BASE_DN")?,
        group_filter: get("GROUP_SEARCH_FILTER")?,
        tls_skip_verify: is_on("TLS_SKIP_VERIFY")?,
        server_insecure: is_on("SERVER_INSECURE")?,
        server_starttls: is_on("SERVER_STARTTLS")?,
    }))
}

/// Whether a text has the form of an LDAP filter: each parenthesis is closed.
fn is_filter(text: &str) -> bool {
    let mut depth = 0_usize;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            _ => {}
        }
    }
    depth == 0 && text.contains('=')
}

/// Root credentials from the environment.
pub(crate) fn root_credentials() -> Result<Option<(String, String)>, ConfigError> {
    match (setting("ROOT_USER")?, setting("ROOT_PASSWORD")?) {
        (None, None) => Ok(None),
        (Some(user), None) => Err(lacks(&user, "ROOT_PASSWORD")),
        (None, Some(password)) => Err(lacks(&password, "ROOT_USER")),
        (Some(user), Some(password)) => {
            let both = [(&user, ACCESS_KEY_LEN_MIN), (&password, SECRET_KEY_LEN_MIN)];
            for (given, len_min) in both {
                if given.value.len() < len_min {
                    return Err(given.refused(format!("{len_min} or more characters")));
                }
                // Of a copy from a page: no client would be given the blank.
                if given.value.trim() != given.value {
                    return Err(given.refused("no blanks at its beginning or end"));
                }
            }
            Ok(Some((user.value, password.value)))
        }
    }
}

/// The bearer token of the metrics, if one is set. It must fit into a header.
pub(crate) fn metrics_token() -> Result<Option<String>, ConfigError> {
    let Some(given) = setting("METRICS_TOKEN")? else { return Ok(None) };
    match given.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Some(given.value)),
        false => Err(given.refused("visible ASCII characters without blanks")),
    }
}

/// The secret key for measuring.
pub(crate) fn bench_secret() -> Result<String, ConfigError> {
    let secret = match setting("BENCH_SECRET_KEY")? {
        Some(secret) => Some(secret),
        None => setting("ROOT_PASSWORD")?,
    };
    let missing = || lacks(&Given::option("--access-key", ""), "BENCH_SECRET_KEY");
    secret.map(|secret| secret.value).ok_or_else(missing)
}

/// The region: a part of every signature.
pub(crate) fn parse_region(given: &Given) -> Result<String, ConfigError> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_region = (1..=64).contains(&given.value.len()) && given.value.bytes().all(is_letter);
    let allowed = "1 to 64 letters, digits, - and _, such as us-east-1";
    is_region.then(|| given.value.clone()).ok_or_else(|| given.refused(allowed))
}

/// Domains, separated by commas, in lower case.
pub(crate) fn parse_domains(given: &Given) -> Result<Vec<String>, ConfigError> {
    let names = given.value.split(',').map(|name| name.trim().to_ascii_lowercase());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    let is_good = !names.is_empty() && names.iter().all(|name| is_domain(name));
    let allowed = "names such as s3.example.com without a port, separated by commas";
    is_good.then_some(names).ok_or_else(|| given.refused(allowed))
}

/// Whether a name can stand in a `Host` header: labels of 1 to 63 letters, digits, `-` and `_`.
fn is_domain(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| {
        let is_long = (1..=63).contains(&label.len());
        is_long && label.bytes().all(is_letter) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn size_of(text: &str) -> Option<u64> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "tb" => 1000 * 1000 * 1000 * 1000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A size such as `256MiB` that `fits`.
fn parse_size(
    given: &Given,
    allowed: &str,
    fits: impl Fn(u64) -> bool,
) -> Result<u64, ConfigError> {
    size_of(&given.value).filter(|size| fits(*size)).ok_or_else(|| given.refused(allowed))
}

/// A length in bytes.
pub(crate) fn parse_len(given: &Given) -> Result<u64, ConfigError> {
    parse_size(given, "a number with KiB, MiB, GiB, TiB, or KB, MB, GB, TB, such as 4KiB", |_| true)
}

/// Bytes a second. A few of them would let the work never end: a number without its unit is refused.
pub(crate) fn parse_rate(given: &Given) -> Result<u64, ConfigError> {
    parse_size(given, "64KiB or more, such as 32MiB; 0 for no limit", |rate| {
        rate == 0 || rate >= 64 << 10
    })
}

/// Bytes of the memory budget. What is less than a server can work with is refused: a number without its unit
/// would otherwise make a server that refuses most requests.
pub(crate) fn parse_budget(given: &Given) -> Result<u64, ConfigError> {
    parse_size(given, "4MiB or more, such as 256MiB", |bytes| bytes >= 4 << 20)
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

/// A count of at least one.
pub(crate) fn parse_count(given: &Given) -> Result<usize, ConfigError> {
    let count = given.value.parse::<usize>().ok().filter(|count| *count > 0);
    count.ok_or_else(|| given.refused("a number from 1 on"))
}

/// The longest single PUT: 5 GiB as in S3, or more, up to the longest object.
pub(crate) fn parse_put_len(given: &Given) -> Result<u64, ConfigError> {
    parse_size(given, "5GiB to 5120GiB", |len| {
        (PUT_LEN_BYTES_MAX..=OBJECT_LEN_BYTES_MAX).contains(&len)
    })
}

fn time_of(text: &str) -> Option<Duration> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = match text[digits.len()..].trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=3650 * 24 * 3600).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// A time such as `14d` or `30s`; `None` for `off`.
pub(crate) fn parse_interval(given: &Given) -> Result<Option<Duration>, ConfigError> {
    match given.value.as_str() {
        "off" => Ok(None),
        text => time_of(text).map(Some).ok_or_else(|| {
            given.refused("1s to 3650d: a number with s, m, h or d, such as 14d; or off")
        }),
    }
}

/// A time limit of connections, such as `30s`.
pub(crate) fn parse_limit(given: &Given) -> Result<Duration, ConfigError> {
    let limit = time_of(&given.value).filter(|limit| *limit <= Duration::from_secs(3600));
    limit.ok_or_else(|| given.refused("1s to 1h"))
}

/// Seconds between two deliveries of access logs.
pub(crate) fn parse_seconds(given: &Given) -> Result<Duration, ConfigError> {
    let seconds = given.value.parse::<u64>().ok().filter(|s| (1..=86_400).contains(s));
    seconds.map(Duration::from_secs).ok_or_else(|| given.refused("1 to 86400"))
}

/// How long restores take, such as `expedited=1m,standard=3h,bulk=5h`; what is not named takes no time.
pub(crate) fn parse_restore_delays(given: &Given) -> Result<RestoreDelays, ConfigError> {
    let mut delays = RestoreDelays::default();
    let refused = || {
        given.refused("expedited=TIME,standard=TIME,bulk=TIME, with times such as 1m or 3h, or 0")
    };
    for item in given.value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (tier, time) = item.split_once('=').ok_or_else(refused)?;
        let delay = match time {
            "0" => Duration::ZERO,
            time => time_of(time).ok_or_else(refused)?,
        };
        match tier {
            "expedited" => delays.expedited = delay,
            "standard" => delays.standard = delay,
            "bulk" => delays.bulk = delay,
            _ => return Err(refused()),
        }
    }
    Ok(delays)
}

/// Length of segments, from its setting.
pub(crate) fn parse_segment_len(given: &Given) -> Result<u32, ConfigError> {
    let allowed = "1MiB to 256MiB, a multiple of 4KiB";
    let fits = |len: u64| (1 << 20..=256 << 20).contains(&len) && len.is_multiple_of(4096);
    let len = parse_size(given, allowed, fits)?;
    u32::try_from(len).map_err(|_| given.refused(allowed))
}

/// Id of a drive or a deployment.
pub(crate) fn parse_id(given: &Given) -> Result<[u8; 16], ConfigError> {
    let id = unhex(&given.value).and_then(|id| id.try_into().ok());
    id.ok_or_else(|| given.refused("an id of 32 hexadecimal digits"))
}

/// Words that are taken for a switch by mistake: they are no names of files.
const NOT_FILES: [&str; 9] = ["", "on", "true", "yes", "1", "false", "no", "0", "none"];

/// Where the access log goes, from its setting.
pub(crate) fn parse_access_log(given: &Given) -> Result<AccessLogTarget, ConfigError> {
    match given.value.as_str() {
        "off" => Ok(AccessLogTarget::Off),
        "stdout" => Ok(AccessLogTarget::Stdout),
        word if NOT_FILES.contains(&word) => Err(given.refused("off, stdout, or a file")),
        path => Ok(AccessLogTarget::File(path.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: &str) -> Given {
        Given::option("--x", value)
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size_of("5"), Some(5));
        assert_eq!(size_of("256MiB"), Some(256 << 20));
        assert_eq!((size_of("2TiB"), size_of("2 TB")), (Some(2 << 40), Some(2_000_000_000_000)));
        assert_eq!(size_of("16777216TiB"), None);
        assert_eq!(size_of("2 g"), Some(2 << 30));
        assert_eq!((size_of("MiB"), size_of("5 parsecs"), size_of("")), (None, None, None));
    }

    #[test]
    fn restores_take_as_long_as_is_said_for_their_tier() {
        let delays = parse_restore_delays(&given("expedited=1m, bulk=5h")).expect("is understood");
        assert_eq!(delays.expedited, Duration::from_secs(60));
        assert_eq!((delays.standard, delays.bulk), (Duration::ZERO, Duration::from_secs(18_000)));
        for wrong in ["slow=1h", "bulk", "bulk=5"] {
            assert!(parse_restore_delays(&given(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn intervals_have_units() {
        let days = |n: u64| Some(Some(Duration::from_secs(n * 24 * 3600)));
        assert_eq!(parse_interval(&given("14d")).ok(), days(14));
        assert_eq!(parse_interval(&given("24h")).ok(), days(1));
        assert_eq!(parse_interval(&given("off")).ok(), Some(None));
        for wrong in ["", "14", "d", "0s", "1y", "99999d", "-1d"] {
            assert!(parse_interval(&given(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn domains_are_lower_case_trimmed_and_names() {
        let domains = |text| parse_domains(&given(text)).ok();
        assert_eq!(domains("S3.Example.com, b.c,").expect("names"), ["s3.example.com", "b.c"]);
        for wrong in
            ["", ",", "bad domain", "a..b", "-a.b", "a.b:9000", "https://a.b", "a/b", "*.a"]
        {
            assert_eq!(domains(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn switches_have_two_sides() {
        for (text, want) in
            [("YES", Some(true)), ("1", Some(true)), ("no", Some(false)), ("y", None)]
        {
            assert_eq!(parse_switch(&given(text)).ok(), want, "{text}");
        }
    }
}

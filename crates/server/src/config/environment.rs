//! Variables of the environment: the only place that reads them.
//!
//! A setting is `DRYSTONE_NAME` or `MINIO_NAME`, or the content of the file that `…_FILE` names. The name of
//! this server wins over that of MinIO, and an argument of the command line wins over both.
//!
//! # Invariants
//!
//! - A value is used, or refused by the name under which it was given. It is never replaced by a default.
//! - Every name is in [`NAMES`]; a variable that is not there is named in a warning at the start.

use super::ConfigError;
use std::collections::BTreeSet;
use std::env::VarError;

const PREFIXES: [&str; 2] = ["DRYSTONE", "MINIO"];

/// Names of settings, without prefix. The black-box test `test_settings.py` gives each a wrong value.
const NAMES: &[&str] = &[
    "ACCESS_LOG",
    "ALLOW_ROOT_DEVICE",
    "ALLOW_SIGV2",
    "AT",
    "BENCH_SECRET_KEY",
    "BUCKET_DEFAULTS",
    "DOMAIN",
    "IDENTITY_LDAP_GROUP_SEARCH_BASE_DN",
    "IDENTITY_LDAP_GROUP_SEARCH_FILTER",
    "IDENTITY_LDAP_LOOKUP_BIND_DN",
    "IDENTITY_LDAP_LOOKUP_BIND_PASSWORD",
    "IDENTITY_LDAP_SERVER_ADDR",
    "IDENTITY_LDAP_SERVER_INSECURE",
    "IDENTITY_LDAP_SERVER_STARTTLS",
    "IDENTITY_LDAP_TLS_SKIP_VERIFY",
    "IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN",
    "IDENTITY_LDAP_USER_DN_SEARCH_FILTER",
    "IDENTITY_OPENID_CLAIM_NAME",
    "IDENTITY_OPENID_CLAIM_PREFIX",
    "IDENTITY_OPENID_CLAIM_USERINFO",
    "IDENTITY_OPENID_CLIENT_ID",
    "IDENTITY_OPENID_CONFIG_URL",
    "IDENTITY_OPENID_ISSUER",
    "IDENTITY_OPENID_ROLE_POLICY",
    "IDENTITY_OPENID_USER_ID_CLAIM",
    "IDLE_TIMEOUT",
    "KEYRING",
    "KMS_AUTO_ENCRYPTION",
    "KMS_SECRET_KEY",
    "LOG_DELIVERY_SECONDS",
    "LOG_FORMAT",
    "MAX_CONNECTIONS",
    "MAX_CONNECTIONS_PER_SOURCE",
    "MEMORY_BUDGET",
    "METRICS_TOKEN",
    "OPENID_ISSUERS",
    "PROMETHEUS_AUTH_TYPE",
    "PUT_LIMIT",
    "READ_HEADER_TIMEOUT",
    "REGION",
    "REHOME_AFTER",
    "REPAIR_RATE",
    "RESTORE_DELAYS",
    "ROOT_PASSWORD",
    "ROOT_USER",
    "SCRUB_EVERY",
    "SCRUB_RATE",
    "TRUSTED_PROXIES",
    "VAULT_MOUNT",
    "VAULT_NAMESPACE",
    "VAULT_TOKEN",
    "VAULT_URL",
    "WEBSITE_DOMAIN",
];

/// Settings whose values are not shown.
const SECRETS: &[&str] = &[
    "BENCH_SECRET_KEY",
    "IDENTITY_LDAP_LOOKUP_BIND_PASSWORD",
    "KMS_SECRET_KEY",
    "METRICS_TOKEN",
    "ROOT_PASSWORD",
    "VAULT_TOKEN",
];

/// Settings that must not be empty. A variable that a script failed to fill in would count as none, and the
/// server would start with other keys than were meant. Elsewhere an empty variable counts as none.
const NEVER_EMPTY: &[&str] = &[
    "KEYRING",
    "KMS_SECRET_KEY",
    "METRICS_TOKEN",
    "ROOT_PASSWORD",
    "ROOT_USER",
    "VAULT_TOKEN",
    "VAULT_URL",
];

/// Providers of OpenID have these, each with a suffix of its own.
const OPENID: &str = "IDENTITY_OPENID_";

/// A value, and the name under which it was given.
#[derive(Clone)]
pub(crate) struct Given {
    /// Such as `--region` or `MINIO_REGION_FILE`.
    pub(crate) name: String,
    /// Not empty if it comes from the environment.
    pub(crate) value: String,
    is_secret: bool,
}

impl Given {
    /// A value of the command line.
    pub(crate) fn option(option: &str, value: &str) -> Self {
        Self { name: option.to_owned(), value: value.to_owned(), is_secret: false }
    }

    /// The error that says what is allowed instead.
    pub(crate) fn refused(&self, allowed: impl Into<String>) -> ConfigError {
        let value = if self.is_secret { "(hidden)".to_owned() } else { self.value.clone() };
        ConfigError::Value { name: self.name.clone(), value, allowed: allowed.into() }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the one place")]
fn env(variable: &str, name: &str) -> Result<Option<String>, ConfigError> {
    match std::env::var(variable) {
        Ok(value) if value.is_empty() && NEVER_EMPTY.contains(&name) => {
            Err(ConfigError::Empty { name: variable.to_owned() })
        }
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            let (value, allowed) = ("(not UTF-8)".to_owned(), "text in UTF-8".to_owned());
            Err(ConfigError::Value { name: variable.to_owned(), value, allowed })
        }
    }
}

/// A setting from `DRYSTONE_NAME` or `MINIO_NAME`, or from the file that `…_FILE` names.
pub(crate) fn setting(name: &str) -> Result<Option<Given>, ConfigError> {
    debug_assert!(is_known(name), "{name} is not in NAMES");
    let is_secret = SECRETS.contains(&name);
    let mut found = None;
    for prefix in PREFIXES {
        let direct = format!("{prefix}_{name}");
        let by_file = format!("{direct}_FILE");
        let given = match (env(&direct, name)?, env(&by_file, name)?) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::Twice { first: direct, second: by_file });
            }
            (Some(value), None) => Given { name: direct, value, is_secret },
            (None, Some(path)) => Given { value: read(&by_file, path)?, name: by_file, is_secret },
            (None, None) => continue,
        };
        found.get_or_insert(given);
    }
    Ok(found)
}

fn read(name: &str, path: String) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|source| ConfigError::File { name: name.to_owned(), path, source })?;
    let text = text.trim_end_matches(['\r', '\n']);
    // A file that was meant to hold something, and does not, is a mistake.
    (!text.is_empty())
        .then(|| text.to_owned())
        .ok_or_else(|| ConfigError::Empty { name: format!("the file that {name} names") })
}

/// An argument, or else the setting of the same name: `MEMORY_BUDGET` for `--memory-budget`.
pub(crate) fn argument_or_setting(
    argument: Option<&str>,
    name: &str,
) -> Result<Option<Given>, ConfigError> {
    let option = || format!("--{}", name.to_ascii_lowercase().replace('_', "-"));
    match argument {
        Some("") => Err(ConfigError::Empty { name: option() }),
        Some(value) => Ok(Some(Given::option(&option(), value))),
        None => setting(name),
    }
}

/// Suffixes of settings such as `IDENTITY_OPENID_CONFIG_URL_GOOGLE`; empty for the one without.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) fn suffixes(name: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (key, value) in std::env::vars_os() {
        let Some(key) = key.to_str() else { continue };
        for prefix in PREFIXES {
            let Some(rest) = key.strip_prefix(&format!("{prefix}_{name}")) else { continue };
            let rest = rest.strip_suffix("_FILE").unwrap_or(rest);
            if !value.is_empty() && (rest.is_empty() || rest.starts_with('_')) {
                found.insert(rest.to_owned());
            }
        }
    }
    found.into_iter().collect()
}

fn is_known(name: &str) -> bool {
    let has_suffix = |known: &str| {
        let rest = name.strip_prefix(known).filter(|_| known.starts_with(OPENID));
        rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('_'))
    };
    NAMES.contains(&name) || NAMES.iter().any(|known| has_suffix(known))
}

/// Whether it is one of those that Kubernetes and Docker set for each service: `DRYSTONE_SERVICE_HOST`.
fn is_of_service_link(name: &str) -> bool {
    let is_numbered = |name: &str| name == "PORT" || name.starts_with("PORT_");
    name == "SERVICE_HOST"
        || name.strip_prefix("SERVICE_").is_some_and(is_numbered)
        || is_numbered(name)
}

/// Names each variable that looks like a setting and is none. `options` are those of `drystone server`.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn warn_of_unknown(options: &[String]) {
    let variables: BTreeSet<String> =
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    for variable in variables {
        let Some((prefix, rest)) = variable.split_once('_') else { continue };
        let name = rest.strip_suffix("_FILE").unwrap_or(rest);
        if !PREFIXES.contains(&prefix) || is_known(name) || is_of_service_link(name) {
            continue;
        }
        let instead = match (option_of(name, options), nearest(name)) {
            (Some(option), _) => format!("the option {option}"),
            (None, Some(near)) => format!("{prefix}_{near}"),
            (None, None) => "docs/settings.md".to_owned(),
        };
        tracing::warn!(variable, see = instead, "a variable is not a setting and has no effect");
    }
}

fn option_of(name: &str, options: &[String]) -> Option<String> {
    let option = name.to_ascii_lowercase().replace('_', "-");
    options.contains(&option).then(|| format!("--{option}"))
}

/// The known name that is closest, if it is close.
fn nearest(name: &str) -> Option<&'static str> {
    let of = |known: &&'static str| (distance(name, known), *known);
    let (distance, near) = NAMES.iter().map(of).min()?;
    (distance <= near.len().div_ceil(4)).then_some(near)
}

/// Letters to insert, take out or change (Levenshtein). The names are cut: the environment is not bounded.
fn distance(one: &str, other: &str) -> usize {
    let one: Vec<u8> = one.bytes().take(64).collect();
    let mut row: Vec<usize> = (0..=one.len()).collect();
    for (index, wanted) in other.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for column in 1..row.len() {
            let changed = diagonal + usize::from(one[column - 1] != wanted);
            diagonal = row[column];
            row[column] = changed.min(row[column] + 1).min(row[column - 1] + 1);
        }
    }
    row[one.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_close_are_found() {
        assert_eq!(nearest("REGOIN"), Some("REGION"));
        assert_eq!(nearest("ALLOW_SIGV_2"), Some("ALLOW_SIGV2"));
        assert_eq!(nearest("IDLETIMEOUT"), Some("IDLE_TIMEOUT"));
        assert_eq!(nearest("BROWSER_SESSION_DURATION"), None);
        assert_eq!(distance("", "AT"), 2);
    }

    #[test]
    fn names_have_suffixes_where_there_can_be_several_providers() {
        for known in ["REGION", "IDENTITY_OPENID_CLIENT_ID", "IDENTITY_OPENID_CLIENT_ID_GOOGLE"] {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["REGION_EU", "IDENTITY_OPENID_CLIENT_IDS", "IDENTITY_LDAP_SERVER_ADDR_2"] {
            assert!(!is_known(unknown), "{unknown}");
        }
        assert!(is_of_service_link("PORT_9000_TCP_ADDR") && is_of_service_link("SERVICE_PORT_S3"));
        assert!(!is_of_service_link("PORTS") && !is_of_service_link("SERVICE"));
    }
}

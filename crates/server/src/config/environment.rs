//! Variables of the environment: the only place that reads them.
//!
//! A setting is `DRYSTONE_NAME` or `MINIO_NAME`, or the content of the file that `…_FILE` names. The name of
//! this server wins over that of MinIO, and an argument of the command line wins over both. The file that
//! `MINIO_CONFIG_ENV_FILE` names wins over the environment of the process, as in MinIO.
//!
//! # Invariants
//!
//! - A value is used, or refused by the name under which it was given. It is never replaced by a default.
//! - Every name is in the tables of `names`; a variable that is not there is named in a warning at the start.

use super::ConfigError;
use super::names::{ALSO, Fate, NAMES, NEVER_EMPTY, OPENID, SECRETS, fate_of};
use drystone_io::{Links, read_small_file};
use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::path::Path;
use std::sync::OnceLock;

const PREFIXES: [&str; 2] = ["DRYSTONE", "MINIO"];

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

/// Variables of the file that `CONFIG_ENV_FILE` names: read once, before any other setting.
static FROM_FILE: OnceLock<BTreeMap<String, String>> = OnceLock::new();
/// Bytes of that file at most.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Reads the file of variables, if one is named: `KEY=VALUE` a line, with or without `export` before and
/// quotes around the value. They count for the rest of the process.
///
/// # Errors
///
/// The file cannot be read, or has a line of another form.
pub(crate) fn read_variables() -> Result<(), ConfigError> {
    let named = if FROM_FILE.get().is_none() { setting("CONFIG_ENV_FILE")? } else { None };
    let Some(given) = named else { return Ok(()) };
    let (name, path) = (given.name, given.value);
    let text = read_small_file(Path::new(&path), Links::Followed, FILE_LEN_MAX);
    let text = text.map_err(|source| ConfigError::File {
        name: name.clone(),
        path: path.clone(),
        source,
    })?;
    let wrong = |line| ConfigError::Line { name: name.clone(), path: path.clone(), line };
    let _ = FROM_FILE.set(parse_variables(&text).map_err(wrong)?);
    Ok(())
}

/// The number of the line that is wrong, from 1, is the error: the line may hold a secret.
fn parse_variables(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut found = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = match line.strip_prefix("export") {
            Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
            _ => line,
        };
        let (key, value) = line.split_once('=').ok_or(index + 1)?;
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(index + 1);
        }
        let quoted = ['"', '\''].iter().find_map(|quote| {
            value.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote))
        });
        found.insert(key.to_owned(), quoted.unwrap_or(value).to_owned());
    }
    Ok(found)
}

/// A variable, of the file or of the process.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
fn variable(name: &str) -> Result<String, VarError> {
    match FROM_FILE.get().and_then(|variables| variables.get(name)) {
        Some(value) => Ok(value.clone()),
        None => std::env::var(name),
    }
}

/// Names and values of all variables, of the file and of the process. What is no text is shown as well as can
/// be.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
fn variables() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let mut all: BTreeMap<String, String> =
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    all.extend(FROM_FILE.get().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    all
}

/// The home directory of the user, if one is known.
pub(crate) fn home() -> Option<std::path::PathBuf> {
    variable("HOME").ok().filter(|home| !home.is_empty()).map(Into::into)
}

fn env(variable_name: &str, name: &str) -> Result<Option<String>, ConfigError> {
    match variable(variable_name) {
        Ok(value) if value.is_empty() && NEVER_EMPTY.contains(&name) => {
            Err(ConfigError::Empty { name: variable_name.to_owned() })
        }
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            let (value, allowed) = ("(not UTF-8)".to_owned(), "text in UTF-8".to_owned());
            Err(ConfigError::Value { name: variable_name.to_owned(), value, allowed })
        }
    }
}

/// The variables that a setting may come from, the strongest first.
fn variables_of(name: &str) -> Vec<String> {
    let also = ALSO.iter().filter(|(setting, _)| *setting == name).flat_map(|(_, names)| *names);
    let own = PREFIXES.iter().map(|prefix| format!("{prefix}_{name}"));
    own.chain(also.map(|name| format!("MINIO_{name}"))).collect()
}

/// A setting from `DRYSTONE_NAME` or a name of MinIO, or from the file that `…_FILE` names.
pub(crate) fn setting(name: &str) -> Result<Option<Given>, ConfigError> {
    debug_assert!(is_known(name), "{name} is not in NAMES");
    let is_secret = SECRETS.contains(&name);
    let mut found = None;
    for direct in variables_of(name) {
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
pub(super) fn suffixes(name: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (key, value) in variables() {
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

/// Whether it is a name that only MinIO has for a setting.
fn is_other_name(name: &str) -> bool {
    ALSO.iter().any(|(_, names)| names.contains(&name))
}

/// Whether it is one of those that Kubernetes and Docker set for each service: `DRYSTONE_SERVICE_HOST`.
fn is_of_service_link(name: &str) -> bool {
    let is_numbered = |name: &str| name == "PORT" || name.starts_with("PORT_");
    name == "SERVICE_HOST"
        || name.strip_prefix("SERVICE_").is_some_and(is_numbered)
        || is_numbered(name)
}

/// Looks at each variable that looks like a setting and is none: a warning names it, once, with what to use
/// instead or why it has no effect. `options` are those of `drystone server`.
///
/// # Errors
///
/// One of them cannot be passed over.
pub(crate) fn check_names(options: &[String]) -> Result<(), ConfigError> {
    for (variable, value) in variables() {
        let Some((prefix, rest)) = variable.split_once('_') else { continue };
        let name = rest.strip_suffix("_FILE").unwrap_or(rest);
        let is_setting = |name| is_known(name) || (prefix == "MINIO" && is_other_name(name));
        let is_of_none = !PREFIXES.contains(&prefix) || is_of_service_link(name);
        if is_of_none || is_setting(name) || is_setting(rest) {
            continue;
        }
        match fate_of(name) {
            Some(fate) => check_fate(&variable, &value, fate)?,
            None => {
                let see = instead(prefix, name, options);
                tracing::warn!(variable, see, "a variable is not a setting and has no effect");
            }
        }
    }
    Ok(())
}

/// What is done with a name of MinIO that is no setting; an empty value counts as not set.
pub(super) fn check_fate(name: &str, value: &str, fate: Fate) -> Result<(), ConfigError> {
    let asks_nothing = |harmless: &[&str]| harmless.contains(&value.to_ascii_lowercase().as_str());
    match fate {
        _ if value.is_empty() => Ok(()),
        Fate::Met(_) => Ok(()),
        Fate::NoEffect(reason) => {
            tracing::warn!(name, reason, "a setting of MinIO has no effect here");
            Ok(())
        }
        Fate::Refused(harmless, _) if asks_nothing(harmless) => Ok(()),
        Fate::Refused(_, reason) => Err(ConfigError::Refused { name: name.to_owned(), reason }),
    }
}

/// What to use in the place of a name that is none.
fn instead(prefix: &str, name: &str, options: &[String]) -> String {
    match (option_of(name, options), nearest(name)) {
        (Some(option), _) => format!("the option {option}"),
        (None, Some(near)) if NAMES.contains(&near) => format!("{prefix}_{near}"),
        (None, Some(near)) => format!("MINIO_{near}"),
        (None, None) => "docs/settings.md".to_owned(),
    }
}

fn option_of(name: &str, options: &[String]) -> Option<String> {
    let option = name.to_ascii_lowercase().replace('_', "-");
    options.contains(&option).then(|| format!("--{option}"))
}

/// The known name that is closest, if it is close; a setting before a name that has no effect.
fn nearest(name: &str) -> Option<&'static str> {
    let of = |known: &'static str| (distance(name, known), known);
    let settings = NAMES.iter().chain(ALSO.iter().flat_map(|(_, names)| *names));
    let others = super::names::MINIO.iter().map(|(known, _)| known.trim_end_matches('*'));
    let near = settings.copied().map(of).min().into_iter().chain(others.map(of).min());
    let (distance, near) = near.min_by_key(|(distance, _)| *distance)?;
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
    fn files_of_variables_have_exports_quotes_and_comments() {
        let text =
            "# x\n\nexport A=1\n B = \"two words\" \nC='x=y'\nD=\n\texport\tE=e\"\nexporter=f\n";
        let found = parse_variables(text).expect("is understood");
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let want = [
            ("A", "1"),
            ("B", " \"two words\""),
            ("C", "x=y"),
            ("D", ""),
            ("E", "e\""),
            ("exporter", "f"),
        ];
        assert_eq!(found, want);
        for wrong in ["A", "A=1\nexport B", "=x", "two words=x"] {
            assert_eq!(parse_variables(wrong).err(), Some(wrong.lines().count()), "{wrong}");
        }
    }

    /// Goal: no name is in two tables, and none of MinIO's is hidden behind one that begins like it.
    #[test]
    fn each_name_has_one_meaning() {
        use super::super::names::MINIO;
        let mut seen = BTreeSet::new();
        let also = ALSO.iter().flat_map(|(_, names)| *names);
        let all = NAMES.iter().chain(also).chain(MINIO.iter().map(|(name, _)| name));
        for name in all {
            assert!(seen.insert(*name), "{name} is there twice");
        }
        for name in NAMES.iter().chain(ALSO.iter().flat_map(|(_, names)| *names)) {
            assert!(MINIO.iter().all(|(known, _)| known != name), "{name}");
        }
        for (known, fate) in MINIO {
            assert_eq!(fate_of(&known.replace('*', "X")), Some(*fate), "{known}");
        }
    }

    #[test]
    fn names_that_are_close_are_found() {
        assert_eq!(nearest("REGOIN"), Some("REGION"));
        assert_eq!(nearest("ALLOW_SIGV_2"), Some("ALLOW_SIGV2"));
        assert_eq!(nearest("IDLETIMEOUT"), Some("IDLE_TIMEOUT"));
        assert_eq!(nearest("ACESS_KEY"), Some("ACCESS_KEY"));
        assert_eq!(nearest("ROOT_USR"), Some("ROOT_USER"));
        assert_eq!(nearest("API_REQUEST_MAX"), Some("API_REQUESTS_MAX"));
        assert_eq!(nearest("WHATEVER_THIS_IS"), None);
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

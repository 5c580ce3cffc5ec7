//! Secrets of the environment: the root credentials and tokens.

use super::{ConfigError, Given, lacks, setting};
use crate::root_keys::{ACCESS_KEY_LEN_MIN, SECRET_KEY_LEN_MIN};

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
            if is_well_known(&user.value, &password.value) {
                tracing::warn!(
                    user = user.name,
                    password = password.name,
                    "the root credentials are well known or the same word twice: everyone who reaches the \
                     ports may do everything; choose others"
                );
            }
            Ok(Some((user.value, password.value)))
        }
    }
}

/// Passwords that documentation and examples of object stores use.
const WELL_KNOWN: [&str; 10] = [
    "minioadmin",
    "minio123",
    "miniosecret",
    "minio-secret",
    "miniopassword",
    "password",
    "password123",
    "changeme",
    "rustfsadmin",
    "miniostorage",
];

fn is_well_known(user: &str, password: &str) -> bool {
    user == password || WELL_KNOWN.contains(&password.to_ascii_lowercase().as_str())
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

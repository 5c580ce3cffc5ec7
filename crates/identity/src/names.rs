//! What names may look like (IAM User Guide, "IAM and STS quotas").

use crate::IdentityError;
use drystone_base::{Rng, hex};

const SECRET_LEN: usize = 40;
const SECRET_ALPHABET: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Random characters of an alphabet whose length divides 256, so that all are equally likely.
fn random_text(rng: &dyn Rng, len: usize, alphabet: &[u8]) -> String {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

/// A unique id: a prefix that tells the kind, and 16 characters.
pub(crate) fn unique_id(rng: &dyn Rng, prefix: &str) -> String {
    prefix.to_owned() + &random_text(rng, 16, ID_ALPHABET)
}

/// A secret key.
pub(crate) fn new_secret(rng: &dyn Rng) -> String {
    random_text(rng, SECRET_LEN, SECRET_ALPHABET)
}

/// A canonical id.
pub(crate) fn canonical_id(rng: &dyn Rng) -> String {
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    hex(&bytes)
}

/// Checks a name of up to `len_max` characters.
pub(crate) fn check_name(
    field: &'static str,
    name: &str,
    len_max: usize,
) -> Result<(), IdentityError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if !name.is_empty() && name.len() <= len_max && name.chars().all(is_allowed) {
        return Ok(());
    }
    let message = format!(
        "The value for {field} must have 1 to {len_max} characters, of letters, digits and +=,.@_-"
    );
    Err(IdentityError::invalid(field, message))
}

/// Checks a path.
pub(crate) fn check_path(path: &str) -> Result<(), IdentityError> {
    let is_allowed = |c: char| ('!'..='~').contains(&c);
    let whole = path == "/" || (path.starts_with('/') && path.ends_with('/') && path.len() <= 512);
    if whole && path.chars().all(is_allowed) && !path.contains("//") {
        return Ok(());
    }
    Err(IdentityError::invalid("Path", "The path must begin and end with a slash."))
}

/// Checks an access key that someone chose.
pub(crate) fn check_access_key(id: &str) -> Result<(), IdentityError> {
    let is_allowed = |c: char| ('!'..='~').contains(&c) && !"=,/".contains(c);
    if (3..=128).contains(&id.len()) && id.chars().all(is_allowed) {
        return Ok(());
    }
    let message = "An access key has 3 to 128 characters, without spaces, slashes, = and comma.";
    Err(IdentityError::invalid("AccessKeyId", message))
}

/// Checks a secret key that someone chose.
pub(crate) fn check_secret(secret: &str) -> Result<(), IdentityError> {
    if (8..=128).contains(&secret.len()) && !secret.chars().any(char::is_control) {
        return Ok(());
    }
    Err(IdentityError::invalid("SecretAccessKey", "A secret key has 8 to 128 characters."))
}

/// Checks tags: 50 at most.
pub(crate) fn check_tags(
    tags: &std::collections::BTreeMap<String, String>,
) -> Result<(), IdentityError> {
    let fits = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256
    };
    if tags.len() <= 50 && tags.iter().all(fits) {
        return Ok(());
    }
    let message = "At most 50 tags, with keys of 1 to 128 and values of up to 256 characters.";
    Err(IdentityError::invalid("Tags", message))
}

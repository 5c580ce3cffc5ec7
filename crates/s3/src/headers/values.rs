//! Values of headers, each read in one way wherever it stands. `name` is the header's, for the error.

use crate::checksum;
use crate::error::{S3Code, S3Error};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_base::{Timestamp, parse_http_date};
use drystone_engine::ChecksumAlgorithm;

/// Characters of an entity tag at most: those of this server have 40, those of S3 no more.
const ENTITY_TAG_LEN_MAX: usize = 1 << 10;
/// Characters of an idempotency token at most (S3 API reference, "RenameObject").
const TOKEN_LEN_MAX: usize = 64;
/// Bytes of the target of a redirection at most (S3 user guide, "Configuring a webpage redirect").
const REDIRECT_LEN_MAX: usize = 2 << 10;

/// `true` or `false`, in any case.
///
/// # Errors
///
/// `InvalidArgument`.
pub(crate) fn flag(name: &str, text: &str) -> Result<bool, S3Error> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(S3Error::argument(name, text, "It is neither true nor false.")),
    }
}

/// A number of decimal digits.
///
/// # Errors
///
/// `InvalidArgument`.
pub(crate) fn number(name: &str, text: &str) -> Result<u64, S3Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| S3Error::argument(name, text, "It is not a number, or too large a one."))
}

/// A date in one of the forms of HTTP (RFC 9110, section 5.6.7).
///
/// # Errors
///
/// `InvalidArgument`.
pub(crate) fn http_date(name: &str, text: &str) -> Result<Timestamp, S3Error> {
    parse_http_date(text)
        .ok_or_else(|| S3Error::argument(name, text, "The time is not an HTTP date"))
}

/// A value of a closed set, in any case.
pub(super) fn word(name: &str, text: &str, words: &[&str]) -> Result<(), S3Error> {
    match words.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        true => Ok(()),
        false => Err(S3Error::argument(name, text, format!("It must be {}.", words.join(" or ")))),
    }
}

/// The digest of `Content-MD5`.
///
/// # Errors
///
/// `InvalidDigest`.
pub(crate) fn md5(_name: &str, text: &str) -> Result<[u8; 16], S3Error> {
    let md5 = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    md5.ok_or_else(|| S3Code::InvalidDigest.into())
}

/// The name of a checksum algorithm.
///
/// # Errors
///
/// `InvalidRequest`.
pub(crate) fn algorithm(_name: &str, text: &str) -> Result<ChecksumAlgorithm, S3Error> {
    checksum::parse_algorithm(text)
}

/// The id of an account.
///
/// # Errors
///
/// `InvalidBucketOwnerAWSAccountID`.
pub(super) fn account(_name: &str, text: &str) -> Result<(), S3Error> {
    match text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => Err(S3Code::InvalidBucketOwnerAWSAccountID.into()),
    }
}

/// A list that names something.
pub(super) fn list(name: &str, text: &str) -> Result<(), S3Error> {
    match text.split(',').all(|item| item.trim().is_empty()) {
        false => Ok(()),
        true => Err(S3Error::argument(name, text, "The list is empty.")),
    }
}

/// An entity tag without its quotes; weak ones keep their mark and so match nothing.
pub(crate) fn unquote(text: &str) -> String {
    let text = text.trim();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text).to_owned()
}

/// A list of entity tags, or `*`; without their quotes.
///
/// # Errors
///
/// `InvalidArgument` for none, and for one that no server gives.
pub(crate) fn entity_tags(name: &str, text: &str) -> Result<Vec<String>, S3Error> {
    let tags: Vec<_> = text.split(',').map(unquote).collect();
    match tags.iter().any(|tag| tag.is_empty() || tag.len() > ENTITY_TAG_LEN_MAX) {
        false => Ok(tags),
        true => Err(S3Error::argument(name, text, "It is no list of entity tags.")),
    }
}

/// What makes a request one with its repetitions.
///
/// # Errors
///
/// `InvalidArgument`.
pub(crate) fn token(name: &str, text: &str) -> Result<String, S3Error> {
    match (1..=TOKEN_LEN_MAX).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(S3Error::argument(name, text, "A token has 1 to 64 characters")),
    }
}

/// The serial number of a device and its code, with a blank between.
pub(super) fn device_and_code(name: &str, text: &str) -> Result<(), S3Error> {
    let is_code = |code: &str| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit());
    match text.trim().rsplit_once(' ') {
        Some((device, code)) if !device.is_empty() && is_code(code) => Ok(()),
        _ => {
            let message = "It must be the serial number of a device, a space, and its code.";
            Err(S3Error::argument(name, text, message))
        }
    }
}

/// Where requests of a website are sent on to (S3 user guide, "Configuring a webpage redirect").
pub(super) fn redirect(_name: &str, text: &str) -> Result<(), S3Error> {
    let invalid = |message| Err(S3Error::with(S3Code::InvalidRedirectLocation, message));
    match ["/", "http://", "https://"].iter().any(|start| text.starts_with(start)) {
        true if text.len() <= REDIRECT_LEN_MAX => Ok(()),
        true => invalid("The length of website redirect location cannot exceed 2,048 characters."),
        false if text.is_empty() => invalid("The website redirect location must be non-empty."),
        false => invalid(
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_must_be() {
        assert!(flag("a", "TRUE").expect("a flag") && !flag("a", "false").expect("a flag"));
        assert_eq!(number("a", "10").ok(), Some(10));
        assert_eq!(entity_tags("a", "\"x\", y").ok(), Some(vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!(entity_tags("a", "*").ok(), Some(vec!["*".to_owned()]));
        let long = "x".repeat(ENTITY_TAG_LEN_MAX + 1);
        for bad in ["", " ", ",", "\"\"", "a,", &long] {
            assert!(entity_tags("a", bad).is_err(), "{bad}");
            assert!(flag("a", bad).is_err() && number("a", bad).is_err(), "{bad}");
            assert!(device_and_code("a", bad).is_err() && redirect("a", bad).is_err(), "{bad}");
        }
        for bad in ["+1", "-1", "1 ", "99999999999999999999"] {
            assert!(number("a", bad).is_err(), "{bad}");
        }
        assert!(list("a", " ,").is_err() && list("a", "id=x").is_ok());
        assert!(device_and_code("a", "arn:aws:iam::1:mfa/x 123456").is_ok());
        assert!(account("a", "000000000000").is_ok() && account("a", "00000000000x").is_err());
        assert!(redirect("a", "/x").is_ok() && redirect("a", "x").is_err());
    }
}

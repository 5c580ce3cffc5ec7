//! What each header must look like.

use super::{Headers, values};
use crate::error::S3Error;
use crate::operation::Operation;

/// Headers, beside those of Amazon and MinIO, that change what a request does.
const READ: &[&str] = &[
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "content-length",
    "content-md5",
    "date",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "range",
];

/// Headers that are kept with an object as they were sent: text in UTF-8. Amazon's own metadata is kept too.
pub(crate) const KEPT: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-website-redirect-location",
];

/// Headers that are lists and may be sent in several lines (RFC 9110, section 5.3; S3 API reference for
/// Amazon's own).
const LISTS: &[&str] = &[
    "access-control-request-headers",
    "cache-control",
    "content-encoding",
    "content-language",
    "if-match",
    "if-none-match",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-object-attributes",
    "x-amz-optional-object-attributes",
    "x-amz-rename-source-if-match",
    "x-amz-rename-source-if-none-match",
];

/// What user metadata begins with.
pub(super) const METADATA: &str = "x-amz-meta-";

/// Whether a header is kept with an object as text.
pub(super) fn is_kept(name: &str) -> bool {
    name.starts_with(METADATA) || KEPT.contains(&name)
}

/// Whether a header changes what a request does. Such a header is printable: a condition that cannot be read
/// must not be taken for none. Those that are neither read nor kept are nothing to this server.
pub(super) fn is_read(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["x-amz-", "x-minio-", "x-drystone-"];
    let is_prefixed = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (is_prefixed && !is_kept(name)) || READ.contains(&name)
}

/// Whether a header has one value, and so one line: of two, one would be left out. User metadata of one name
/// is joined, as in S3.
pub(super) fn is_single(name: &str) -> bool {
    let is_known = is_read(name) || KEPT.contains(&name);
    is_known && !LISTS.contains(&name)
}

/// Refuses headers that an operation knows and whose values mean nothing, whether or not this request looks
/// at them: what a client says is taken, or refused. What is not looked at here is read by its operation
/// whenever it is there, but for two kinds that are left out if they are malformed: `Range` (RFC 9110,
/// section 14.2) and the dates of the conditions of reads (sections 13.1.3 and 13.1.4).
///
/// # Errors
///
/// `InvalidArgument`, or the code that S3 has for the header.
pub(crate) fn check(headers: &Headers, operation: Operation) -> Result<(), S3Error> {
    let known = operation.row().takes;
    for (name, value) in &headers.map {
        let name = name.as_str();
        if known.binary_search(&name).is_ok()
            && let Ok(text) = std::str::from_utf8(value.as_bytes())
        {
            check_value(name, text)?;
        }
    }
    Ok(())
}

fn check_value(name: &str, text: &str) -> Result<(), S3Error> {
    match name {
        "content-md5" => values::md5(name, text).map(drop),
        "if-match"
        | "if-none-match"
        | "x-amz-copy-source-if-match"
        | "x-amz-copy-source-if-none-match"
        | "x-amz-rename-source-if-match"
        | "x-amz-rename-source-if-none-match" => values::entity_tags(name, text).map(drop),
        "x-amz-copy-source-if-modified-since" | "x-amz-copy-source-if-unmodified-since" => {
            values::http_date(name, text).map(drop)
        }
        "x-amz-bypass-governance-retention"
        | "x-amz-confirm-remove-self-bucket-access"
        | "x-amz-server-side-encryption-bucket-key-enabled"
        | "x-amz-skip-destination-validation" => values::flag(name, text).map(drop),
        "x-amz-checksum-algorithm" | "x-amz-sdk-checksum-algorithm" => {
            values::algorithm(name, text).map(drop)
        }
        "x-amz-checksum-mode" => values::word(name, text, &["ENABLED"]),
        "x-amz-request-payer" => values::word(name, text, &["requester"]),
        "x-amz-expected-bucket-owner" | "x-amz-source-expected-bucket-owner" => {
            values::account(name, text).map(drop)
        }
        "x-amz-grant-full-control"
        | "x-amz-grant-read"
        | "x-amz-grant-read-acp"
        | "x-amz-grant-write"
        | "x-amz-grant-write-acp" => values::list(name, text).map(drop),
        "x-amz-max-parts" | "x-amz-part-number-marker" => values::number(name, text).map(drop),
        "x-amz-mfa" => values::device_and_code(name, text),
        "x-amz-website-redirect-location" => values::redirect(name, text),
        _ => Ok(()),
    }
}

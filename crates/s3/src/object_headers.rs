//! Headers that say something about an object: read from requests, written to responses.

use crate::checksum;
use crate::error::{S3Code, S3Error};
use crate::headers::{KEPT, encoded, values};
use crate::operation::Operation;
use crate::ops::object_lock::{mode_text, must_be_ahead, parse_mode};
use crate::ops::restore_object::restore_text;
use crate::request::S3Request;
use crate::response::{Reply, set, set_latin};
use crate::uri::parse_query;
use drystone_base::limits::{OBJECT_TAG_COUNT_MAX, USER_METADATA_LEN_BYTES_MAX};
use drystone_base::{Timestamp, parse_http_date};
use drystone_engine::{Conditions, ETag, ObjectDraft, ObjectLock, ObjectRow, Retention};

const CLASSES: &[&str] = &[
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
];
/// Headers that change what a request does and are not implemented: refused before any effect.
const NOT_IMPLEMENTED: &[&str] = &[
    WRITE_OFFSET,
    "x-amz-bucket-namespace",
    "x-amz-bucket-object-lock-token",
    "x-amz-if-match-initiated-time",
    "x-amz-object-lock-event-hold",
    "x-amz-object-lock-event-hold-duration-days",
    "x-amz-object-lock-event-hold-duration-years",
    "x-amz-object-annotation-directive",
    "x-minio-force-delete",
    "x-minio-extract",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];

/// Headers of Amazon's that say something of a new object, whose bytes come with them; with a `*`, all that
/// begin so.
const OF_NEW_OBJECTS: &[&str] = &[
    "x-amz-acl",
    "x-amz-expected-bucket-owner",
    "x-amz-grant-*",
    "x-amz-meta-*",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-request-payer",
    "x-amz-server-side-encryption*",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];

/// Whether a header means something to a write that brings the bytes of its object, or is not one of
/// Amazon's at all. Of others conditions of policies could be told what is not so.
pub(crate) fn is_of_new_object(name: &str) -> bool {
    let fits = |known: &&str| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *known,
    };
    !name.starts_with("x-amz-") || OF_NEW_OBJECTS.iter().any(fits)
}

/// Whether an operation looks at a condition in its headers. A write must not be done as if there was none;
/// a policy may have demanded it.
fn takes_condition(request: &S3Request, operation: Operation, name: &str) -> bool {
    use Operation as O;
    match operation {
        O::PutObject | O::CopyObject | O::CompleteMultipartUpload => {
            matches!(name, "if-match" | "if-none-match")
        }
        // They replace nothing, and clients send them along: `CompleteMultipartUpload` decides.
        O::CreateMultipartUpload | O::UploadPart | O::AbortMultipartUpload => {
            matches!(name, "if-match" | "if-none-match")
        }
        O::DeleteObject => name == "if-match",
        O::RenameObject => true,
        _ => matches!(request.method.as_str(), "GET" | "HEAD"),
    }
}

/// Refuses a condition in the headers of a form.
pub(crate) fn refuse_conditions(request: &S3Request) -> Result<(), S3Error> {
    let mut conditions = NOT_IMPLEMENTED.iter().filter(|name| name.starts_with("if-"));
    match conditions.find(|name| request.headers.has(name)) {
        Some(name) => Err(S3Error::not_implemented(name)),
        None => Ok(()),
    }
}

/// Refuses what would otherwise be left out silently. Every request comes here before it has an effect.
pub(crate) fn refuse_not_implemented(
    request: &S3Request,
    operation: Operation,
) -> Result<(), S3Error> {
    // A request has few headers, and this is asked of each: one pass costs less than a lookup of every name.
    for name in request.headers.names() {
        let Some(name) = NOT_IMPLEMENTED.iter().find(|known| **known == name) else {
            continue;
        };
        let is_taken = match *name {
            WRITE_OFFSET => operation == Operation::PutObject,
            // Where names of buckets are, in any case.
            "x-amz-bucket-namespace" => request.header(name) == Some("global"),
            name if name.starts_with("if-") => takes_condition(request, operation, name),
            _ => false,
        };
        if !is_taken {
            return Err(S3Error::not_implemented(name));
        }
    }
    Ok(())
}

/// Where bytes are to be put behind an object: of `PutObject` only.
pub(crate) const WRITE_OFFSET: &str = "x-amz-write-offset-bytes";

/// Reads what a client says about an object that it writes.
pub(crate) fn parse_draft(request: &S3Request) -> Result<ObjectDraft, S3Error> {
    if request.header(WRITE_OFFSET).is_some() {
        return Err(S3Error::not_implemented(WRITE_OFFSET));
    }
    // Forms and entries of archives come to no other place that they have in common with requests.
    refuse_not_implemented(request, Operation::PutObject)?;
    parse_appended_draft(request)
}

/// As [`parse_draft`], for a writer that appends.
pub(crate) fn parse_appended_draft(request: &S3Request) -> Result<ObjectDraft, S3Error> {
    let mut draft = ObjectDraft::default();
    let mut header_len = 0;
    for name in KEPT {
        let Some(value) = request.text(name) else { continue };
        let value = if *name == "content-encoding" { without_chunked(&value) } else { value };
        if !value.is_empty() {
            header_len += name.len() + value.len();
            draft.headers.push(((*name).to_owned(), value));
        }
    }
    draft.metadata = parse_metadata(request)?;
    if header_len > 8 << 10 {
        return Err(S3Code::MetadataTooLarge.into());
    }
    if let Some(text) = request.header_or_query("x-amz-tagging") {
        draft.tags = parse_tagging(text)?;
    }
    if let Some(class) = request.header_or_query("x-amz-storage-class") {
        if !CLASSES.contains(&class) {
            return Err(S3Code::InvalidStorageClass.into());
        }
        draft.storage_class = (class != "STANDARD").then(|| class.to_owned());
    }
    draft.lock = parse_lock(request)?;
    Ok(draft)
}

/// Reads the lock that a new version is to have.
fn parse_lock(request: &S3Request) -> Result<ObjectLock, S3Error> {
    const MODE: &str = "x-amz-object-lock-mode";
    const UNTIL: &str = "x-amz-object-lock-retain-until-date";
    const HOLD: &str = "x-amz-object-lock-legal-hold";
    let retention = match (request.header_or_query(MODE), request.header_or_query(UNTIL)) {
        (None, None) => None,
        (Some(mode_text), Some(text)) => {
            let unknown = || S3Error::argument(MODE, mode_text, "Unknown wormMode directive.");
            let mode = parse_mode(mode_text).ok_or_else(unknown)?;
            let invalid = || {
                S3Error::argument(UNTIL, text, "The retain until date is not a date in ISO 8601.")
            };
            let until_ms = Timestamp::parse_iso(text).ok_or_else(invalid)?.0;
            must_be_ahead(UNTIL, until_ms, request.now_ms)?;
            Some(Retention { mode, until_ms })
        }
        (mode, _) => {
            let missing = if mode.is_some() { UNTIL } else { MODE };
            let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both \
                           be supplied";
            return Err(S3Error::argument(missing, "null", message));
        }
    };
    let legal_hold = match request.header_or_query(HOLD) {
        None => None,
        Some("ON") => Some(true),
        Some("OFF") => Some(false),
        Some(other) => {
            return Err(S3Error::argument(
                HOLD,
                other,
                "Legal Hold must be either of 'ON' or 'OFF'",
            ));
        }
    };
    Ok(ObjectLock { retention, legal_hold })
}

/// Whether a request claims the right to bypass governance, which `authorize` asks for then.
pub(crate) fn bypasses_governance(request: &S3Request) -> bool {
    let bypasses = request.read("x-amz-bypass-governance-retention", values::flag);
    matches!(bypasses, Ok(Some(true)))
}

/// `aws-chunked` describes the request, not the object. The rest stays as it was sent.
fn without_chunked(value: &str) -> String {
    let is_kept = |piece: &&str| !piece.trim().eq_ignore_ascii_case("aws-chunked");
    let kept: Vec<&str> = value.split(',').filter(is_kept).collect();
    kept.join(",").trim().to_owned()
}

fn parse_metadata(request: &S3Request) -> Result<Vec<(String, String)>, S3Error> {
    let metadata: Vec<_> = request.headers.metadata().collect();
    let len: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if len > USER_METADATA_LEN_BYTES_MAX {
        return Err(S3Error::new(S3Code::MetadataTooLarge)
            .field("Size", len.to_string())
            .field("MaxSizeAllowed", USER_METADATA_LEN_BYTES_MAX.to_string()));
    }
    Ok(metadata)
}

/// Reads the `x-amz-tagging` header.
pub(crate) fn parse_tagging(text: &str) -> Result<Vec<(String, String)>, S3Error> {
    let pairs = parse_query(text).ok_or_else(|| {
        let message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL \
                       query parameters without tag name duplicates.";
        S3Error::argument("x-amz-tagging", text, message)
    })?;
    let tags = pairs.into_iter().map(|(name, value, _)| (name.replace('+', " "), value)).collect();
    check_tags(tags, OBJECT_TAG_COUNT_MAX)
}

/// Checks a set of tags.
pub(crate) fn check_tags(
    tags: Vec<(String, String)>,
    count_max: usize,
) -> Result<Vec<(String, String)>, S3Error> {
    if tags.len() > count_max {
        let message = format!("Object tags cannot be greater than {count_max}");
        return Err(S3Error::with(S3Code::BadRequest, message));
    }
    let invalid = |message: &str, key: &str| {
        Err(S3Error::with(S3Code::InvalidTag, message).field("TagKey", key))
    };
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > 128 {
            return invalid("The TagKey you have provided is invalid", key);
        }
        if value.chars().count() > 256 {
            return invalid("The TagValue you have provided is invalid", key);
        }
        if key.starts_with("aws:") {
            return invalid("System tags cannot be added/updated by requester", key);
        }
        let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c);
        if !key.chars().all(allowed) || !value.chars().all(allowed) {
            return invalid("The tag has characters that are not allowed", key);
        }
        // Conditions of policies compare keys without regard to case.
        if tags[..index].iter().any(|(other, _)| other.to_lowercase() == key.to_lowercase()) {
            return invalid("Cannot provide multiple Tags with the same key", key);
        }
    }
    Ok(tags)
}

/// Conditions of a write.
pub(crate) fn parse_write_conditions(request: &S3Request) -> Result<Conditions, S3Error> {
    let if_none_match_any = is_for_new(request)?;
    let if_match = request.read("if-match", values::entity_tags)?;
    Ok(Conditions { if_none_match_any, if_match, ..Conditions::default() })
}

/// Whether a write is to be done only if there is no object of its name.
///
/// # Errors
///
/// `NotImplemented` for entity tags in the place of `*`.
pub(crate) fn is_for_new(request: &S3Request) -> Result<bool, S3Error> {
    match request.header("if-none-match") {
        None => Ok(false),
        Some(text) if text.trim() == "*" => Ok(true),
        Some(_) => Err(S3Error::not_implemented("If-None-Match")),
    }
}

/// Conditions of a delete.
pub(crate) fn parse_delete_conditions(request: &S3Request) -> Result<Conditions, S3Error> {
    let mut conditions = Conditions {
        if_match: request.read("if-match", values::entity_tags)?,
        bypasses_governance: bypasses_governance(request),
        ..Conditions::default()
    };
    conditions.if_match_size = request.read("x-amz-if-match-size", values::number)?;
    let modified = parse_write_date(request, "x-amz-if-match-last-modified-time")?;
    conditions.if_match_modified_ms = modified.map(|time| time.0);
    Ok(conditions)
}

/// A date among the conditions of a write. A read leaves out one that is malformed (RFC 9110, section 13.1);
/// a write must not.
pub(crate) fn parse_write_date(
    request: &S3Request,
    name: &str,
) -> Result<Option<Timestamp>, S3Error> {
    request.read(name, values::http_date)
}

/// Outcome of the conditions of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadVerdict {
    Send,
    NotModified,
    Failed(&'static str),
}

/// Decides the conditions of a read in the order of RFC 9110 §13.2.2. `prefix` is put before the
/// names of headers, for copy sources.
pub(crate) fn decide_read(
    request: &S3Request,
    prefix: &str,
    etag: &ETag,
    modified_ms: u64,
) -> ReadVerdict {
    let header = |name: &str| match prefix {
        "" => request.header(name),
        prefix => request.header(&format!("{prefix}{name}")),
    };
    let modified = Timestamp(modified_ms).whole_seconds();
    let matches = |text: &str| {
        let etag = etag.to_text();
        values::entity_tags("", text)
            .unwrap_or_default()
            .iter()
            .any(|tag| tag == "*" || *tag == etag)
    };
    if let Some(text) = header("if-match") {
        if !matches(text) {
            return ReadVerdict::Failed("If-Match");
        }
    } else if let Some(since) = header("if-unmodified-since").and_then(parse_http_date)
        && modified > since
    {
        return ReadVerdict::Failed("If-Unmodified-Since");
    }
    if let Some(text) = header("if-none-match") {
        // Weak comparison (RFC 9110 §13.1.2).
        let strong: Vec<&str> =
            text.split(',').map(|tag| tag.trim().trim_start_matches("W/")).collect();
        if matches(&strong.join(",")) {
            return ReadVerdict::NotModified;
        }
    } else if let Some(since) = header("if-modified-since").and_then(parse_http_date)
        && modified <= since
        && since.0 <= request.now_ms
    {
        return ReadVerdict::NotModified;
    }
    ReadVerdict::Send
}

/// Writes what is stored about an object into a response.
///
/// # Errors
///
/// `InvalidArgument` for what the request wants said and no header can say.
pub(crate) fn describe(
    reply: &mut Reply,
    request: &S3Request,
    row: &ObjectRow,
) -> Result<(), S3Error> {
    set(reply, "etag", &format!("\"{}\"", row.etag.to_text()));
    set(reply, "last-modified", &Timestamp(row.modified_ms).to_http());
    set(reply, "accept-ranges", "bytes");
    set(reply, "content-type", "binary/octet-stream");
    for (name, value) in &row.headers {
        set(reply, name, &encoded(value));
    }
    let mut missing = 0;
    for (name, value) in &row.metadata {
        missing += u64::from(!set(reply, &format!("x-amz-meta-{name}"), &encoded(value)));
    }
    if missing > 0 {
        set(reply, "x-amz-missing-meta", &missing.to_string());
    }
    if !row.tags.is_empty() {
        set(reply, "x-amz-tagging-count", &row.tags.len().to_string());
    }
    if let Some(class) = &row.storage_class {
        set(reply, "x-amz-storage-class", class);
    }
    if let Some(text) = restore_text(row, request.now_ms) {
        set(reply, "x-amz-restore", &text);
    }
    if let Some(retention) = row.lock.retention {
        set(reply, "x-amz-object-lock-mode", mode_text(retention.mode));
        let until = Timestamp(retention.until_ms).to_iso();
        set(reply, "x-amz-object-lock-retain-until-date", &until);
    }
    if let Some(is_held) = row.lock.legal_hold {
        set(reply, "x-amz-object-lock-legal-hold", if is_held { "ON" } else { "OFF" });
    }
    for (parameter, name) in [
        ("response-content-type", "content-type"),
        ("response-content-language", "content-language"),
        ("response-expires", "expires"),
        ("response-cache-control", "cache-control"),
        ("response-content-disposition", "content-disposition"),
        ("response-content-encoding", "content-encoding"),
    ] {
        if let Some(value) = request.query(parameter) {
            set_latin(reply, name, value).ok_or_else(|| {
                let message = "Header value cannot be represented using ISO-8859-1.";
                S3Error::argument(parameter, value, message)
            })?;
        }
    }
    Ok(())
}

/// Writes a checksum into the headers of a response.
pub(crate) fn tell_checksum(
    reply: &mut Reply,
    checksum: &drystone_engine::Checksum,
    part_count: Option<u16>,
) {
    let text = checksum::text_of(checksum, part_count);
    set(reply, checksum::header_name(checksum.algorithm), &text);
    set(reply, "x-amz-checksum-type", checksum.kind.name());
}

//! Presigned URLs and forms of signature version 2, which some clients still make by default for the region
//! us-east-1. They are taken only where the operator says so; in headers, never. See
//! `docs/decisions/0005-sigv2-urls.md`.
//!
//! Source: S3 API reference, "Signing and authenticating REST requests (version 2)".

use super::parse::refused_version;
use super::verify::{Verifier, is_no_header_of_s3};
use crate::control;
use crate::error::{S3Code, S3Error};
use crate::request::S3Request;
use crate::route::is_sub_resource;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use drystone_identity::{Credential, Identity};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Sub-resources and overrides that are part of what is signed.
const SIGNED_QUERIES: &[&str] = &[
    "acl",
    "cors",
    "delete",
    "lifecycle",
    "location",
    "logging",
    "notification",
    "partNumber",
    "policy",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Checks the signature of a form's policy.
pub(crate) fn check_form(
    verifier: &Verifier<'_>,
    access_key: &str,
    token: Option<&str>,
    policy: &str,
    signature: &str,
) -> Result<Arc<Identity>, S3Error> {
    if !verifier.takes_v2 {
        return Err(refused_version());
    }
    let credential = verifier.find_key(access_key, token)?;
    check(&credential, policy, signature)?;
    verifier.signed(credential)
}

/// Checks a presigned URL.
pub(crate) fn check_presigned(
    request: &S3Request,
    verifier: &Verifier<'_>,
) -> Result<Arc<Identity>, S3Error> {
    if !verifier.takes_v2 || control::is_for(request) {
        return Err(refused_version());
    }
    refuse_unsigned(request)?;
    refuse_ambiguous(request)?;
    let get = |name: &str| request.query(name).unwrap_or_default();
    let (access_key, given, expires) = (get("AWSAccessKeyId"), get("Signature"), get("Expires"));
    let token = request.query("x-amz-security-token").or(request.header("x-amz-security-token"));
    let credential = verifier.find_key(access_key, token)?;
    let end: u64 = expires.parse().map_err(|_| {
        S3Error::with(S3Code::AccessDenied, "Query-string authentication requires Expires")
    })?;
    if request.now_ms / 1000 > end {
        return Err(S3Error::with(S3Code::AccessDenied, "Request has expired"));
    }
    let to_sign = string_to_sign(request, expires);
    // A plus sign that was not encoded has become a space.
    check(&credential, &to_sign, &given.replace(' ', "+"))?;
    verifier.signed(credential)
}

/// Refuses what leads to another operation without being signed: the holder of a URL for an object could
/// otherwise append `&retention`.
fn refuse_unsigned(request: &S3Request) -> Result<(), S3Error> {
    let names = request.query.iter().map(|(name, ..)| name.as_str());
    let unsigned = names.filter(|name| is_sub_resource(name) && !SIGNED_QUERIES.contains(name));
    let headers = request.headers.names();
    let mut unsigned = unsigned.chain(headers.filter(|name| is_no_header_of_s3(name)));
    match unsigned.next() {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "A signature of version 2 does not cover {name}. Please use AWS4-HMAC-SHA256."
            );
            Err(S3Error::with(S3Code::AccessDenied, message))
        }
    }
}

/// Refuses what the string to sign cannot tell from another request.
fn refuse_ambiguous(request: &S3Request) -> Result<(), S3Error> {
    if request.point.is_some() {
        // It would name the bucket, for which other rules count.
        let message = "A signature of version 2 does not cover an access point. Please use \
                       AWS4-HMAC-SHA256.";
        return Err(S3Error::with(S3Code::AccessDenied, message));
    }
    refuse_hidden_lines(request)?;
    refuse_joined_values(request)?;
    refuse_hidden_parameters(request)
}

/// Whether a header has a line in the string to sign.
fn has_line(name: &str) -> bool {
    name.starts_with("x-amz-") || matches!(name, "content-md5" | "content-type")
}

/// Refuses texts that read like further lines: `x-amz-date` with the value `D`, a line break and
/// `x-amz-acl:private` is signed as both, but sets no list. All headers that are no text have one line.
fn refuse_hidden_lines(request: &S3Request) -> Result<(), S3Error> {
    let message = "A name or value that is not one line of text is ambiguous under a signature of \
                   version 2. Please use AWS4-HMAC-SHA256.";
    for (name, value, _) in &request.query {
        let lower = name.to_ascii_lowercase();
        let is_signed = SIGNED_QUERIES.contains(&name.as_str());
        let is_line = lower.starts_with("x-amz-");
        let is_bad_name = is_line && http::HeaderName::from_bytes(lower.as_bytes()).is_err();
        if is_bad_name || ((is_line || is_signed) && value.chars().any(char::is_control)) {
            return Err(S3Error::argument(name, value, message));
        }
    }
    for name in request.headers.names().filter(|name| has_line(name)) {
        if request.headers.bytes(name).is_some_and(|value| std::str::from_utf8(value).is_err()) {
            return Err(S3Error::argument(name, "", message));
        }
    }
    Ok(())
}

/// Refuses names that are given twice, be it once as a header and once as a parameter: their values are
/// joined by commas in the string to sign, where one value may have a comma of its own, and one counts.
fn refuse_joined_values(request: &S3Request) -> Result<(), S3Error> {
    let lines = request.headers.names().chain(request.headers.repeated());
    let lines = lines.filter(|name| has_line(name)).map(str::to_owned);
    let of_query = request.query.iter().filter_map(|(name, ..)| {
        let lower = name.to_ascii_lowercase();
        match lower.starts_with("x-amz-") {
            true => Some(lower),
            false => SIGNED_QUERIES.contains(&name.as_str()).then(|| name.clone()),
        }
    });
    let mut seen = BTreeSet::new();
    match lines.chain(of_query).find(|name| !seen.insert(name.clone())) {
        None => Ok(()),
        Some(name) => {
            let message = "What is given twice is ambiguous under a signature of version 2.";
            Err(S3Error::argument(&name, "", message))
        }
    }
}

/// Refuses values that the string to sign cannot tell from further parameters: `partNumber` with the value
/// `1&uploadId=X` is signed as both, but names no upload.
fn refuse_hidden_parameters(request: &S3Request) -> Result<(), S3Error> {
    let is_signed = |name: &str| SIGNED_QUERIES.contains(&name);
    let hides = |value: &str| {
        let mut others = value.split('&').skip(1);
        others.any(|piece| is_signed(piece.split('=').next().unwrap_or_default()))
    };
    let mut signed = request.query.iter().filter(|(name, ..)| is_signed(name));
    match signed.find(|(_, value, _)| hides(value)) {
        None => Ok(()),
        Some((name, value, _)) => {
            let message = "The value reads like further parameters, which a signature of version 2 \
                           does not tell apart. Please use AWS4-HMAC-SHA256.";
            Err(S3Error::argument(name, value, message))
        }
    }
}

fn check(credential: &Credential, to_sign: &str, given: &str) -> Result<(), S3Error> {
    let mut mac = Hmac::<Sha1>::new_from_slice(credential.secret_key().reveal().as_bytes())
        .expect("any key length will do");
    mac.update(to_sign.as_bytes());
    let expected = BASE64.encode(mac.finalize().into_bytes());
    if bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
        return Ok(());
    }
    Err(S3Error::new(S3Code::SignatureDoesNotMatch)
        .field("AWSAccessKeyId", credential.access_key())
        .field("StringToSign", to_sign)
        .field("SignatureProvided", given))
}

fn string_to_sign(request: &S3Request, expires: &str) -> String {
    let header = |name: &str| request.text(name).unwrap_or_default().trim().to_owned();
    let mut out = format!(
        "{}\n{}\n{}\n{expires}\n",
        request.method,
        header("content-md5"),
        header("content-type")
    );
    // Headers, and query parameters that stand for headers, sorted by name.
    let mut amz: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in request.headers.texts() {
        if name.starts_with("x-amz-") {
            amz.entry(name.to_owned()).or_default().push(value.trim().to_owned());
        }
    }
    for (name, value, _) in &request.query {
        let name = name.to_ascii_lowercase();
        if name.starts_with("x-amz-") {
            amz.entry(name).or_default().push(value.clone());
        }
    }
    for (name, values) in amz {
        out.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    // A bucket that the host names is part of the resource.
    if let Some(bucket) = &request.bucket
        && !request.path_names_bucket
    {
        out.push_str(&format!("/{bucket}"));
    }
    out.push_str(&request.raw_path);
    let mut signed: Vec<_> =
        request.query.iter().filter(|(n, ..)| SIGNED_QUERIES.contains(&n.as_str())).collect();
    signed.sort();
    for (index, (name, value, has_equals)) in signed.into_iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(name);
        if *has_equals || !value.is_empty() {
            out.push_str(&format!("={value}"));
        }
    }
    out
}

//! Verifying a request, and the chain of chunk signatures behind it.

use super::canonical::{PathForm, canonical_request};
use super::parse::{Claim, parse_authorization, parse_presigned};
use super::{KeyCache, SigningKey, hmac, sha256_hex};
use crate::error::{S3Code, S3Error};
use crate::request::S3Request;
use drystone_base::{Timestamp, hex, parse_http_date};
use drystone_identity::{Credential, Directory, IdentifyError, Identity};
use std::fmt::Write as _;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Allowed difference of clocks, in milliseconds.
const SKEW_MS: u64 = 15 * 60 * 1000;
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What `x-amz-content-sha256` says about the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PayloadHash {
    /// The body has this SHA-256, in hexadecimal.
    Whole(String),
    /// Nothing.
    Unsigned,
    /// The body is framed in chunks.
    Chunked { signed: bool, trailer: bool },
}

/// Signs chunks, each with the one before it.
#[derive(Clone)]
pub(crate) struct ChunkSigner {
    key: [u8; 32],
    date: String,
    scope: String,
    previous: String,
}

/// Where a request has its signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AuthType {
    /// It has none.
    #[default]
    Anonymous,
    /// In the header `Authorization`.
    Header,
    /// In the query.
    Query,
    /// In the fields of a form.
    Form,
}

/// A request whose signature is right, or that has none.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) auth: AuthType,
    /// Who signed; no one if there is no signature.
    pub(crate) identity: Option<Arc<Identity>>,
    /// When it was signed, in milliseconds since 1970.
    pub(crate) signed_ms: Option<u64>,
    pub(crate) payload: PayloadHash,
    /// For chunks that are signed.
    pub(crate) signer: Option<ChunkSigner>,
}

/// Where keys and rules come from.
pub(crate) struct Verifier<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) keys: &'a KeyCache,
    pub(crate) region: &'a str,
    /// Service that scopes must name.
    pub(crate) service: &'a str,
    /// Whether other regions than the server's will do, as for its administration.
    pub(crate) any_region: bool,
    /// Whether URLs and forms of signature version 2 are taken.
    pub(crate) takes_v2: bool,
}

impl Verifier<'_> {
    fn signing_key(&self, credential: &Credential, claim: &Claim) -> SigningKey {
        let scope = [claim.day.as_str(), &claim.region, &claim.service];
        self.keys.get((credential.serial(), credential.secret_key()), scope)
    }

    /// The secret of an access key, to check a signature with.
    ///
    /// # Errors
    ///
    /// The codes of the protocol page, §2.
    pub(crate) fn find_key(
        &self,
        access_key: &str,
        token: Option<&str>,
    ) -> Result<Credential, S3Error> {
        self.directory.find_key(access_key, token).map_err(|error| refusal(access_key, error))
    }

    /// Who signed, once the signature was found to be right: policies are not read for any other.
    ///
    /// # Errors
    ///
    /// The codes of the protocol page, §2.
    pub(crate) fn signed(&self, credential: Credential) -> Result<Arc<Identity>, S3Error> {
        let access_key = credential.access_key().to_owned();
        self.directory.identity_of(credential).map_err(|error| refusal(&access_key, error))
    }
}

/// Whom an access key belongs to, whose signature was found to be right before.
///
/// # Errors
///
/// The codes of the protocol page, §2.
pub(crate) fn identify(
    directory: &Directory,
    access_key: &str,
    token: Option<&str>,
) -> Result<Arc<Identity>, S3Error> {
    directory.identify(access_key, token).map_err(|error| refusal(access_key, error))
}

fn refusal(access_key: &str, error: IdentifyError) -> S3Error {
    match error {
        IdentifyError::UnknownKey => {
            S3Error::new(S3Code::InvalidAccessKeyId).field("AWSAccessKeyId", access_key)
        }
        IdentifyError::DisabledKey => {
            let message = "The access key, or its user, is disabled.";
            S3Error::with(S3Code::InvalidAccessKeyId, message).field("AWSAccessKeyId", access_key)
        }
        IdentifyError::RevokedToken => {
            let message = "The session was revoked: ask for new credentials.";
            S3Error::with(S3Code::InvalidToken, message)
        }
        IdentifyError::InvalidToken => S3Code::InvalidToken.into(),
        IdentifyError::ExpiredToken => S3Code::ExpiredToken.into(),
        IdentifyError::Stored(error) => {
            tracing::error!(access_key, %error, "an identity cannot be read");
            S3Code::InternalError.into()
        }
    }
}

/// What a request whose signature is in its query says about the body.
pub(crate) fn payload_of_query(request: &S3Request) -> Option<&str> {
    request.header("x-amz-content-sha256").or(request.query("X-Amz-Content-Sha256"))
}

fn payload_hash(request: &S3Request) -> Result<Option<PayloadHash>, S3Error> {
    parse_payload(request.header("x-amz-content-sha256"))
}

fn parse_payload(text: Option<&str>) -> Result<Option<PayloadHash>, S3Error> {
    let Some(text) = text else { return Ok(None) };
    let chunked = |signed, trailer| Some(PayloadHash::Chunked { signed, trailer });
    Ok(match text {
        "UNSIGNED-PAYLOAD" => Some(PayloadHash::Unsigned),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => chunked(true, false),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => chunked(true, true),
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => chunked(false, true),
        _ if text.starts_with("STREAMING-AWS4-ECDSA") => {
            return Err(S3Error::not_implemented("x-amz-content-sha256"));
        }
        _ if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Some(PayloadHash::Whole(text.to_ascii_lowercase()))
        }
        _ => {
            let message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, \
                           STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
                           STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.";
            return Err(S3Error::argument("x-amz-content-sha256", text, message));
        }
    })
}

/// Authenticates a request.
///
/// # Errors
///
/// The codes of the protocol page, §2.
pub(crate) fn authenticate(
    request: &S3Request,
    verifier: &Verifier<'_>,
) -> Result<Verified, S3Error> {
    let in_query = request.query("X-Amz-Algorithm").is_some()
        || request.query("X-Amz-Credential").is_some()
        || request.query("X-Amz-Signature").is_some();
    match (request.header("authorization"), in_query) {
        (Some(_), true) => {
            let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query \
                           parameter, Signature query string parameter or the Authorization header \
                           should be specified";
            Err(S3Error::argument("Authorization", "", message))
        }
        (Some(text), false) => by_header(request, verifier, text),
        (None, true) => by_query(request, verifier),
        (None, false) if request.query("AWSAccessKeyId").is_some() => {
            let payload = payload_hash(request)?.unwrap_or(PayloadHash::Unsigned);
            if matches!(payload, PayloadHash::Chunked { signed: true, .. }) {
                return Err(S3Error::not_implemented("x-amz-content-sha256"));
            }
            let identity = Some(super::legacy::check_presigned(request, verifier)?);
            let (auth, signed_ms) = (AuthType::Query, None);
            Ok(Verified { auth, identity, signed_ms, payload, signer: None })
        }
        (None, false) => anonymous(request),
    }
}

/// No one signed: whether that is enough is decided later.
fn anonymous(request: &S3Request) -> Result<Verified, S3Error> {
    let payload = payload_hash(request)?.unwrap_or(PayloadHash::Unsigned);
    if matches!(payload, PayloadHash::Chunked { signed: true, .. }) {
        return Err(S3Code::AccessDenied.into());
    }
    let auth = AuthType::Anonymous;
    Ok(Verified { auth, identity: None, signed_ms: None, payload, signer: None })
}

fn by_header(
    request: &S3Request,
    verifier: &Verifier<'_>,
    text: &str,
) -> Result<Verified, S3Error> {
    let claim = parse_authorization(text)?;
    let date = signing_date(request)?;
    check_scope(&claim, verifier, date)?;
    check_skew(request, date)?;
    let token = request.header("x-amz-security-token");
    let credential = verifier.find_key(&claim.access_key, token)?;
    let payload = payload_hash(request)?.ok_or_else(|| {
        let message = "Missing required header for this request: x-amz-content-sha256";
        S3Error::with(S3Code::InvalidRequest, message)
    })?;
    check_signed_headers(request, &claim)?;
    let hash = request.header("x-amz-content-sha256").unwrap_or(EMPTY_SHA256);
    let signer = check_signature(request, verifier, &claim, &credential, date, hash)?;
    let signs = matches!(payload, PayloadHash::Chunked { signed: true, .. });
    let identity = Some(verifier.signed(credential)?);
    let (auth, signed_ms) = (AuthType::Header, Some(date.0));
    Ok(Verified { auth, identity, signed_ms, payload, signer: signs.then_some(signer) })
}

/// Authenticates a request to another service than S3. `payload_sha256` is what the signature is to
/// cover; whether the body has it is for the caller to see.
///
/// # Errors
///
/// The codes of the protocol page, §2.
pub(crate) fn authenticate_service(
    request: &S3Request,
    verifier: &Verifier<'_>,
    authorization: &str,
    payload_sha256: &str,
) -> Result<Arc<Identity>, S3Error> {
    let claim = parse_authorization(authorization)?;
    let date = signing_date(request)?;
    check_scope(&claim, verifier, date)?;
    check_skew(request, date)?;
    let token = request.header("x-amz-security-token");
    let credential = verifier.find_key(&claim.access_key, token)?;
    check_signed_headers(request, &claim)?;
    check_signature(request, verifier, &claim, &credential, date, payload_sha256)?;
    verifier.signed(credential)
}

fn signing_date(request: &S3Request) -> Result<Timestamp, S3Error> {
    let date = match request.header("x-amz-date") {
        Some(text) => Timestamp::parse_amz(text),
        None => request.header("date").and_then(parse_date),
    };
    date.ok_or_else(|| {
        let message = "AWS authentication requires a valid Date or x-amz-date header";
        S3Error::with(S3Code::AccessDenied, message)
    })
}

/// A date as HTTP has it, or as mail has it with the zone as a number, which botocore sends.
fn parse_date(text: &str) -> Option<Timestamp> {
    match text.strip_suffix(" -0000").or_else(|| text.strip_suffix(" +0000")) {
        Some(date) => parse_http_date(&format!("{date} GMT")),
        None => parse_http_date(text),
    }
}

fn check_skew(request: &S3Request, date: Timestamp) -> Result<(), S3Error> {
    if date.0.abs_diff(request.now_ms) <= SKEW_MS {
        return Ok(());
    }
    Err(S3Error::new(S3Code::RequestTimeTooSkewed)
        .field("RequestTime", date.to_amz())
        .field("ServerTime", Timestamp(request.now_ms).to_iso())
        .field("MaxAllowedSkewMilliseconds", SKEW_MS.to_string()))
}

fn by_query(request: &S3Request, verifier: &Verifier<'_>) -> Result<Verified, S3Error> {
    let get = |name: &str| request.query(name).map(str::to_owned);
    let (claim, date, expires) = parse_presigned(&get)?;
    let date = Timestamp::parse_amz(&date).ok_or_else(|| {
        let message = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";
        S3Error::with(S3Code::AuthorizationQueryParametersError, message)
    })?;
    check_scope(&claim, verifier, date)
        .map_err(|error| S3Error { code: S3Code::AuthorizationQueryParametersError, ..error })?;
    if date.0 > request.now_ms + SKEW_MS {
        return Err(S3Error::with(S3Code::AccessDenied, "Request is not valid yet"));
    }
    let end = Timestamp(date.0 + expires * 1000);
    if request.now_ms > end.0 {
        return Err(S3Error::with(S3Code::AccessDenied, "Request has expired")
            .field("X-Amz-Expires", expires.to_string())
            .field("Expires", end.to_iso())
            .field("ServerTime", Timestamp(request.now_ms).to_iso()));
    }
    let token = request.query("X-Amz-Security-Token").or(request.header("x-amz-security-token"));
    let credential = verifier.find_key(&claim.access_key, token)?;
    check_signed_headers(request, &claim)?;
    let given = request.query("X-Amz-Content-Sha256").or(request.header("x-amz-content-sha256"));
    let hash = given.unwrap_or("UNSIGNED-PAYLOAD").to_owned();
    let signer = check_signature(request, verifier, &claim, &credential, date, &hash)?;
    let payload = parse_payload(payload_of_query(request))?.unwrap_or(PayloadHash::Unsigned);
    let signs = matches!(payload, PayloadHash::Chunked { signed: true, .. });
    let identity = Some(verifier.signed(credential)?);
    let (auth, signed_ms) = (AuthType::Query, Some(date.0));
    Ok(Verified { auth, identity, signed_ms, payload, signer: signs.then_some(signer) })
}

/// The fields of a form that sign its policy.
pub(crate) struct FormSignature<'a> {
    pub(crate) algorithm: &'a str,
    pub(crate) credential: &'a str,
    pub(crate) date: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) policy: &'a str,
    pub(crate) signature: &'a str,
}

/// Checks the signature of a form's policy; returns who signed, and when in milliseconds since 1970.
///
/// # Errors
///
/// The codes of the protocol page, §§2 and 3.
pub(crate) fn check_form(
    verifier: &Verifier<'_>,
    form: &FormSignature<'_>,
) -> Result<(Arc<Identity>, u64), S3Error> {
    let FormSignature { algorithm, credential, date, token, policy, signature } = *form;
    let get = |name: &str| {
        let value = match name {
            "X-Amz-Algorithm" => algorithm,
            "X-Amz-Credential" => credential,
            "X-Amz-Date" => date,
            "X-Amz-Expires" => "1",
            "X-Amz-SignedHeaders" => "policy",
            "X-Amz-Signature" => signature,
            _ => return None,
        };
        Some(value.to_owned())
    };
    let (claim, date, _) = parse_presigned(&get)
        .map_err(|error| S3Error { code: S3Code::InvalidArgument, ..error })?;
    let invalid = || S3Error::argument("x-amz-date", &date, "The date of the form is not valid");
    let signed = Timestamp::parse_amz(&date).ok_or_else(invalid)?;
    check_scope(&claim, verifier, signed)?;
    let credential = verifier.find_key(&claim.access_key, token)?;
    let key = verifier.signing_key(&credential, &claim);
    let expected = hex(&hmac(&key.bytes, policy.as_bytes()));
    if bool::from(expected.as_bytes().ct_eq(claim.signature.as_bytes())) {
        verifier.keys.keep(&key);
        return Ok((verifier.signed(credential)?, signed.0));
    }
    Err(S3Error::new(S3Code::SignatureDoesNotMatch)
        .field("AWSAccessKeyId", claim.access_key.clone())
        .field("StringToSign", policy)
        .field("SignatureProvided", claim.signature))
}

fn check_scope(claim: &Claim, verifier: &Verifier<'_>, date: Timestamp) -> Result<(), S3Error> {
    let malformed = |message: String| S3Error::with(S3Code::AuthorizationHeaderMalformed, message);
    if claim.service != verifier.service {
        return Err(malformed(format!("incorrect service \"{}\"", claim.service)));
    }
    if claim.day != date.to_amz()[..8] {
        return Err(malformed(
            "the date of the credential scope is not that of the request".into(),
        ));
    }
    if claim.region != verifier.region && !verifier.any_region {
        let message = format!(
            "The authorization header is malformed; the region '{}' is wrong; expecting '{}'",
            claim.region, verifier.region
        );
        return Err(malformed(message).field("Region", verifier.region));
    }
    Ok(())
}

/// `host` and every header `x-amz-*`, `x-drystone-*` and `x-minio-*` must be signed: else a proxy, or the
/// holder of a presigned URL, could add a header that changes what the request does.
fn check_signed_headers(request: &S3Request, claim: &Claim) -> Result<(), S3Error> {
    let is_signed = |name: &str| claim.signed_headers.iter().any(|signed| signed == name);
    let mut unsigned: Vec<&str> = request
        .headers
        .names()
        .filter(|name| name.starts_with("x-amz-") || is_no_header_of_s3(name))
        .filter(|name| !is_signed(name))
        .collect();
    if !is_signed("host") {
        unsigned.push("host");
    }
    if unsigned.is_empty() {
        return Ok(());
    }
    let message = "There were headers present in the request which were not signed";
    Err(S3Error::with(S3Code::AccessDenied, message).field("HeadersNotSigned", unsigned.join(", ")))
}

/// Whether a header is one of this server or of MinIO only. Version 2 signs none of them.
pub(super) fn is_no_header_of_s3(name: &str) -> bool {
    name.starts_with("x-drystone-") || name.starts_with("x-minio-")
}

fn check_signature(
    request: &S3Request,
    verifier: &Verifier<'_>,
    claim: &Claim,
    credential: &Credential,
    date: Timestamp,
    hash: &str,
) -> Result<ChunkSigner, S3Error> {
    let key = verifier.signing_key(credential, claim);
    let scope = [&claim.day, &claim.region, &claim.service, "aws4_request"].join("/");
    let date = date.to_amz();
    let mut shown = None;
    for form in [PathForm::Encoded, PathForm::Raw] {
        let canonical = canonical_request(request, &claim.signed_headers, hash, form);
        let Some(canonical) = canonical else { break };
        let hashed = sha256_hex(canonical.as_bytes());
        let to_sign = ["AWS4-HMAC-SHA256", &date, &scope, &hashed].join("\n");
        let signature = hex(&hmac(&key.bytes, to_sign.as_bytes()));
        if bool::from(signature.as_bytes().ct_eq(claim.signature.as_bytes())) {
            verifier.keys.keep(&key);
            return Ok(ChunkSigner { key: key.bytes, date, scope, previous: signature });
        }
        shown.get_or_insert((to_sign, canonical));
    }
    let (to_sign, canonical) = shown.unwrap_or_default();
    let spaced = |text: &str| {
        let mut out = String::with_capacity(3 * text.len());
        for byte in text.bytes() {
            let separator = if out.is_empty() { "" } else { " " };
            let _ = write!(out, "{separator}{byte:02x}");
        }
        out
    };
    Err(S3Error::new(S3Code::SignatureDoesNotMatch)
        .field("AWSAccessKeyId", claim.access_key.clone())
        .field("StringToSign", to_sign.clone())
        .field("SignatureProvided", claim.signature.clone())
        .field("StringToSignBytes", spaced(&to_sign))
        .field("CanonicalRequest", canonical.clone())
        .field("CanonicalRequestBytes", spaced(&canonical)))
}

impl ChunkSigner {
    fn check(&mut self, kind: &str, hashes: &str, signature: &str) -> Result<(), S3Error> {
        let to_sign = format!("{kind}\n{}\n{}\n{}\n{hashes}", self.date, self.scope, self.previous);
        let expected = hex(&hmac(&self.key, to_sign.as_bytes()));
        if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
            return Err(S3Code::SignatureDoesNotMatch.into());
        }
        self.previous = expected;
        Ok(())
    }

    /// Checks the signature of the next chunk.
    pub(crate) fn chunk(&mut self, sha256: &str, signature: &str) -> Result<(), S3Error> {
        self.check("AWS4-HMAC-SHA256-PAYLOAD", &format!("{EMPTY_SHA256}\n{sha256}"), signature)
    }

    /// Checks the signature of the trailers.
    pub(crate) fn trailer(&mut self, lines: &str, signature: &str) -> Result<(), S3Error> {
        self.check("AWS4-HMAC-SHA256-TRAILER", &sha256_hex(lines.as_bytes()), signature)
    }
}

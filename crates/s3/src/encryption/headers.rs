//! What a request says about encryption (S3 user guide, "Protecting data with encryption").

use crate::error::{S3Code, S3Error};
use crate::headers::values;
use crate::request::S3Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_keyring::DataKey;
use md5::Digest as _;
use std::collections::BTreeMap;

pub(super) const SSE: &str = "x-amz-server-side-encryption";
pub(super) const KMS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
pub(super) const KMS_CONTEXT: &str = "x-amz-server-side-encryption-context";
pub(super) const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
/// Algorithm, key and digest of a key that the client keeps.
const CUSTOMER: [&str; 3] = [
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
];
const SOURCE_CUSTOMER: [&str; 3] = [
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key-md5",
];
/// Bytes of an encryption context at most.
const CONTEXT_LEN_MAX: usize = 8 << 10;

/// What a writer asks for.
pub(super) enum Asked {
    /// Nothing: the default of the bucket holds.
    Nothing,
    /// SSE-S3.
    S3,
    /// SSE-KMS.
    Kms(KmsAsked),
    /// SSE-C.
    Customer(DataKey),
}

/// What a writer asks of SSE-KMS.
#[derive(Default)]
pub(super) struct KmsAsked {
    pub(super) key: Option<String>,
    /// As JSON, names in order; empty for none.
    pub(super) context: String,
    pub(super) bucket_key: Option<bool>,
}

/// Which key of a client: of what is written or read, or of the source of a copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Object,
    CopySource,
}

/// Whether a request says anything about how its object is to be encrypted.
pub(crate) fn asks(request: &S3Request) -> bool {
    [SSE, KMS_KEY, KMS_CONTEXT, BUCKET_KEY, CUSTOMER[0]].iter().any(|name| has(request, name))
}

fn has(request: &S3Request, name: &str) -> bool {
    request.header_or_query(name).is_some()
}

pub(super) fn parse(request: &S3Request, is_secure: bool) -> Result<Asked, S3Error> {
    let customer = customer_key(request, is_secure, Side::Object)?;
    bucket_key(request)?;
    let sse = request.header_or_query(SSE);
    if customer.is_some() && (sse.is_some() || has(request, KMS_KEY)) {
        let message = "Server Side Encryption with Customer provided key is incompatible with the \
                       encryption method specified";
        return Err(S3Error::argument(SSE, sse.unwrap_or_default(), message));
    }
    if let Some(customer) = customer {
        return Ok(Asked::Customer(customer));
    }
    let kms_only = [KMS_KEY, KMS_CONTEXT, BUCKET_KEY].into_iter().find(|name| has(request, name));
    match (sse, kms_only) {
        (Some("aws:kms"), _) => Ok(Asked::Kms(kms_asked(request)?)),
        // A key of the bucket may be asked for where the bucket's default is SSE-KMS.
        (None, Some(BUCKET_KEY) | None) => Ok(Asked::Nothing),
        (Some("AES256") | None, Some(name)) => {
            let message = "Server Side Encryption with AWS KMS managed key requires HTTP header \
                           x-amz-server-side-encryption : aws:kms";
            Err(S3Error::argument(name, request.header_or_query(name).unwrap_or_default(), message))
        }
        (Some("AES256"), None) => Ok(Asked::S3),
        (Some("aws:kms:dsse"), _) => Err(S3Error::not_implemented("aws:kms:dsse")),
        (Some(other), _) => {
            Err(S3Error::argument(SSE, other, "The encryption method specified is not supported"))
        }
    }
}

pub(super) fn bucket_key(request: &S3Request) -> Result<Option<bool>, S3Error> {
    request.read(BUCKET_KEY, values::flag)
}

fn kms_asked(request: &S3Request) -> Result<KmsAsked, S3Error> {
    let key = request.header_or_query(KMS_KEY).map(str::to_owned).filter(|key| !key.is_empty());
    let context = match request.header_or_query(KMS_CONTEXT) {
        Some(text) => parse_context(text)?,
        None => String::new(),
    };
    Ok(KmsAsked { key, context, bucket_key: bucket_key(request)? })
}

/// Reads an encryption context: JSON in base64, of texts only. Names come in order, so that the same
/// context is the same text.
fn parse_context(text: &str) -> Result<String, S3Error> {
    let bad = || {
        let message = "The header x-amz-server-side-encryption-context must be a base64-encoded \
                       JSON object of strings";
        S3Error::argument(KMS_CONTEXT, text, message)
    };
    let bytes = STANDARD.decode(text).map_err(|_| bad())?;
    if bytes.len() > CONTEXT_LEN_MAX {
        return Err(bad());
    }
    let pairs: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    match pairs.is_empty() {
        true => Ok(String::new()),
        false => Ok(serde_json::to_string(&pairs).expect("texts become JSON")),
    }
}

/// Reads a key that the client keeps, if one came.
///
/// # Errors
///
/// `InvalidRequest` over a connection that others can read; `InvalidArgument` and
/// `InvalidEncryptionAlgorithmError` for what is no such key.
pub(crate) fn customer_key(
    request: &S3Request,
    is_secure: bool,
    side: Side,
) -> Result<Option<DataKey>, S3Error> {
    let names = if side == Side::Object { CUSTOMER } else { SOURCE_CUSTOMER };
    if request.query.iter().any(|(name, ..)| name.eq_ignore_ascii_case(names[1])) {
        let message = "A key must not be part of an address: send it in a header.";
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    let [algorithm, key, md5] = names.map(|name| request.header_or_query(name));
    if algorithm.is_none() && key.is_none() && md5.is_none() {
        return Ok(None);
    }
    if !is_secure {
        let message = "Requests specifying Server Side Encryption with Customer provided keys must \
                       be made over a secure connection.";
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    let missing = |name: &str, what: &str| {
        let message = format!(
            "Requests specifying Server Side Encryption with Customer provided keys must provide \
             {what}."
        );
        S3Error::argument(name, "null", message)
    };
    let algorithm = algorithm.ok_or_else(|| missing(names[0], "a valid encryption algorithm"))?;
    if algorithm != "AES256" {
        return Err(S3Code::InvalidEncryptionAlgorithmError.into());
    }
    let key = key.ok_or_else(|| missing(names[1], "an appropriate secret key"))?;
    let md5 =
        md5.ok_or_else(|| missing(names[2], "the client calculated MD5 of the secret key"))?;
    // What was sent is not repeated in errors: it is a secret, or nearly one.
    let invalid = |message: &str| Err(S3Error::with(S3Code::InvalidArgument, message));
    let Some(bytes) = STANDARD.decode(key).ok().filter(|key| key.len() == DataKey::LEN_BYTES)
    else {
        return invalid("The secret key was invalid for the specified algorithm.");
    };
    if STANDARD.encode(md5::Md5::digest(&bytes)) != md5 {
        return invalid(
            "The calculated MD5 hash of the key did not match the hash that was provided.",
        );
    }
    Ok(DataKey::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_the_same_text_in_any_order() {
        let read = |json: &str| parse_context(&STANDARD.encode(json)).ok();
        assert_eq!(read(r#"{"b":"2", "a":"1"}"#).as_deref(), Some(r#"{"a":"1","b":"2"}"#));
        assert_eq!(read(r#"{"a":"1","b":"2"}"#), read(r#"{"b":"2","a":"1"}"#));
        assert_eq!(read("{}").as_deref(), Some(""));
        for bad in ["", "[]", r#"{"a":1}"#, r#"{"a":{"b":"c"}}"#, "null"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

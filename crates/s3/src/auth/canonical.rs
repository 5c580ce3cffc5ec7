//! The canonical request.

use crate::request::S3Request;
use crate::uri::{encode, encode_into};
use std::fmt::Write as _;

/// Which form of the path is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathForm {
    /// Encoded once from the decoded path.
    Encoded,
    /// As it was received: some clients leave `+ @ = , ( )` bare.
    Raw,
}

/// Collapses inner spaces and trims (the rule of the signature's headers).
fn trimmed(out: &mut String, value: &str) {
    if !value.as_bytes().contains(&b' ') {
        return out.push_str(value);
    }
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        out.push_str(first);
        for word in words {
            out.push(' ');
            out.push_str(word);
        }
    }
}

/// Writes the canonical request; `None` if a signed header is missing.
pub(crate) fn canonical_request(
    request: &S3Request,
    signed_headers: &[String],
    payload_hash: &str,
    form: PathForm,
) -> Option<String> {
    let mut out = String::with_capacity(512);
    out.push_str(request.method.as_str());
    out.push('\n');
    match form {
        PathForm::Encoded => encode_into(&mut out, request.path.as_bytes(), true),
        PathForm::Raw => out.push_str(&request.raw_path),
    }
    out.push('\n');
    let mut pairs: Vec<(String, String)> = request
        .query
        .iter()
        .filter(|(name, ..)| name != "X-Amz-Signature")
        .map(|(name, value, _)| (encode(name, false), encode(value, false)))
        .collect();
    pairs.sort();
    for (index, (name, value)) in pairs.iter().enumerate() {
        let separator = if index == 0 { "" } else { "&" };
        let _ = write!(out, "{separator}{name}={value}");
    }
    out.push('\n');
    for name in signed_headers {
        out.push_str(name);
        out.push(':');
        if name == "host" {
            trimmed(&mut out, &request.host);
        } else {
            trimmed(&mut out, &String::from_utf8_lossy(request.headers.bytes(name)?));
        }
        out.push('\n');
    }
    out.push('\n');
    out.push_str(&signed_headers.join(";"));
    out.push('\n');
    out.push_str(payload_hash);
    Some(out)
}

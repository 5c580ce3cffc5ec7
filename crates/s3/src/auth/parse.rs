//! The two places where a signature stands.

use crate::error::{S3Code, S3Error};
use std::collections::BTreeSet;

/// What a client says about its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Access key id.
    pub access_key: String,
    /// Day of the scope, `YYYYMMDD`.
    pub day: String,
    /// Region of the scope.
    pub region: String,
    /// Service of the scope.
    pub service: String,
    /// Headers that are signed, in lower case.
    pub signed_headers: Vec<String>,
    /// The signature, in hexadecimal.
    pub signature: String,
}

/// Characters of a region or a service at most.
const SCOPE_NAME_LEN_MAX: usize = 64;
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature of version 2 is answered where it is not taken.
pub(super) fn refused_version() -> S3Error {
    let message = "The authorization mechanism you have provided is not supported. Please use \
                   AWS4-HMAC-SHA256.";
    S3Error::with(S3Code::InvalidRequest, message)
}

fn scope(credential: &str) -> Option<(String, String, String, String)> {
    // Access keys may hold slashes; the scope is the last four pieces.
    let mut pieces = credential.rsplitn(5, '/');
    let (end, service, region, day) =
        (pieces.next()?, pieces.next()?, pieces.next()?, pieces.next()?);
    let access_key = pieces.next().filter(|key| !key.is_empty())?;
    let is_day = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    if [region, service].iter().any(|name| name.len() > SCOPE_NAME_LEN_MAX) {
        return None;
    }
    if end != "aws4_request" || !is_day {
        return None;
    }
    Some((access_key.to_owned(), day.to_owned(), region.to_owned(), service.to_owned()))
}

fn claim(credential: &str, signed: &str, signature: &str) -> Option<Claim> {
    let (access_key, day, region, service) = scope(credential)?;
    let signed_headers: Vec<String> = signed.split(';').map(str::to_ascii_lowercase).collect();
    if signature.len() != 64 || signed_headers.iter().any(String::is_empty) {
        return None;
    }
    // Named a thousand times, a header would be signed a thousand times. Names usually come in order.
    if !signed_headers.is_sorted_by(|a, b| a < b) {
        let names: BTreeSet<&String> = signed_headers.iter().collect();
        if names.len() != signed_headers.len() {
            return None;
        }
    }
    let signature = signature.to_owned();
    Some(Claim { access_key, day, region, service, signed_headers, signature })
}

/// Reads an `Authorization` header.
///
/// # Errors
///
/// `InvalidRequest` for signature version 2, `NotImplemented` for version 4A, `InvalidArgument` for
/// any other algorithm, `AuthorizationHeaderMalformed` otherwise.
pub fn parse_authorization(text: &str) -> Result<Claim, S3Error> {
    let (algorithm, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
    match algorithm {
        ALGORITHM => {}
        "AWS" => return Err(refused_version()),
        "AWS4-ECDSA-P256-SHA256" => return Err(S3Error::not_implemented(algorithm)),
        other => {
            let message = "Unsupported Authorization Type";
            return Err(S3Error::argument("Authorization", other, message));
        }
    }
    let (mut credential, mut signed, mut signature) = ("", "", "");
    for piece in rest.split(',') {
        match piece.trim().split_once('=') {
            Some(("Credential", value)) => credential = value,
            Some(("SignedHeaders", value)) => signed = value,
            Some(("Signature", value)) => signature = value,
            _ => {}
        }
    }
    claim(credential, signed, signature)
        .ok_or_else(|| S3Error::new(S3Code::AuthorizationHeaderMalformed))
}

/// Reads the parameters of a presigned URL: the claim, the date and the seconds of validity.
///
/// # Errors
///
/// `AuthorizationQueryParametersError`.
pub fn parse_presigned(
    query: &dyn Fn(&str) -> Option<String>,
) -> Result<(Claim, String, u64), S3Error> {
    let bad = |message: &str| S3Error::with(S3Code::AuthorizationQueryParametersError, message);
    let get = |name: &str| {
        query(name).ok_or_else(|| {
            bad("Query-string authentication version 4 requires the X-Amz-Algorithm, \
                 X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and \
                 X-Amz-Expires parameters.")
        })
    };
    let algorithm = get("X-Amz-Algorithm")?;
    if algorithm == "AWS4-ECDSA-P256-SHA256" {
        return Err(S3Error::not_implemented(&algorithm));
    }
    if algorithm != ALGORITHM {
        return Err(bad("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let (credential, signature) = (get("X-Amz-Credential")?, get("X-Amz-Signature")?);
    let (date, signed) = (get("X-Amz-Date")?, get("X-Amz-SignedHeaders")?);
    let expires = get("X-Amz-Expires")?;
    let expires: i64 = expires.parse().map_err(|_| bad("X-Amz-Expires should be a number"))?;
    if expires < 1 {
        return Err(bad("X-Amz-Expires must be positive and not zero"));
    }
    if expires > 604_800 {
        return Err(bad("X-Amz-Expires must be less than a week (in seconds) that is 604800"));
    }
    let claim = claim(&credential, &signed, &signature).ok_or_else(|| {
        bad("Error parsing the X-Amz-Credential, X-Amz-SignedHeaders or X-Amz-Signature parameter.")
    })?;
    Ok((claim, date, expires.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_headers_get_the_code_that_they_must() {
        let sig = "a".repeat(64);
        let scope = "k/20260101/r/s3/aws4_request";
        let good =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={sig}");
        let claim = parse_authorization(&good).expect("well formed");
        assert_eq!((claim.access_key.as_str(), claim.service.as_str()), ("k", "s3"));
        for (text, code) in [
            ("FOO4-HMAC-SHA256 x".to_owned(), S3Code::InvalidArgument),
            ("AWS k:sig".to_owned(), S3Code::InvalidRequest),
            ("AWS4-ECDSA-P256-SHA256 x".to_owned(), S3Code::NotImplemented),
            (String::new(), S3Code::InvalidArgument),
            (good.replace("aws4_request", "aws4"), S3Code::AuthorizationHeaderMalformed),
            (good.replace("20260101", "2026"), S3Code::AuthorizationHeaderMalformed),
            (good.replace(&sig, "short"), S3Code::AuthorizationHeaderMalformed),
            (good.replace("/r/", &format!("/{sig}r/")), S3Code::AuthorizationHeaderMalformed),
            (good.replace("=host", "=a;host;A"), S3Code::AuthorizationHeaderMalformed),
        ] {
            assert_eq!(parse_authorization(&text).expect_err("refused").code, code, "{text}");
        }
    }
}

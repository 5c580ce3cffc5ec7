//! The documents of an OpenID provider: where it is described, its keys, and what it says of a user.
//!
//! # Invariants
//!
//! - A document is bounded before it is read, and what is made of it is a small multiple of that.
//! - What a document says does not come back at length in an error.

use super::TokenError;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

/// Bytes of a document, which may take sixteen times that while it is read.
const DOCUMENT_LEN_MAX: u64 = 64 << 10;
/// The same of the document with the keys.
const KEYS_LEN_MAX: u64 = 256 << 10;
/// Keys that a provider may have, whatever they are for.
const KEY_COUNT_MAX: usize = 256;
/// Characters of the reason why a document cannot be used.
const REASON_LEN_MAX: usize = 200;

/// What is said of a provider at its address.
#[derive(Deserialize)]
pub(super) struct Discovery {
    pub(super) issuer: String,
    pub(super) jwks_uri: String,
    pub(super) userinfo_endpoint: Option<String>,
}

/// Keys that a token may be signed with. Others, and those of kinds that are not known here, are left out
/// (RFC 7517, §5).
#[derive(Default)]
pub(super) struct KeySet(pub(super) Vec<Jwk>);

#[derive(Deserialize)]
struct KeyDocument {
    keys: KeySet,
}

impl<'de> Deserialize<'de> for KeySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(KeyVisitor)
    }
}

/// What counts of a key: everything else is passed over, since `Jwk` holds it all before it looks at it.
#[derive(Deserialize, Serialize)]
struct KeyFields {
    kty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

fn key_of(text: &str) -> Option<Jwk> {
    let fields: KeyFields = serde_json::from_str(text).ok()?;
    serde_json::from_value(serde_json::to_value(fields).ok()?).ok()
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = KeySet;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a list of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<KeySet, A::Error> {
        let (mut keys, mut count) = (Vec::new(), 0);
        while let Some(key) = list.next_element::<&RawValue>()? {
            count += 1;
            if count > KEY_COUNT_MAX {
                return Err(A::Error::custom(format!("there are more than {KEY_COUNT_MAX} keys")));
            }
            let key = key_of(key.get());
            let is_shared = |key: &Jwk| matches!(key.algorithm, AlgorithmParameters::OctetKey(_));
            keys.extend(key.filter(|key| !is_shared(key)));
        }
        Ok(KeySet(keys))
    }
}

/// The keys of a provider.
pub(super) fn keys(url: &str, timeout: Duration) -> Result<KeySet, TokenError> {
    get::<KeyDocument>(url, None, (KEYS_LEN_MAX, timeout)).map(|document| document.keys)
}

/// A document, for which a token may be shown.
pub(super) fn document<T: DeserializeOwned>(
    url: &str,
    bearer: Option<&str>,
    timeout: Duration,
) -> Result<T, TokenError> {
    get(url, bearer, (DOCUMENT_LEN_MAX, timeout))
}

fn unavailable(error: &dyn std::fmt::Display) -> TokenError {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    TokenError::Unavailable(error.to_string().chars().take(REASON_LEN_MAX).map(plain).collect())
}

fn get<T: DeserializeOwned>(
    url: &str,
    bearer: Option<&str>,
    (len_max, timeout): (u64, Duration),
) -> Result<T, TokenError> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .build()
        .new_agent();
    let mut request = agent.get(url);
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut response = request.call().map_err(|error| match error {
        ureq::Error::StatusCode(401 | 403) if bearer.is_some() => {
            TokenError::Invalid("the provider refuses the access token".to_owned())
        }
        error => unavailable(&error),
    })?;
    let text = response.body_mut().with_config().limit(len_max).read_to_string();
    let text = text.map_err(|error| unavailable(&error))?;
    serde_json::from_str(&text).map_err(|error| unavailable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(keys: &Value) -> Result<usize, String> {
        let text = json!({ "keys": keys, "more": [1, 2] }).to_string();
        let read = serde_json::from_str::<KeyDocument>(&text);
        read.map(|document| document.keys.0.len()).map_err(|error| error.to_string())
    }

    /// Goal: keys of kinds that are not known here do not make those beside them useless, and the number
    /// of all has a bound.
    #[test]
    fn keys_that_are_known_are_taken() {
        let rsa = json!({"kty": "RSA", "kid": "a", "alg": "RS256", "n": "AQAB", "e": "AQAB"});
        let shared = json!({"kty": "oct", "k": "AQAB"});
        let new = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB"});
        let curve = json!({"kty": "EC", "crv": "secp256k1", "x": "AQAB", "y": "AQAB"});
        assert_eq!(read(&json!([new, curve, 1, rsa, shared])), Ok(1));
        let many = |count: usize| Value::Array(vec![shared.clone(); count]);
        assert_eq!(read(&many(KEY_COUNT_MAX)), Ok(0));
        assert!(read(&many(KEY_COUNT_MAX + 1)).is_err_and(|error| error.contains("256 keys")));
    }

    /// Goal: a document does not come back in an error, which is logged and answered.
    #[test]
    fn an_error_is_short() {
        let text = format!("\"{}\"", "x\\n".repeat(30_000));
        let error = serde_json::from_str::<KeyDocument>(&text).err().expect("no object");
        let TokenError::Unavailable(reason) = unavailable(&error) else { panic!("another kind") };
        assert!(reason.chars().count() <= REASON_LEN_MAX && !reason.contains('\n'), "{reason}");
    }
}

//! Session tokens: JSON web tokens (RFC 7519) signed with HMAC-SHA-256, of our own making only.

use crate::outside::{OutsideName, provider_name};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::io::Read as _;
use subtle::ConstantTimeEq;

/// Longest token that is looked at, in bytes.
pub(crate) const TOKEN_LEN_MAX: usize = 16 << 10;

/// Claims that are longer are compressed: the groups that another directory knows someone in may be many,
/// and have most of their names in common.
const PLAIN_LEN_MAX: usize = 2 << 10;
/// Longest claims, in bytes.
const CLAIMS_LEN_MAX: u64 = 1 << 20;
/// How they are compressed (RFC 7516, section 4.1.3: DEFLATE, RFC 1951).
const DEFLATE: &str = "DEF";

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zip: Option<String>,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Subject {
    /// The owner of an account, by the credentials that the session was made with: their access key, and
    /// what [`origin_of`] says of them. Tokens of before have neither, and are of no use any more.
    Root {
        account: String,
        #[serde(default)]
        key: String,
        #[serde(default)]
        origin: String,
    },
    /// A user.
    User { account: String, name: String, id: String },
    /// The one who took on a role.
    Role { account: String, name: String, id: String, session: String },
    /// Someone whom another directory knows, with the policies that it names.
    External { account: String, name: String, policies: Vec<String> },
}

impl Subject {
    /// Account id.
    pub(crate) fn account(&self) -> &str {
        match self {
            Self::Root { account, .. } | Self::User { account, .. } => account,
            Self::Role { account, .. } | Self::External { account, .. } => account,
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Access key of the session.
    #[serde(rename = "accessKey")]
    pub(crate) access_key: String,
    pub(crate) subject: Subject,
    /// In seconds since 1970.
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    /// When it was made in milliseconds; 0 in tokens of before, which have whole seconds only.
    #[serde(default)]
    pub(crate) iat_ms: u64,
    /// Narrows the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// Managed policies that narrow the session too, as `session_policy` pins them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pinned: Vec<String>,
    /// The name by which another directory knows the one who took on a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vouched: Option<String>,
    /// The provider of this name, or of that of the subject; tokens of before say it in their facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    /// Condition keys that the session brings with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) facts: BTreeMap<String, Vec<String>>,
}

fn mac(secret: &[u8], text: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any key length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::new();
    let mut encoder = flate2::read::DeflateEncoder::new(bytes, flate2::Compression::best());
    encoder.read_to_end(&mut deflated).expect("bytes in memory can be read");
    deflated
}

/// `None` if it is not deflated, or longer than claims may be.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut inflated = Vec::new();
    let decoder = flate2::read::DeflateDecoder::new(bytes);
    decoder.take(CLAIMS_LEN_MAX + 1).read_to_end(&mut inflated).ok()?;
    (inflated.len() as u64 <= CLAIMS_LEN_MAX).then_some(inflated)
}

/// Makes a token.
pub(crate) fn issue(key_id: &str, secret: &[u8], claims: &Claims) -> String {
    let claims = serde_json::to_vec(claims).expect("claims become JSON");
    let (claims, zip) = match claims.len() > PLAIN_LEN_MAX {
        true => (deflate(&claims), Some(DEFLATE.to_owned())),
        false => (claims, None),
    };
    let (alg, typ) = ("HS256".to_owned(), "JWT".to_owned());
    let header = Header { alg, typ, kid: key_id.to_owned(), zip };
    let encode = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    let header = encode(serde_json::to_vec(&header).expect("texts become JSON"));
    let claims = encode(claims);
    let text = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(mac(secret, &text));
    format!("{text}.{signature}")
}

fn header_of(token: &str) -> Option<Header> {
    if token.len() > TOKEN_LEN_MAX {
        return None;
    }
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let header: Header = serde_json::from_slice(&header).ok()?;
    (header.alg == "HS256").then_some(header)
}

/// Id of the key that a token says it is signed with.
pub(crate) fn key_id_of(token: &str) -> Option<String> {
    header_of(token).map(|header| header.kid)
}

/// What a token says, if it is signed with `secret`.
pub(crate) fn verify(secret: &[u8], token: &str) -> Option<Claims> {
    let (text, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !bool::from(mac(secret, text)[..].ct_eq(&signature)) {
        return None;
    }
    let (_, claims) = text.split_once('.')?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims = match header_of(token)?.zip.as_deref() {
        None => claims,
        Some(DEFLATE) => inflate(&claims)?,
        Some(_) => return None,
    };
    serde_json::from_slice(&claims).ok()
}

/// Ties a session to the credentials that it was made with: other ones of the same name give another
/// text. Anyone who reads the token learns nothing about them.
pub(crate) fn origin_of(secret: &[u8], access_key: &str, secret_key: &str) -> String {
    let bytes = mac(secret, &format!("session origin {access_key}\n{secret_key}"));
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Claims {
    /// Who another directory vouched for.
    pub(crate) fn outside(&self) -> Option<OutsideName> {
        let name = match &self.subject {
            Subject::External { name, .. } => name,
            _ => self.vouched.as_ref()?,
        };
        let issuer = || self.facts.get("jwt:iss")?.first();
        let provider = self.provider.clone();
        let provider = provider.or_else(|| issuer().map(|issuer| provider_name(issuer, "")));
        Some(OutsideName { provider, name: name.clone() })
    }

    /// When the session was made, in milliseconds since 1970.
    pub(crate) fn made_ms(&self) -> u64 {
        self.iat_ms.max(self.iat * 1000)
    }
}

/// The secret key of a session, which is not stored anywhere.
pub(crate) fn secret_of(secret: &[u8], access_key: &str) -> String {
    let bytes = mac(secret, &format!("session secret {access_key}"));
    URL_SAFE_NO_PAD.encode(bytes)[..40].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            access_key: "ASIA".to_owned(),
            subject: Subject::Root {
                account: "0".to_owned(),
                key: "k".to_owned(),
                origin: String::new(),
            },
            iat: 1,
            exp: 2,
            iat_ms: 1500,
            policy: None,
            pinned: Vec::new(),
            vouched: None,
            provider: None,
            facts: BTreeMap::new(),
        }
    }

    /// Goal: sessions of before name their provider too. Method: tokens as earlier versions wrote them, whose
    /// facts have the issuer, and one of LDAP.
    #[test]
    fn tokens_of_before_say_their_provider_in_their_facts() {
        let external = |facts: &str| {
            let text = format!(
                r#"{{"accessKey":"A","subject":{{"kind":"external","account":"0","name":"ana","policies":[]}},
                "iat":1,"exp":2,"facts":{{{facts}}}}}"#
            );
            serde_json::from_str::<Claims>(&text).expect("claims").outside().expect("a name").full()
        };
        assert_eq!(external(r#""jwt:iss":["https://h/realm"],"jwt:sub":["ana"]"#), "h/realm/ana");
        assert_eq!(external(r#""ldap:user":["ana"]"#), "ana");
        assert_eq!(claims().outside(), None);
    }

    /// Goal: claims of any length come back; many groups fit into a token, and no token stands for more
    /// memory than claims may have. Method: thousands of names that differ in a few letters, then claims that
    /// are too long, signed with the right key.
    #[test]
    fn long_claims_are_compressed() {
        let with = |count: usize| {
            let group = |n| format!("cn=team-{n:05},ou=groups,ou=munich,dc=example,dc=org");
            let groups = (0..count).map(group).collect();
            Claims { facts: BTreeMap::from([("ldap:groups".to_owned(), groups)]), ..claims() }
        };
        for count in [0, 1, 30, 40, 50, 1015, 2000] {
            let token = issue("k", b"secret", &with(count));
            assert!(token.len() <= TOKEN_LEN_MAX, "{count}: {}", token.len());
            assert_eq!(key_id_of(&token).as_deref(), Some("k"));
            assert_eq!(verify(b"secret", &token), Some(with(count)), "{count}");
        }
        let text = "g".repeat(CLAIMS_LEN_MAX as usize);
        let long = Claims { policy: Some(text), ..claims() };
        let token = issue("k", b"secret", &long);
        assert!(token.len() <= TOKEN_LEN_MAX, "it is small when it is compressed");
        assert_eq!(verify(b"secret", &token), None);
    }

    /// Goal: only what was signed verifies. Method: a token, then every byte of it changed, another
    /// secret, another algorithm, and texts that are no tokens.
    #[test]
    fn a_changed_token_does_not_verify() {
        let token = issue("k", b"secret", &claims());
        assert_eq!(key_id_of(&token).as_deref(), Some("k"));
        assert_eq!(verify(b"secret", &token), Some(claims()));
        assert_eq!(verify(b"other", &token), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(verify(b"secret", &changed), None, "{at}");
        }
        let none = URL_SAFE_NO_PAD.encode(br#"{"alg":"none","typ":"JWT","kid":"k"}"#);
        assert_eq!(key_id_of(&format!("{none}.e30.")), None);
        for text in ["", ".", "..", "a.b.c", "é.é.é"] {
            assert!(key_id_of(text).is_none() && verify(b"secret", text).is_none());
        }
    }
}

//! OpenID Connect: whether a token is one that a configured provider signed for us.
//!
//! Sources: OpenID Connect Discovery 1.0; OpenID Connect Core 1.0, §3.1.3.7; RFC 7517, RFC 7518.

mod claims;
mod documents;

use super::Source;
use super::gate::Gate;
pub(crate) use claims::{Claim, Claims};
use documents::{Discovery, KeySet};
use drystone_base::hex;
use drystone_base::sync::{Mutex, lock};
use drystone_identity::{PROVIDER_LEN_MAX, openid_provider_of_url, openid_role_arn, provider_name};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use ring::digest;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A provider, as settings give it.
#[derive(Clone, Debug, Default)]
pub struct OpenIdConfig {
    /// Where its discovery document is.
    pub config_url: String,
    /// What it must call itself; empty for anything, which only a single provider may have.
    pub issuer: String,
    /// Whom its tokens must be for.
    pub client_id: String,
    /// Claim that names policies; `policy` if empty.
    pub claim_name: String,
    /// Put before the claim's name.
    pub claim_prefix: String,
    /// Policies of everybody who comes from this provider, separated by commas; the claim does not
    /// count then.
    pub role_policy: String,
    /// Claim that names the user; `sub` if empty.
    pub user_id_claim: String,
    /// Claims are asked for at the provider too, with the caller's access token.
    pub claim_userinfo: bool,
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not signed by the provider, not for us, or malformed.
    #[error("{0}")]
    Invalid(String),
    /// The provider does not answer.
    #[error("the identity provider does not answer: {0}")]
    Unavailable(String),
}

/// What a token says.
pub(crate) struct Vouched {
    /// The provider: its issuer without scheme.
    pub(crate) provider: String,
    pub(crate) claims: Claims,
    /// Whom the token is for: one of those that were asked for.
    pub(crate) audience: String,
    /// In seconds since 1970.
    pub(crate) expires_s: u64,
}

/// What a token says of its origin, which nothing vouches for yet.
#[derive(Deserialize)]
struct Claimed {
    #[serde(default)]
    iss: Claim,
}

struct Keys {
    issuer: String,
    userinfo_endpoint: Option<String>,
    set: KeySet,
    fetched: Instant,
}

/// A provider and its keys.
pub struct OpenId {
    pub(crate) config: OpenIdConfig,
    known: Arc<Mutex<Known>>,
    /// One at a time asks for keys; anyone who needs only a known key does not wait for it.
    keys_gate: Gate,
    /// The same for what the provider says of a user.
    users_gate: Gate,
}

/// What is known of a provider's keys.
#[derive(Default)]
struct Known {
    keys: Option<Keys>,
    /// When the provider did not answer last, and why: it is not asked again at once.
    failed: Option<(Instant, TokenError)>,
}

/// Difference of clocks that does not matter, in seconds.
const LEEWAY_S: u64 = 60;
/// Keys are asked for again after this time, or for a key that is not among them, but not more often
/// than the second one.
const KEYS_AGE_MAX: Duration = Duration::from_secs(3600);
const REFRESH_PAUSE: Duration = Duration::from_secs(5);
/// How long a provider may take for its keys, or for what it says of a user.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Users that one provider is asked about at once.
const USERS_ASKED_MAX: usize = 8;
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Where a provider has its discovery document, below its issuer (OpenID Connect Discovery 1.0, §4).
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

impl OpenIdConfig {
    /// An issuer whose discovery document is at the place that the standard gives it.
    #[must_use]
    pub fn of_issuer(issuer: &str) -> Self {
        let issuer = bare(issuer);
        let config_url = format!("{issuer}{DISCOVERY_PATH}");
        Self { config_url, issuer: issuer.to_owned(), ..Self::default() }
    }

    /// The issuer that a discovery document at its place must name (OpenID Connect Discovery 1.0, §4.3).
    #[must_use]
    pub fn issuer_of_place(&self) -> Option<&str> {
        self.config_url.strip_suffix(DISCOVERY_PATH)
    }

    /// Whether a token that names an issuer can be of this provider. Where there are several, each has
    /// its issuer, and no one else's tokens make it be asked.
    fn may_issue(&self, issuer: &str) -> bool {
        self.issuer.is_empty() || bare(&self.issuer) == bare(issuer)
    }
}

/// An issuer without a slash at its end, which some leave out at one place and not at another.
fn bare(issuer: &str) -> &str {
    issuer.trim_end_matches('/')
}

/// The issuer that a token names; empty if it names none. Nothing vouches for it.
pub(crate) fn claimed_issuer(token: &str) -> Result<String, TokenError> {
    let malformed = |_| TokenError::Invalid("the token is malformed".to_owned());
    let mut validation = Validation::default();
    validation.insecure_disable_signature_validation();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    validation.required_spec_claims.clear();
    let claimed = decode::<Claimed>(token, &DecodingKey::from_secret(&[]), &validation);
    let claimed = claimed.map_err(malformed)?.claims;
    Ok(claimed.iss.as_str().unwrap_or_default().to_owned())
}

/// Refuses a provider that says it is another one: its users would be those of the other.
fn check_issuer(issuer: &str, wanted: &str) -> Result<(), TokenError> {
    if issuer.is_empty() || issuer.len() > PROVIDER_LEN_MAX {
        return Err(TokenError::Unavailable("its issuer has no usable name".to_owned()));
    }
    if wanted.is_empty() || bare(issuer) == bare(wanted) {
        return Ok(());
    }
    let message = format!(
        "it calls itself {issuer}, not {wanted}; if that is right, set IDENTITY_OPENID_ISSUER"
    );
    Err(TokenError::Unavailable(message))
}

fn fetch(config_url: &str, wanted: &str) -> Result<Keys, TokenError> {
    let begun = Instant::now();
    let found: Discovery = documents::document(config_url, None, TIMEOUT)?;
    let Discovery { issuer, jwks_uri, userinfo_endpoint } = found;
    check_issuer(&issuer, wanted)?;
    let left = TIMEOUT.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
    let set = documents::keys(&jwks_uri, left)?;
    Ok(Keys { issuer, userinfo_endpoint, set, fetched: Instant::now() })
}

/// Waits for a turn to ask, and asks on a thread that may block. What is asked for is asked to the end, also
/// when the request is gone.
async fn ask<T: Send + 'static>(
    (gate, source): (&Gate, Source),
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TokenError> {
    let busy = || TokenError::Unavailable("too many requests wait for it".to_owned());
    let passage = gate.pass(source).await.ok_or_else(busy)?;
    let asked = tokio::task::spawn_blocking(move || {
        let answer = work();
        drop(passage);
        answer
    });
    asked.await.map_err(|_| TokenError::Unavailable("asking it failed".to_owned()))
}

/// Whether a key may be used for an algorithm: the token does not choose how it is looked at.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    use Algorithm as A;
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => !matches!(algorithm, A::ES256 | A::ES384 | A::EdDSA),
        AlgorithmParameters::EllipticCurve(_) => matches!(algorithm, A::ES256 | A::ES384),
        AlgorithmParameters::OctetKeyPair(_) => algorithm == A::EdDSA,
        AlgorithmParameters::OctetKey(_) => false,
    }
}

impl Known {
    /// Issuer and key, as far as they are known: `None` if the provider should be asked.
    fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<(String, Jwk)>, TokenError> {
        if let Some(keys) = &self.keys
            && keys.fetched.elapsed() < KEYS_AGE_MAX
        {
            let found = keys.set.0.iter().find(|key| {
                fits(key, algorithm) && (id.is_none() || key.common.key_id.as_deref() == id)
            });
            if let Some(key) = found {
                return Ok(Some((keys.issuer.clone(), key.clone())));
            }
            // Tokens with made-up key ids must not make us ask the provider each time.
            if keys.fetched.elapsed() < REFRESH_PAUSE {
                return Err(TokenError::Invalid("the token's key is not known".to_owned()));
            }
        }
        match &self.failed {
            Some((when, error)) if when.elapsed() < REFRESH_PAUSE => Err(error.clone()),
            _ => Ok(None),
        }
    }
}

impl OpenId {
    /// A provider. Nothing is fetched before the first token.
    #[must_use]
    pub fn new(config: OpenIdConfig) -> Self {
        let (keys_gate, users_gate) = (Gate::new(1), Gate::new(USERS_ASKED_MAX));
        Self { config, known: Arc::default(), keys_gate, users_gate }
    }

    /// Whether a token that names an issuer can be one of its tokens: if not, it is not asked.
    pub(crate) fn may_issue(&self, issuer: &str) -> bool {
        self.config.may_issue(issuer)
    }

    /// Whether it is the issuer of an OpenID provider of an account. One that may call itself anything is
    /// not.
    pub(crate) fn is_issuer(&self, name: &str) -> bool {
        openid_provider_of_url(&self.config.issuer).as_deref() == Some(name)
    }

    /// Whether its users are those of another configuration too.
    pub(crate) fn names_the_same(&self, other: &Self) -> bool {
        let claim = |config: &OpenIdConfig| provider_name("", &config.user_id_claim);
        self.config.config_url == other.config.config_url
            && claim(&self.config) == claim(&other.config)
    }

    /// Resource name of the role that everybody from this provider has, if it has `role_policy`.
    pub(crate) fn role_arn(&self) -> String {
        let text = format!("{} {}", self.config.config_url, self.config.client_id);
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        openid_role_arn(&hex(hash.as_ref())[..27])
    }

    fn known_key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<(String, Jwk)>, TokenError> {
        lock(&self.known).key(id, algorithm)
    }

    /// Issuer and key; fetched if they are old or the key is not known.
    async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        source: Source,
    ) -> Result<(String, Jwk), TokenError> {
        if let Some(found) = self.known_key(id, algorithm)? {
            return Ok(found);
        }
        let (known, config, wanted) =
            (self.known.clone(), self.config.clone(), id.map(str::to_owned));
        ask((&self.keys_gate, source), move || {
            // Another request may have asked meanwhile.
            if !matches!(lock(&known).key(wanted.as_deref(), algorithm), Ok(None)) {
                return;
            }
            let fetched = fetch(&config.config_url, &config.issuer);
            let mut known = lock(&known);
            known.failed = fetched.as_ref().err().map(|error| (Instant::now(), error.clone()));
            if let Ok(keys) = fetched {
                known.keys = Some(keys);
            }
        })
        .await?;
        let unknown = || TokenError::Invalid("the token's key is not known".to_owned());
        self.known_key(id, algorithm)?.ok_or_else(unknown)
    }

    /// Adds what the provider says about the user to what the token says, which counts where both say
    /// something.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub(crate) async fn add_userinfo(
        &self,
        vouched: &mut Vouched,
        access_token: &str,
        source: Source,
    ) -> Result<(), TokenError> {
        let endpoint = {
            let known = lock(&self.known);
            known.keys.as_ref().and_then(|keys| keys.userinfo_endpoint.clone())
        };
        let none = || TokenError::Unavailable("the provider has no user info endpoint".to_owned());
        let (endpoint, token) = (endpoint.ok_or_else(none)?, access_token.to_owned());
        let asked = ask((&self.users_gate, source), move || {
            documents::document(&endpoint, Some(&token), TIMEOUT)
        })
        .await?;
        let info: Claims = asked?;
        // OpenID Connect Core 1.0, §5.3.2: an answer about someone else must not be used.
        if !info.contains_key("sub") || info.get("sub") != vouched.claims.get("sub") {
            let message = "the access token is of another user than the token";
            return Err(TokenError::Invalid(message.to_owned()));
        }
        for (name, value) in info {
            vouched.claims.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// Checks a token, which must be for one of `clients`. Waits while keys are fetched.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub(crate) async fn verify(
        &self,
        token: &str,
        now_s: u64,
        source: Source,
        clients: &[&str],
    ) -> Result<Vouched, TokenError> {
        let invalid = |what: &str| TokenError::Invalid(what.to_owned());
        let header = decode_header(token).map_err(|_| invalid("the token is malformed"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(invalid("the token's algorithm is not allowed"));
        }
        let (issuer, key) = self.key(header.kid.as_deref(), header.alg, source).await?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| invalid("the key is malformed"))?;
        let mut validation = Validation::new(header.alg);
        // Times and audience are looked at below: the clock is ours, and `azp` counts too.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = decode::<Claims>(token, &key, &validation)
            .map_err(|_| invalid("the token's signature is not right"))?
            .claims;
        let expires_s = check_times(&claims, now_s)?;
        if claims.get("iss").and_then(Claim::as_str) != Some(&issuer) {
            return Err(invalid("the token is of another issuer"));
        }
        let named: Vec<String> = ["aud", "azp"]
            .iter()
            .filter_map(|name| claims.get(*name))
            .flat_map(Claim::texts)
            .collect();
        let ours = clients.iter().find(|client| named.iter().any(|named| named == *client));
        let audience = ours.ok_or_else(|| invalid("the token is for somebody else"))?.to_string();
        let provider = issuer.split_once("://").map_or(&*issuer, |(_, rest)| rest).to_owned();
        Ok(Vouched { provider, claims, audience, expires_s })
    }
}

/// Checks when a token is valid; returns its end, in seconds since 1970. The provider wrote the numbers,
/// which may be any.
fn check_times(claims: &Claims, now_s: u64) -> Result<u64, TokenError> {
    let invalid = |what: &str| Err(TokenError::Invalid(what.to_owned()));
    // Saturates, and is 0 for negative numbers.
    let number = |name: &str| claims.get(name).and_then(Claim::as_f64).map(|n| n as u64);
    let Some(expires_s) = number("exp") else { return invalid("the token does not expire") };
    if expires_s.saturating_add(LEEWAY_S) <= now_s {
        return Err(TokenError::Expired);
    }
    // A start that is no number must not count as none.
    match claims.get("nbf").map(|start| start.as_f64().map(|n| n as u64)) {
        None | Some(Some(0)) => Ok(expires_s),
        Some(Some(start)) if start <= now_s.saturating_add(LEEWAY_S) => Ok(expires_s),
        Some(_) => invalid("the token is not valid yet"),
    }
}

impl Vouched {
    /// Policies that the claims name.
    pub(crate) fn policies(&self, config: &OpenIdConfig) -> Vec<String> {
        if !config.role_policy.is_empty() {
            return split(&config.role_policy);
        }
        let name = if config.claim_name.is_empty() { "policy" } else { &config.claim_name };
        let claim = self.claims.get(&format!("{}{name}", config.claim_prefix));
        claim.map(Claim::texts).unwrap_or_default().iter().flat_map(|text| split(text)).collect()
    }

    /// The provider as names of its users have it.
    pub(crate) fn provider_name(&self, config: &OpenIdConfig) -> String {
        let issuer = self.claims.get("iss").and_then(Claim::as_str).unwrap_or_default();
        provider_name(issuer, &config.user_id_claim)
    }

    /// Who it is.
    pub(crate) fn subject(&self, config: &OpenIdConfig) -> Option<String> {
        let name = if config.user_id_claim.is_empty() { "sub" } else { &config.user_id_claim };
        self.claims.get(name).and_then(Claim::as_str).map(str::to_owned)
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"alg":"RS256"}`.
    const HEADER: &str = "eyJhbGciOiJSUzI1NiJ9";

    /// Base64 for URLs, without padding.
    fn encode(text: &str) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let digits = |chunk: &[u8]| {
            let byte = |at: usize| u32::from(*chunk.get(at).unwrap_or(&0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            (0..=chunk.len()).map(digit).collect::<String>()
        };
        text.as_bytes().chunks(3).map(digits).collect()
    }

    #[track_caller]
    fn check(claims: serde_json::Value, now_s: u64, want: &str) {
        let claims: Claims = serde_json::from_value(claims).expect("claims");
        let found = match check_times(&claims, now_s) {
            Ok(end) => format!("until {end}"),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(want), "{found}");
    }

    /// Goal: of several providers none passes for another, whatever its discovery document says.
    #[test]
    fn a_provider_is_the_one_that_it_must_be() {
        let wanted = "https://a.example/realm";
        for issuer in [wanted, "https://a.example/realm/"] {
            assert!(check_issuer(issuer, wanted).is_ok() && check_issuer(issuer, "").is_ok());
        }
        for issuer in ["", "https://b.example", "https://a.example", &"x".repeat(513)] {
            assert!(check_issuer(issuer, wanted).is_err(), "{issuer}");
        }
        let config_url = format!("{wanted}/.well-known/openid-configuration");
        let config = OpenIdConfig { config_url, ..OpenIdConfig::default() };
        assert_eq!(config.issuer_of_place(), Some(wanted));
    }

    /// Goal: a provider is asked about tokens that name it, and about any only if it is the only one.
    #[test]
    fn a_token_says_whose_it_is() {
        let token = |claims: &str| format!("{HEADER}.{}.c2ln", encode(claims));
        for (claims, want) in [
            (r#"{"iss":"https://a.example/"}"#, Ok("https://a.example/")),
            (r#"{"sub":"ana","exp":1}"#, Ok("")),
            (r#"{"iss":["https://a.example"]}"#, Ok("")),
            ("[]", Err(())),
            ("no", Err(())),
        ] {
            let found = claimed_issuer(&token(claims));
            assert_eq!(found.as_deref().map_err(|_| ()), want, "{claims}");
        }
        for token in ["", "a.b", "a.b.c", HEADER] {
            assert!(claimed_issuer(token).is_err(), "{token}");
        }
        let of = |issuer: &str| OpenIdConfig { issuer: issuer.to_owned(), ..Default::default() };
        let known = of("https://a.example");
        assert!(known.may_issue("https://a.example/") && known.may_issue("https://a.example"));
        assert!(!known.may_issue("https://b.example") && !known.may_issue(""));
        assert!(of("").may_issue("") && of("").may_issue("https://b.example"));
    }

    /// Goal: no number of a token overflows, and none makes it valid at another time.
    #[test]
    fn times_of_tokens_may_be_any_number() {
        use serde_json::json;
        let (now, max) = (1_800_000_000, u64::MAX);
        let until_max = format!("until {max}");
        check(json!({"exp": 1e30}), now, &until_max);
        check(json!({"exp": max}), now, &until_max);
        check(json!({"exp": max - 59}), now, "until");
        check(json!({"exp": 1e30, "nbf": 1e30}), now, "not valid yet");
        check(json!({"exp": 1e30, "nbf": max}), max - 1, "until");
        check(json!({"exp": 1e30, "nbf": -1e30}), 0, "until");
        check(json!({"exp": now + 5, "nbf": now + LEEWAY_S}), now, "until 1800000005");
        check(json!({"exp": now + 5, "nbf": now + LEEWAY_S + 1}), now, "not valid yet");
        check(json!({"exp": now + 5, "nbf": "tomorrow"}), now, "not valid yet");
        check(json!({"exp": -1e30}), now, "expired");
        check(json!({"exp": now - LEEWAY_S}), now, "expired");
        for none in [json!({}), json!({"exp": null}), json!({"exp": "1e30"})] {
            check(none, now, "does not expire");
        }
    }
}

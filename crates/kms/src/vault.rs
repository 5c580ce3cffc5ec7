//! Keys that HashiCorp Vault, or OpenBao, keeps in a transit engine (API reference, "Transit secrets
//! engine": `POST /v1/MOUNT/encrypt/NAME` and its kin, with `associated_data`).
//!
//! # Invariants
//!
//! - A Vault that is silent or slow holds [`KEY_REQUESTS_MAX`] threads at most, each for as long as a request
//!   may take. A request that waits ends with its client, and callers take turns.
//! - What it answers is bounded before it is held, and of that only what is asked for is kept: a sealed key,
//!   a key of [`KEY_LEN`] bytes, some words of a refusal.
//! - While Vault is known to be silent (see [`Circuit`]), requests that need it are refused at once.

use crate::circuit::Circuit;
use crate::error::KmsError;
use crate::key::KeyRow;
use crate::provider::{Answer, InLine, Provider};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_base::{AnyTurn, KEY_REQUESTS_MAX};
use drystone_keyring::Secret;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Bytes of an answer at most: one about a key that was rotated names each of its versions in some 20 bytes.
const ANSWER_LEN_MAX: u64 = 16 << 10;
const KEY_ANSWER_LEN_MAX: u64 = 256 << 10;
/// Bytes of a sealed key, which is stored with each object: Vault makes some 90 of it.
const SEALED_LEN_MAX: usize = 1 << 10;
/// Bytes of a key, and of its base64.
const KEY_LEN: usize = 32;
const KEY_TEXT_LEN: usize = KEY_LEN.div_ceil(3) * 4;
/// Characters of the reason why Vault does not serve a key.
const REASON_LEN_MAX: usize = 200;
/// Time that a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a request may wait for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);
const SILENT: &str = "Vault does not answer, and is asked again in some seconds";
const BUSY: &str = "too many requests wait for Vault, which answers slowly";

/// Where Vault is. Has no `Debug`: it has a secret.
#[derive(Clone)]
pub struct VaultConfig {
    /// Such as `https://vault.example:8200`.
    pub url: String,
    /// What it is asked with.
    pub token: Secret,
    /// Path of the transit engine; usually `transit`.
    pub mount: String,
    /// Namespace (Vault Enterprise); empty for none.
    pub namespace: String,
}

/// Keys in Vault.
pub(crate) struct Vault {
    config: Option<Arc<VaultConfig>>,
    circuit: Arc<Circuit>,
    asking: Arc<Semaphore>,
}

/// Why Vault gave no answer that can be used.
struct Refusal {
    message: String,
    /// It did not answer in time.
    is_silent: bool,
}

/// What is read of an answer; everything else in it is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    data: Option<Data>,
    errors: Option<Errors>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    ciphertext: Option<String>,
    plaintext: Option<String>,
}

/// The first words of what Vault says of a refusal.
struct Errors(String);

impl<'de> Deserialize<'de> for Errors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ErrorsVisitor)
    }
}

struct ErrorsVisitor;

impl<'de> Visitor<'de> for ErrorsVisitor {
    type Value = Errors;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a list of errors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Errors, A::Error> {
        let mut text = String::new();
        while text.len() < REASON_LEN_MAX
            && let Some(error) = list.next_element::<String>()?
        {
            text.push_str(if text.is_empty() { "" } else { "; " });
            text.push_str(&error);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Errors(text))
    }
}

/// The first words of a reason, on one line.
fn short(reason: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    reason.chars().take(REASON_LEN_MAX).map(plain).collect()
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self { message: short(&message), is_silent: false }
    }
}

impl From<ureq::Error> for Refusal {
    fn from(error: ureq::Error) -> Self {
        let is_silent = matches!(error, ureq::Error::Timeout(_));
        Self { message: short(&error.to_string()), is_silent }
    }
}

impl Vault {
    pub(crate) fn new(config: Option<VaultConfig>) -> Self {
        let (circuit, asking) = (Arc::default(), Semaphore::new(KEY_REQUESTS_MAX));
        Self { config: config.map(Arc::new), circuit, asking: Arc::new(asking) }
    }

    /// Whether Vault answers; `None` if none is set. Blocks for two seconds at most.
    pub(crate) fn answers(&self) -> Option<bool> {
        let config = self.config.as_ref()?;
        Some(!self.circuit.refuses(Instant::now()) && crate::probe::answers(config))
    }

    pub(crate) fn is_there(&self) -> bool {
        self.config.is_some()
    }

    /// Waits for the turn of a caller, then for a free thread. `None` if that takes too long.
    async fn turn(&self, line: InLine<'_>) -> Option<AnyTurn> {
        let turn = async {
            let turn = match line {
                Some(line) => Some(line.turn().await),
                None => None,
            };
            let asking = self.asking.clone().acquire_owned().await.ok();
            Box::new((asking, turn)) as AnyTurn
        };
        tokio::time::timeout(WAIT_MAX, turn).await.ok()
    }

    async fn ask(
        &self,
        (path, len_max): (String, u64),
        id: &str,
        body: Value,
        line: InLine<'_>,
    ) -> Result<Data, KmsError> {
        let failed = |message: String| KmsError::Provider { key: id.to_owned(), message };
        let Some(config) = self.config.clone() else {
            return Err(failed("no Vault is set (--vault-url)".to_owned()));
        };
        if self.circuit.refuses(Instant::now()) {
            return Err(failed(SILENT.to_owned()));
        }
        let turn = self.turn(line).await.ok_or_else(|| failed(BUSY.to_owned()))?;
        let circuit = self.circuit.clone();
        let asked = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the thread, whether or not the client is still there.
            let _turn = turn;
            let asking = circuit.enter(Instant::now()).ok_or_else(|| SILENT.to_owned())?;
            let answer = post(&config, (&path, len_max), &body);
            let is_silent = matches!(&answer, Err(refusal) if refusal.is_silent);
            asking.end(!is_silent, Instant::now());
            answer.map_err(|refusal| refusal.message)
        });
        asked.await.expect("asking does not panic").map_err(failed)
    }
}

/// What an answer must have, if it is no longer than it may be.
fn needed(
    id: &str,
    (what, text): (&str, Option<String>),
    len_max: usize,
) -> Result<String, KmsError> {
    let refused = |message| KmsError::Provider { key: id.to_owned(), message };
    let text = text.ok_or_else(|| refused(format!("its answer has no {what}")))?;
    match text.len() <= len_max {
        true => Ok(text),
        false => Err(refused(format!("the {what} of its answer is longer than {len_max} bytes"))),
    }
}

fn post(config: &VaultConfig, (path, len_max): (&str, u64), body: &Value) -> Result<Data, Refusal> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .new_agent();
    let url = format!("{}/v1/{}/{path}", config.url.trim_end_matches('/'), config.mount);
    let mut request = agent.post(&url).header("x-vault-token", config.token.reveal());
    if !config.namespace.is_empty() {
        request = request.header("x-vault-namespace", &config.namespace);
    }
    let mut response = request.content_type("application/json").send(body.to_string())?;
    let status = response.status().as_u16();
    let is_success = (200..300).contains(&status);
    let len_max = if is_success { len_max } else { ANSWER_LEN_MAX };
    let text = response.body_mut().with_config().limit(len_max).read_to_string()?;
    let said: Result<Said, _> = match text.is_empty() {
        true => Ok(Said::default()),
        false => serde_json::from_str(&text).map_err(|error| error.to_string()),
    };
    if is_success {
        return Ok(said?.data.unwrap_or_default());
    }
    let reason = said.ok().and_then(|said| said.errors).map(|errors| errors.0).unwrap_or_default();
    Err(format!("status {status}: {reason}").into())
}

impl Provider for Vault {
    fn renew<'a>(&'a self, id: &'a str, line: InLine<'a>) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            // Making a key that is there changes nothing; a rotation needs one.
            let body = json!({ "type": "aes256-gcm96", "exportable": false });
            self.ask((format!("keys/{id}"), KEY_ANSWER_LEN_MAX), id, body, line).await?;
            let path = format!("keys/{id}/rotate");
            self.ask((path, KEY_ANSWER_LEN_MAX), id, json!({}), line).await?;
            Ok(None)
        })
    }

    fn seal<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        plain: &'a [u8],
        line: InLine<'a>,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let body = json!({
                "plaintext": STANDARD.encode(plain), "associated_data": STANDARD.encode(context),
            });
            let path = (format!("encrypt/{}", key.id), ANSWER_LEN_MAX);
            let data = self.ask(path, &key.id, body, line).await?;
            // Before anything is stored.
            let sealed = needed(&key.id, ("ciphertext", data.ciphertext), SEALED_LEN_MAX)?;
            Ok(sealed.into_bytes())
        })
    }

    fn open<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        sealed: &'a [u8],
        line: InLine<'a>,
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let damaged = || KmsError::Damaged(key.id.clone());
            let text = std::str::from_utf8(sealed).map_err(|_| damaged())?;
            let body = json!({
                "ciphertext": text, "associated_data": STANDARD.encode(context),
            });
            let path = (format!("decrypt/{}", key.id), ANSWER_LEN_MAX);
            let data = self.ask(path, &key.id, body, line).await?;
            let plain = needed(&key.id, ("plaintext", data.plaintext), KEY_TEXT_LEN)?;
            let plain = STANDARD.decode(plain).map_err(|_| damaged())?;
            if plain.len() == KEY_LEN { Ok(plain) } else { Err(damaged()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<(Option<&str>, &str)>) {
        let said = serde_json::from_str::<Said>(text).ok().map(|said| {
            let ciphertext = said.data.unwrap_or_default().ciphertext;
            (ciphertext, short(&said.errors.map(|errors| errors.0).unwrap_or_default()))
        });
        let want = want.map(|(sealed, errors)| (sealed.map(str::to_owned), errors.to_owned()));
        assert_eq!(said, want, "{text}");
    }

    #[test]
    fn of_an_answer_only_what_is_asked_for_is_kept() {
        let sealed =
            r#"{"request_id":"1","data":{"ciphertext":"vault:v1:a","key_version":1},"auth":null}"#;
        check(sealed, Some((Some("vault:v1:a"), "")));
        check(r#"{"errors":["a\n","b"],"data":null}"#, Some((None, "a ; b")));
        let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        check(&format!(r#"{{"x":{nested},"data":{{"y":{nested}}}}}"#), Some((None, "")));
        let long = "e".repeat(150);
        let short = format!("{long}; {}", &long[..48]);
        check(&format!(r#"{{"errors":["{long}","{long}","{long}"]}}"#), Some((None, &short)));
        for malformed in ["[1]", r#"{"data":{"ciphertext":1}}"#, r#"{"data":"x"}"#] {
            check(malformed, None);
        }
    }
}

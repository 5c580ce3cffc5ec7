//! Keys that HashiCorp Vault, or OpenBao, keeps in a transit engine (API reference, "Transit secrets
//! engine": `POST /v1/MOUNT/encrypt/NAME` and its kin, with `associated_data`).
//!
//! # Invariants
//!
//! - A Vault that is silent or slow holds [`KEY_REQUESTS_MAX`] threads at most, each for as long as a request
//!   may take. A request that waits ends with its client, and callers take turns.
//! - While Vault is known to be silent (see [`Circuit`]), requests that need it are refused at once.

use crate::circuit::Circuit;
use crate::error::KmsError;
use crate::key::KeyRow;
use crate::provider::{Answer, InLine, Provider};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_base::{AnyTurn, KEY_REQUESTS_MAX};
use drystone_keyring::Secret;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Bytes of an answer at most.
const ANSWER_LEN_MAX: u64 = 1 << 20;
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

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self { message, is_silent: false }
    }
}

impl From<ureq::Error> for Refusal {
    fn from(error: ureq::Error) -> Self {
        let is_silent = matches!(error, ureq::Error::Timeout(_));
        Self { message: error.to_string(), is_silent }
    }
}

impl Vault {
    pub(crate) fn new(config: Option<VaultConfig>) -> Self {
        let (circuit, asking) = (Arc::default(), Semaphore::new(KEY_REQUESTS_MAX));
        Self { config: config.map(Arc::new), circuit, asking: Arc::new(asking) }
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
        path: String,
        id: &str,
        body: Value,
        line: InLine<'_>,
    ) -> Result<Value, KmsError> {
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
            let answer = post(&config, &path, &body);
            let is_silent = matches!(&answer, Err(refusal) if refusal.is_silent);
            asking.end(!is_silent, Instant::now());
            answer.map_err(|refusal| refusal.message)
        });
        asked.await.expect("asking does not panic").map_err(failed)
    }

    async fn text(
        &self,
        path: String,
        id: &str,
        body: Value,
        (field, line): (&str, InLine<'_>),
    ) -> Result<String, KmsError> {
        let answer = self.ask(path, id, body, line).await?;
        let text = answer["data"][field].as_str().map(str::to_owned);
        let message = format!("its answer has no {field}");
        text.ok_or_else(|| KmsError::Provider { key: id.to_owned(), message })
    }
}

fn post(config: &VaultConfig, path: &str, body: &Value) -> Result<Value, Refusal> {
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
    let text = response.body_mut().with_config().limit(ANSWER_LEN_MAX).read_to_string()?;
    let answer: Value = match text.is_empty() {
        true => Value::Null,
        false => serde_json::from_str(&text).map_err(|error| error.to_string())?,
    };
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let errors = answer["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Err(format!("status {status}: {}", errors.collect::<Vec<_>>().join("; ")).into())
}

impl Provider for Vault {
    fn renew<'a>(&'a self, id: &'a str, line: InLine<'a>) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            // Making a key that is there changes nothing; a rotation needs one.
            let body = json!({ "type": "aes256-gcm96", "exportable": false });
            self.ask(format!("keys/{id}"), id, body, line).await?;
            self.ask(format!("keys/{id}/rotate"), id, json!({}), line).await?;
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
            let path = format!("encrypt/{}", key.id);
            Ok(self.text(path, &key.id, body, ("ciphertext", line)).await?.into_bytes())
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
            let path = format!("decrypt/{}", key.id);
            let plain = self.text(path, &key.id, body, ("plaintext", line)).await?;
            STANDARD.decode(plain).map_err(|_| damaged())
        })
    }
}

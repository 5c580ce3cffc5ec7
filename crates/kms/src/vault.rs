//! Keys that HashiCorp Vault, or OpenBao, keeps in a transit engine (API reference, "Transit secrets
//! engine": `POST /v1/MOUNT/encrypt/NAME` and its kin, with `associated_data`).

use crate::error::KmsError;
use crate::key::KeyRow;
use crate::provider::{Answer, Provider};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_keyring::Secret;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an answer at most.
const ANSWER_LEN_MAX: u64 = 1 << 20;
/// Time that a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

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
}

impl Vault {
    pub(crate) fn new(config: Option<VaultConfig>) -> Self {
        Self { config: config.map(Arc::new) }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.config.is_some()
    }

    async fn ask(&self, path: String, id: &str, body: Value) -> Result<Value, KmsError> {
        let failed = |message: String| KmsError::Provider { key: id.to_owned(), message };
        let Some(config) = self.config.clone() else {
            return Err(failed("no Vault is set (--vault-url)".to_owned()));
        };
        let asked = tokio::task::spawn_blocking(move || post(&config, &path, &body)).await;
        asked.expect("asking does not panic").map_err(failed)
    }

    async fn text(
        &self,
        path: String,
        id: &str,
        body: Value,
        field: &str,
    ) -> Result<String, KmsError> {
        let answer = self.ask(path, id, body).await?;
        let text = answer["data"][field].as_str().map(str::to_owned);
        let message = format!("its answer has no {field}");
        text.ok_or_else(|| KmsError::Provider { key: id.to_owned(), message })
    }
}

fn post(config: &VaultConfig, path: &str, body: &Value) -> Result<Value, String> {
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
    let sent = request.content_type("application/json").send(body.to_string());
    let mut response = sent.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let text = response.body_mut().with_config().limit(ANSWER_LEN_MAX).read_to_string();
    let text = text.map_err(|error| error.to_string())?;
    let answer: Value = match text.is_empty() {
        true => Value::Null,
        false => serde_json::from_str(&text).map_err(|error| error.to_string())?,
    };
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let errors = answer["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Err(format!("status {status}: {}", errors.collect::<Vec<_>>().join("; ")))
}

impl Provider for Vault {
    fn renew<'a>(&'a self, id: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            // Making a key that is there changes nothing; a rotation needs one.
            let body = json!({ "type": "aes256-gcm96", "exportable": false });
            self.ask(format!("keys/{id}"), id, body).await?;
            self.ask(format!("keys/{id}/rotate"), id, json!({})).await?;
            Ok(None)
        })
    }

    fn seal<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        plain: &'a [u8],
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let body = json!({
                "plaintext": STANDARD.encode(plain), "associated_data": STANDARD.encode(context),
            });
            let path = format!("encrypt/{}", key.id);
            Ok(self.text(path, &key.id, body, "ciphertext").await?.into_bytes())
        })
    }

    fn open<'a>(
        &'a self,
        key: &'a KeyRow,
        context: &'a [u8],
        sealed: &'a [u8],
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let damaged = || KmsError::Damaged(key.id.clone());
            let text = std::str::from_utf8(sealed).map_err(|_| damaged())?;
            let body = json!({
                "ciphertext": text, "associated_data": STANDARD.encode(context),
            });
            let path = format!("decrypt/{}", key.id);
            let plain = self.text(path, &key.id, body, "plaintext").await?;
            STANDARD.decode(plain).map_err(|_| damaged())
        })
    }
}

//! Whether the server that keeps keys answers.

use crate::kms::Kms;
use crate::vault::VaultConfig;
use std::time::Duration;

/// Time that it has.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What a Vault says of itself that cannot use its keys: it is sealed.
const SEALED: u16 = 503;

impl Kms {
    /// Whether the server that keeps keys answers; `None` if there is none. Blocks for two seconds at most.
    #[must_use]
    pub fn key_service_answers(&self) -> Option<bool> {
        self.shared.vault.answers()
    }
}

/// Asks Vault how it is (API reference, "/sys/health"), without a token and without use of a key. A standby
/// that leads to another one is no obstacle. Blocks, for a bounded time.
pub(crate) fn answers(config: &VaultConfig) -> bool {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .new_agent();
    let url = format!("{}/v1/sys/health?standbyok=true", config.url.trim_end_matches('/'));
    agent.get(&url).call().is_ok_and(|answer| answer.status().as_u16() != SEALED)
}

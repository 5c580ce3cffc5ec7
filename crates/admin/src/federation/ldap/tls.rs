//! Which certificates an LDAP server may have.

use super::LdapError;
use drystone_base::sync::{Mutex, lock};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The authorities of the system are read again after this time: one that was added counts without a
/// start.
const AGE_MAX: Duration = Duration::from_secs(60);

/// What connections are checked by.
#[derive(Default)]
pub(super) struct Trust {
    /// Only what was read and can be used is kept.
    known: Mutex<Option<(Instant, Arc<ClientConfig>)>>,
}

impl Trust {
    /// The settings of a connection: certificates of authorities of the system count, or any.
    pub(super) async fn config(&self, is_any: bool) -> Result<Arc<ClientConfig>, LdapError> {
        if let Some((read, config)) = &*lock(&self.known)
            && read.elapsed() < AGE_MAX
        {
            return Ok(config.clone());
        }
        let config = if is_any { any() } else { of_system().await? };
        *lock(&self.known) = Some((Instant::now(), config.clone()));
        Ok(config)
    }
}

async fn of_system() -> Result<Arc<ClientConfig>, LdapError> {
    let unavailable = |why: String| {
        LdapError::Unavailable(format!("no certificates of authorities can be read: {why}"))
    };
    let read = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let read = read.map_err(|error| unavailable(error.to_string()))?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(read.certs);
    if store.is_empty() {
        let why =
            read.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(unavailable(why));
    }
    for error in &read.errors {
        tracing::warn!(%error, "certificates of authorities cannot be read");
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(store).with_no_client_auth()))
}

fn any() -> Arc<ClientConfig> {
    let config =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(Any));
    Arc::new(config.with_no_client_auth())
}

/// Takes any certificate, as `TLS_SKIP_VERIFY` has it.
#[derive(Debug)]
struct Any;

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

//! TLS from a directory with `public.crt` and `private.key`, read again when they change.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CipherSuite, ProtocolVersion, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// There is no such file or directory.
    #[error(
        "{path} is missing: public.crt and private.key must be in the directory of the certificates"
    )]
    Missing { path: String },
    /// A file that cannot be read as what it must be.
    #[error("{path} is not readable as PEM")]
    File {
        path: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not fit.
    #[error("certificate and key cannot be used")]
    Pair(#[source] rustls::Error),
}

/// Gives out acceptors with the certificates as they are now.
pub(crate) struct Certificates {
    directory: PathBuf,
    current: Mutex<(Option<SystemTime>, TlsAcceptor)>,
}

impl Certificates {
    /// Reads the certificates of a directory.
    pub(crate) fn open(directory: &Path) -> Result<Self, TlsError> {
        let acceptor = load(directory)?;
        let current = Mutex::new((changed_at(directory), acceptor));
        Ok(Self { directory: directory.to_owned(), current })
    }

    /// An acceptor. If the files have changed, they are read again; if they cannot be used, the old
    /// ones stay and the error is logged.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().expect("no panic while certificates are read");
        let now = changed_at(&self.directory);
        if now != current.0 {
            match load(&self.directory) {
                Ok(acceptor) => {
                    *current = (now, acceptor);
                    tracing::info!("certificates were read again");
                }
                Err(error) => {
                    current.0 = now;
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "new certificates cannot be used");
                }
            }
        }
        current.1.clone()
    }
}

/// Version of TLS that a connection has, as conditions of policies name it.
pub(crate) fn version_of<S>(stream: &TlsStream<S>) -> &'static str {
    match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    }
}

/// Cipher suite of a connection, by the name that access logs of S3 have: that of OpenSSL.
pub(crate) fn cipher_of<S>(stream: &TlsStream<S>) -> Option<&'static str> {
    name_of(stream.get_ref().1.negotiated_cipher_suite()?.suite())
}

fn name_of(suite: CipherSuite) -> Option<&'static str> {
    use CipherSuite as C;
    Some(match suite {
        C::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        C::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        C::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        _ => return None,
    })
}

fn changed_at(directory: &Path) -> Option<SystemTime> {
    let key = std::fs::metadata(directory.join("private.key")).and_then(|m| m.modified()).ok();
    let cert = std::fs::metadata(directory.join("public.crt")).and_then(|m| m.modified()).ok();
    key.max(cert)
}

fn load(directory: &Path) -> Result<TlsAcceptor, TlsError> {
    let (cert, key) = (directory.join("public.crt"), directory.join("private.key"));
    for path in [directory, &cert, &key] {
        // What cannot be looked at is there, and says why when it is read.
        if path.try_exists().is_ok_and(|is_there| !is_there) {
            return Err(TlsError::Missing { path: path.display().to_string() });
        }
    }
    let bad = |path: &Path| {
        let path = path.display().to_string();
        move |source| TlsError::File { path, source }
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&cert).map_err(bad(&cert))?.collect();
    let chain = chain.map_err(bad(&cert))?;
    let private = PrivateKeyDer::from_pem_file(&key).map_err(bad(&key))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a line of an access log has a name for whatever was agreed on.
    #[test]
    fn every_suite_has_a_name() {
        for suite in rustls::crypto::ring::ALL_CIPHER_SUITES {
            assert!(name_of(suite.suite()).is_some(), "{:?}", suite.suite());
        }
    }
}

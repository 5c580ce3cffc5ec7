//! TLS from a directory with `public.crt` and `private.key`, read again when they change.
//!
//! # Invariants
//!
//! - A state of the files counts as known only once it was read and could be used: of two files that
//!   arrive one after the other, the second one is never missed, whatever times they have.
//! - Files that cannot be used are read again after a bounded time, also if nothing about them changes, and
//!   the certificate that was served before is served meanwhile.

mod certificate;
mod client;
mod handshake;

pub(crate) use client::{Acceptor, TlsClient};

use client::Terms;
use drystone_base::sync::{Mutex, lock};
use drystone_base::{Clock, SystemClock, Timestamp, error_limited};
use drystone_io::{Links, read_small_bytes};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CipherSuite, ProtocolVersion, ServerConfig};
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// There is no such file or directory.
    #[error(
        "{path} is missing: public.crt and private.key must be in the directory of the certificates"
    )]
    Missing { path: String },
    /// A file that cannot be read, is none, or is longer than a certificate ever is.
    #[error("{path} cannot be read")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    /// A file that cannot be read as what it must be.
    #[error("{path} is not readable as PEM")]
    File {
        path: String,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The key needs a password.
    #[error(
        "{path} is encrypted, and the server cannot ask for its password; decrypt it with `openssl pkey -in \
         {path} -out NEW`, and keep it readable by the user of the server only"
    )]
    Encrypted { path: String },
    /// Certificate and key do not fit.
    #[error("{certificate} and {key} cannot be used together")]
    Pair {
        certificate: String,
        key: String,
        #[source]
        source: rustls::Error,
    },
}

/// Files that cannot be used are read again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// Files are read again after this time even if nothing about them has changed: a file system may show two
/// changes as one.
const READ_AGE_MAX: Duration = Duration::from_secs(60);
/// The same error of the same files is logged again after this time.
const LOG_PAUSE: Duration = Duration::from_secs(60);
/// Bytes of one file at most.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Gives out acceptors with the certificates as they are now.
pub(crate) struct Certificates {
    directory: PathBuf,
    current: Mutex<Current>,
    terms: Terms,
}

/// What is served, and what is known of the files.
struct Current {
    acceptor: TlsAcceptor,
    /// Of the files that are served.
    content: Content,
    /// What the files that are served looked like before they were read, and when that was.
    read: (Looks, Instant),
    failed: Option<Failed>,
}

/// Files that could not be used.
struct Failed {
    looks: Looks,
    when: Instant,
    logged: Instant,
}

/// How a file shows that it is another one or has changed: device, number, length, and the times of its
/// content and of its entry in seconds and nanoseconds. `None` for a file that cannot be looked at.
type Look = Option<(u64, u64, u64, [i64; 4])>;
type Looks = [Look; 2];
/// Digest of both files.
type Content = [u8; 32];

impl Certificates {
    /// Reads the certificates of a directory. What connections hold besides the byte budget grows with it.
    pub(crate) fn open(directory: &Path, budget_bytes: u64) -> Result<Self, TlsError> {
        let read = (looks(directory), Instant::now());
        let files = Files::read(directory)?;
        let current =
            Current { acceptor: files.acceptor()?, content: files.content(), read, failed: None };
        let (current, terms) = (Mutex::new(current), Terms::new(budget_bytes));
        Ok(Self { directory: directory.to_owned(), current, terms })
    }

    /// An acceptor. If the files have changed, they are read again; if they cannot be used, the old
    /// ones stay and the error is logged.
    pub(crate) fn acceptor(&self) -> Acceptor {
        let mut current = lock(&self.current);
        current.refresh(&self.directory, Instant::now());
        Acceptor::new(current.acceptor.clone(), self.terms.clone())
    }
}

impl Certificates {
    /// Reads the files whether or not anything about them has changed.
    pub(crate) fn read_again(&self) {
        lock(&self.current).reload(&self.directory, looks(&self.directory), Instant::now());
    }
}

impl Current {
    fn is_due(&self, looks: &Looks, now: Instant) -> bool {
        match &self.failed {
            Some(failed) => failed.looks != *looks || now.duration_since(failed.when) >= RETRY,
            None => self.read.0 != *looks || now.duration_since(self.read.1) >= READ_AGE_MAX,
        }
    }

    fn refresh(&mut self, directory: &Path, now: Instant) {
        let looks = looks(directory);
        if self.is_due(&looks, now) {
            self.reload(directory, looks, now);
        }
    }

    fn reload(&mut self, directory: &Path, looks: Looks, now: Instant) {
        match self.load(directory) {
            Ok(is_new) => {
                // As they were before they were read: what came meanwhile is another change.
                (self.read, self.failed) = ((looks, now), None);
                if is_new {
                    tracing::info!("certificates were read again");
                }
            }
            Err(error) => {
                let before = self.failed.as_ref().filter(|failed| failed.looks == looks);
                let before = before.map(|failed| failed.logged);
                let is_said = before.is_some_and(|at| now.duration_since(at) < LOG_PAUSE);
                if !is_said {
                    let error = &error as &dyn std::error::Error;
                    error_limited!(
                        "new certificates cannot be used, the old ones are served"; error
                    );
                }
                let logged = before.filter(|_| is_said).unwrap_or(now);
                self.failed = Some(Failed { looks, when: now, logged });
            }
        }
    }

    /// Reads the files and serves them; whether they are others than before.
    fn load(&mut self, directory: &Path) -> Result<bool, TlsError> {
        let files = Files::read(directory)?;
        let content = files.content();
        let is_new = content != self.content;
        if is_new {
            (self.acceptor, self.content) = (files.acceptor()?, content);
        }
        Ok(is_new)
    }
}

/// Whether client and server agreed on HTTP/2.
pub(crate) fn speaks_http2<S>(stream: &TlsClient<S>) -> bool {
    stream.inner().get_ref().1.alpn_protocol() == Some(b"h2")
}

/// Version of TLS that a connection has, as conditions of policies name it.
pub(crate) fn version_of<S>(stream: &TlsClient<S>) -> &'static str {
    match stream.inner().get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "1.3",
    }
}

/// Cipher suite of a connection, by the name that access logs of S3 have: that of OpenSSL.
pub(crate) fn cipher_of<S>(stream: &TlsClient<S>) -> Option<&'static str> {
    name_of(stream.inner().get_ref().1.negotiated_cipher_suite()?.suite())
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

/// Whether a directory holds a certificate or a key. If it holds only one, that is an error when it is read.
pub(crate) fn has_certificates(directory: &Path) -> bool {
    paths(directory).iter().any(|path| path.try_exists().unwrap_or(true))
}

fn paths(directory: &Path) -> [PathBuf; 2] {
    [directory.join("public.crt"), directory.join("private.key")]
}

fn looks(directory: &Path) -> Looks {
    paths(directory).map(|path| {
        let file = std::fs::metadata(path).ok()?;
        let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        Some((file.dev(), file.ino(), file.len(), times))
    })
}

/// What is in both files.
struct Files {
    paths: [PathBuf; 2],
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(directory: &Path) -> Result<Self, TlsError> {
        let paths = paths(directory);
        for path in [directory, &paths[0], &paths[1]] {
            // What cannot be looked at is there, and says why when it is read.
            if path.try_exists().is_ok_and(|is_there| !is_there) {
                return Err(TlsError::Missing { path: path.display().to_string() });
            }
        }
        let (certificate, key) = (read_file(&paths[0])?, read_file(&paths[1])?);
        Ok(Self { paths, certificate, key })
    }

    fn content(&self) -> Content {
        let mut digest = Sha256::new();
        digest.update((self.certificate.len() as u64).to_le_bytes());
        digest.update(&self.certificate);
        digest.update(&self.key);
        digest.finalize().into()
    }

    fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let [certificate, key] = self.paths.each_ref().map(|path| path.display().to_string());
        let bad = |path: &String| {
            let path = path.clone();
            move |source| TlsError::File { path, source }
        };
        if certificate::is_encrypted(&self.key) {
            return Err(TlsError::Encrypted { path: key });
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(bad(&certificate))?;
        self.warn(&chain);
        let private = PrivateKeyDer::from_pem_slice(&self.key).map_err(bad(&key))?;
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(chain, private);
        let mut config = config.map_err(|source| TlsError::Pair { certificate, key, source })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Files {
    /// Says what clients, or other users of the machine, will make of the files. They are used all the same:
    /// a certificate that is renewed is read again, and the clock may be what is wrong.
    fn warn(&self, chain: &[CertificateDer<'_>]) {
        let [certificate, key] = &self.paths;
        let now = Timestamp(SystemClock.now_ms());
        for (index, der) in chain.iter().enumerate() {
            if let Some(fault) = certificate::fault_of_time(der, now) {
                let path = certificate.display();
                tracing::warn!(%path, index, fault, "clients will refuse a certificate: renew it");
            }
        }
        if certificate::is_open_to_others(key) {
            let path = key.display();
            tracing::warn!(%path, "every user of the machine can read the private key: chmod 600");
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.display().to_string(), source };
    read_small_bytes(path, Links::Followed, FILE_LEN_MAX).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a pair that cannot be used is read again after a bounded time although nothing about its files
    /// changes, at once if something does, and is not read for each connection.
    #[test]
    fn files_that_cannot_be_used_are_read_again_in_time() {
        let directory = Path::new("/no/such/directory");
        let config = ServerConfig::builder().with_no_client_auth();
        let nothing = Arc::new(rustls::server::ResolvesServerCertUsingSni::new());
        let acceptor = TlsAcceptor::from(Arc::new(config.with_cert_resolver(nothing)));
        let (start, known) = (Instant::now(), [Some((1, 2, 3, [4; 4])), Some((1, 5, 6, [7; 4]))]);
        let read = (known, start);
        let mut current = Current { acceptor, content: [0; 32], read, failed: None };
        assert!(!current.is_due(&known, start) && current.is_due(&known, start + READ_AGE_MAX));
        assert!(current.is_due(&[None; 2], start));
        let mut changed = known;
        changed[0] = changed[0].map(|(device, file, len, times)| (device, file + 1, len, times));
        assert!(current.is_due(&changed, start), "another file with the same times");
        current.refresh(directory, start);
        let failed = current.failed.as_ref().expect("there are no files");
        assert_eq!((failed.looks, failed.when, failed.logged), ([None; 2], start, start));
        assert!(!current.is_due(&[None; 2], start) && current.is_due(&known, start));
        assert!(current.is_due(&[None; 2], start + RETRY));
        current.refresh(directory, start + RETRY);
        let failed = current.failed.as_ref().expect("there are still none");
        assert_eq!((failed.when, failed.logged), (start + RETRY, start), "it is logged once");
        assert_eq!(current.read.0, known);
    }

    /// Goal: a line of an access log has a name for whatever was agreed on.
    #[test]
    fn every_suite_has_a_name() {
        for suite in rustls::crypto::ring::ALL_CIPHER_SUITES {
            assert!(name_of(suite.suite()).is_some(), "{:?}", suite.suite());
        }
    }
}

//! A signed connection to an S3 endpoint: as little work as possible, so that the server is measured.

use super::paced::{Pace, Paced};
use bytes::Bytes;
use drystone_base::{Clock, SystemClock, Timestamp, hex};
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Where requests go, and who signs them. Has no `Debug`: it holds a secret.
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) region: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no connection")]
    Connect(#[from] std::io::Error),
    #[error("the request failed")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error("{what} answered {status}")]
    Status { what: &'static str, status: u16 },
}

pub(crate) struct Connection {
    sender: SendRequest<Paced>,
    pace: Pace,
    target: Arc<Target>,
    /// Signing key of a day.
    key: Option<(String, [u8; 32])>,
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length will do");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

impl Connection {
    pub(crate) async fn open(target: Arc<Target>) -> Result<Self, ClientError> {
        let stream = tokio::net::TcpStream::connect(&target.host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, pace: Pace::Fast, target, key: None })
    }

    /// The same connection with bodies sent at another pace.
    pub(crate) fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    fn signing_key(&mut self, day: &str) -> [u8; 32] {
        if let Some((known, key)) = &self.key
            && known == day
        {
            return *key;
        }
        let mut key = hmac(format!("AWS4{}", self.target.secret_key).as_bytes(), day.as_bytes());
        for piece in [self.target.region.as_str(), "s3", "aws4_request"] {
            key = hmac(&key, piece.as_bytes());
        }
        self.key = Some((day.to_owned(), key));
        key
    }

    /// Sends a request and reads the answer; path and query must be in canonical form.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        body: Bytes,
    ) -> Result<(u16, Answer), ClientError> {
        let date = Timestamp(SystemClock.now_ms()).to_amz();
        let day = date[..8].to_owned();
        let hash = "UNSIGNED-PAYLOAD";
        let host = &self.target.host;
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{hash}\n\
             x-amz-date:{date}\n\nhost;x-amz-content-sha256;x-amz-date\n{hash}"
        );
        let scope = format!("{day}/{}/s3/aws4_request", self.target.region);
        let hashed = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
        let signature = hex(&hmac(&self.signing_key(&day), to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}",
            self.target.access_key
        );
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", &self.target.host)
            .header("x-amz-content-sha256", hash)
            .header("x-amz-date", date)
            .header("authorization", authorization)
            .body(Paced::new(body, self.pace))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let etag = response.headers().get("etag").and_then(|value| value.to_str().ok());
        let etag = etag.unwrap_or_default().to_owned();
        let (mut len, mut text) = (0, Vec::new());
        let keep = method == "POST" || query.contains("list-type");
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                len += bytes.len() as u64;
                if keep {
                    text.extend_from_slice(&bytes);
                }
            }
        }
        Ok((status, Answer { len, text, etag }))
    }

    /// Makes a bucket, if it is missing.
    pub(crate) async fn make_bucket(&mut self, bucket: &str) -> Result<(), ClientError> {
        match self.send("PUT", &format!("/{bucket}"), "", Bytes::new()).await? {
            (200 | 409, _) => Ok(()),
            (status, _) => Err(ClientError::Status { what: "making the bucket", status }),
        }
    }
}

/// What came back.
pub(crate) struct Answer {
    /// Bytes of the body.
    pub(crate) len: u64,
    /// The body, for documents.
    pub(crate) text: Vec<u8>,
    /// Entity tag.
    pub(crate) etag: String,
}

impl Answer {
    /// The text between two marks of a document.
    pub(crate) fn between(&self, open: &str, close: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.text);
        let (_, rest) = text.split_once(open)?;
        rest.split_once(close).map(|(value, _)| value.to_owned())
    }
}

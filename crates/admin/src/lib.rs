//! Health, metrics and the page of the console port.
//!
//! # Not here
//!
//! The admin API and the web console do not exist yet; the console port answers a plain page.

mod console;
mod health;
mod metrics;

pub use console::console_page;
pub use metrics::{Metrics, RequestRecord};

use bytes::Bytes;
use drystone_engine::Engine;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Answers what is asked on the S3 port but is no S3: health and metrics.
pub struct Admin {
    engine: Engine,
    metrics: Arc<Metrics>,
    /// Bearer token of the metrics; `None` makes them public.
    token: Option<String>,
}

/// A response of this crate.
pub type AdminResponse = Response<Full<Bytes>>;

pub(crate) fn respond(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> AdminResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    response
}

impl Admin {
    /// Answers for an engine.
    #[must_use]
    pub fn new(engine: Engine, metrics: Arc<Metrics>, token: Option<String>) -> Self {
        Self { engine, metrics, token }
    }

    /// The answer to a request that is not for S3; `None` for all others.
    #[must_use]
    pub fn respond(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<AdminResponse> {
        if *method != Method::GET && *method != Method::HEAD {
            return None;
        }
        match path {
            "/minio/health/live" => Some(health::live()),
            "/minio/health/ready" | "/minio/health/cluster" | "/minio/health/cluster/read" => {
                Some(health::ready(&self.engine))
            }
            "/minio/v2/metrics/cluster" | "/minio/v2/metrics/node" | "/metrics" => {
                if !self.may_read_metrics(headers) {
                    let message = "a bearer token is needed\n";
                    return Some(respond(StatusCode::FORBIDDEN, "text/plain", message));
                }
                let text = self.metrics.render(&self.engine);
                Some(respond(StatusCode::OK, "text/plain; version=0.0.4", text))
            }
            _ => None,
        }
    }

    fn may_read_metrics(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let sent = headers.get(http::header::AUTHORIZATION).map(|value| value.as_bytes());
        let sent = sent.and_then(|value| value.strip_prefix(b"Bearer "));
        sent.is_some_and(|sent| bool::from(sent.ct_eq(token.as_bytes())))
    }
}

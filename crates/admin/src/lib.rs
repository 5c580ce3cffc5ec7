//! Health, metrics and the page of the console port.
//!
//! # Not here
//!
//! The admin API and the web console do not exist yet; the console port answers a plain page.

mod api;
mod attempt;
mod buckets;
mod change_log;
mod console;
mod door;
mod federation;
mod health;
mod holders;
mod kms_api;
mod metrics;
mod minio;
mod query;
mod rights;
mod room;
mod state;

pub use api::Drives;
pub use buckets::{BucketAccess, BucketRights};
pub use console::console_page;
pub use door::AdminRequest;
pub use federation::{Federation, Ldap, LdapConfig, OpenId, OpenIdConfig};
pub use metrics::{Metrics, RequestRecord};

use bytes::Bytes;
use drystone_engine::Engine;
use drystone_identity::Directory;
use drystone_kms::Kms;
use http::{HeaderMap, Method, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use subtle::ConstantTimeEq;

/// Answers what is asked on the S3 port but is no S3: health and metrics.
pub struct Admin {
    engine: Engine,
    directory: Directory,
    kms: Kms,
    about: About,
    federation: Federation,
    metrics: Arc<Metrics>,
    /// Bearer token of the metrics; `None` makes them public.
    token: Option<String>,
    drives: Arc<dyn Drives>,
    rights: Arc<dyn BucketRights>,
    verifying: Arc<api::Verifying>,
    is_stopping: AtomicBool,
    states: state::States,
}

/// What the administration is made of.
pub struct AdminConfig {
    /// Objects.
    pub engine: Engine,
    /// Who there is.
    pub directory: Directory,
    /// Keys of objects.
    pub kms: Kms,
    /// What the server says of itself.
    pub about: About,
    /// Directories of others.
    pub federation: Federation,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Bearer token of the metrics; `None` makes them public.
    pub token: Option<String>,
    /// The drives.
    pub drives: Arc<dyn Drives>,
    /// Who may do what with buckets.
    pub rights: Arc<dyn BucketRights>,
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Id of the deployment.
    pub deployment: String,
    /// Region.
    pub region: String,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: u64,
}

/// Ways into the administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The query API of IAM and STS.
    Query,
    /// MinIO's admin API.
    Minio,
    /// The admin API of our own.
    Api,
    /// The API of AWS's key service.
    Kms,
}

/// Paths of the metrics.
const METRICS: [&str; 3] = ["/minio/v2/metrics/cluster", "/minio/v2/metrics/node", "/metrics"];

impl Door {
    /// The door that a request is for; `None` for requests of S3.
    #[must_use]
    pub fn of(method: &Method, path: &str, headers: &HeaderMap) -> Option<Self> {
        if path == drystone_admin_api::PATH {
            return Some(Self::Api);
        }
        if path.starts_with(minio::PREFIX) || path.starts_with(minio::KMS_PREFIX) {
            return Some(Self::Minio);
        }
        let is_root = *method == Method::POST && path == "/";
        let target = headers.get("x-amz-target").map(|target| target.as_bytes());
        if is_root && target.is_some_and(|target| target.starts_with(kms_api::TARGET.as_bytes())) {
            return Some(Self::Kms);
        }
        let content_type = headers.get(http::header::CONTENT_TYPE)?.as_bytes();
        let is_form = content_type.starts_with(b"application/x-www-form-urlencoded");
        (is_root && is_form).then_some(Self::Query)
    }

    /// Services that a signature may be for.
    #[must_use]
    pub fn services(self) -> &'static [&'static str] {
        match self {
            Self::Query => &["iam", "sts"],
            Self::Minio | Self::Api => &["s3"],
            Self::Kms => &["kms"],
        }
    }

    /// Bytes of a body at most.
    #[must_use]
    pub fn body_len_max(self) -> usize {
        match self {
            Self::Query | Self::Kms => 64 << 10,
            Self::Minio => minio::BODY_LEN_MAX,
            Self::Api => 256 << 10,
        }
    }
}

/// The start of a text, in an error: what a client wrote is repeated up to here, so that the error is small
/// whatever the notation makes of it.
pub(crate) fn cut(text: &str) -> &str {
    const ECHO_LEN_MAX: usize = 640;
    &text[..text.floor_char_boundary(ECHO_LEN_MAX)]
}

/// What a change is refused with that a full drive has no room for.
pub(crate) const DRIVE_FULL: &str =
    "The drive is full. Delete objects or versions, or add a drive.";

/// A response of this crate.
pub type AdminResponse = Response<Bytes>;

pub(crate) fn respond(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> AdminResponse {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    response
}

impl Admin {
    /// Answers for an engine.
    #[must_use]
    pub fn new(config: AdminConfig) -> Self {
        let AdminConfig { engine, directory, kms, about, federation, .. } = config;
        let AdminConfig { metrics, token, drives, rights, .. } = config;
        let verifying = Arc::default();
        Self {
            engine,
            directory,
            kms,
            about,
            federation,
            metrics,
            token,
            drives,
            rights,
            verifying,
            is_stopping: AtomicBool::new(false),
            states: state::States::default(),
        }
    }

    /// Says from now on that the server stops.
    pub fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// The owner of the server, for a request that came in by its unix socket.
    #[must_use]
    pub fn root_identity(&self) -> Arc<drystone_identity::Identity> {
        self.directory.root_identity()
    }

    /// Answers a request to a door of the administration.
    pub async fn serve(&self, door: Door, request: &AdminRequest) -> AdminResponse {
        let change = change_log::change_of(door, request);
        let response = match door {
            Door::Query => query::serve(self, &self.federation, request).await,
            Door::Api => api::serve(self, request).await,
            Door::Minio => minio::serve(self, request).await,
            Door::Kms => kms_api::serve(self, request).await,
        };
        if let Some(change) = change {
            change_log::note(&change, request, &response);
        }
        response
    }

    /// Answers a request that was refused before a door saw it: its signature is not right, or its body
    /// is too large.
    #[must_use]
    pub fn refuse(
        &self,
        door: Door,
        code: &str,
        status: u16,
        message: &str,
        request_id: &str,
    ) -> AdminResponse {
        match door {
            Door::Query => query::refuse_early(code, status, message, request_id),
            Door::Api => api::refuse_early(status, message),
            Door::Minio => minio::refuse_early(code, status, message, request_id),
            Door::Kms => kms_api::refuse_early(code, status, message),
        }
    }

    /// Whether a request is for health or metrics, and not for S3.
    #[must_use]
    pub fn answers(method: &Method, path: &str) -> bool {
        let is_read = *method == Method::GET || *method == Method::HEAD;
        is_read && (health::PATHS.contains(&path) || METRICS.contains(&path))
    }

    /// The answer to a request that [`Admin::answers`].
    pub async fn respond(
        &self,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> AdminResponse {
        if METRICS.contains(&path) {
            if !self.may_read_metrics(headers) {
                let message = "A bearer token is needed: set it with DRYSTONE_METRICS_TOKEN.\n";
                return respond(StatusCode::FORBIDDEN, "text/plain", message);
            }
            let text = self.metrics.render(&self.engine, &self.state(state::AGE_MAX).await);
            return respond(StatusCode::OK, "text/plain; version=0.0.4", text);
        }
        health::answer(path, query, &self.state(state::AGE_MAX).await.health)
    }

    fn may_read_metrics(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let sent = headers.get(http::header::AUTHORIZATION).map(|value| value.as_bytes());
        let sent = sent.and_then(|value| value.strip_prefix(b"Bearer "));
        sent.is_some_and(|sent| bool::from(sent.ct_eq(token.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::{BucketName, NameError};

    /// Goal: no bucket can be made whose path the server would answer itself.
    #[test]
    fn first_segments_of_own_paths_are_no_names_of_buckets() {
        let doors = [drystone_admin_api::PATH, minio::PREFIX, minio::KMS_PREFIX];
        for path in METRICS.into_iter().chain(doors) {
            let segment = path.split('/').nth(1).expect("a path");
            let refused = BucketName::create(segment);
            assert_eq!(refused, Err(NameError::BucketReserved), "{path}");
        }
    }

    /// Goal: an error of any door is small, whatever a client wrote.
    #[test]
    fn errors_are_small_whatever_they_repeat() {
        for text in ["&", "\"", "\n", "\u{1}", "\u{1F600}"].map(|text| text.repeat(60_000)) {
            let errors = [
                query::refuse_early("", 403, &text, "id"),
                api::refuse_early(400, &text),
                minio::refuse_early("", 403, &text, "id"),
                minio::refuse_path(&text, "id"),
                kms_api::refuse_early("", 403, &text),
            ];
            for error in errors {
                let len = error.body().len();
                assert!((100..8 << 10).contains(&len), "{len}");
            }
        }
    }
}

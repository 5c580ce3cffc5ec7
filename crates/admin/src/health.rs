//! Whether the process lives, and whether it can serve, as orchestrators and load balancers ask.
//!
//! Paths, statuses and headers are those of MinIO, as measured: `live` is 200 while the process serves,
//! `ready` is 200 unless the server that keeps keys does not answer, `cluster` and `cluster/read` are 503
//! where too few drives work. With `maintenance=true` they say whether the deployment would go on without
//! this server: it would not, since it is one server, and 412 says so.

use crate::{AdminResponse, respond};
use drystone_admin_api::{Health, KeyService};
use http::{HeaderValue, StatusCode};

/// Paths that are answered here.
pub(crate) const PATHS: [&str; 4] = [
    "/minio/health/live",
    "/minio/health/ready",
    "/minio/health/cluster",
    "/minio/health/cluster/read",
];

/// The answer to one of [`PATHS`].
pub(crate) fn answer(path: &str, query: Option<&str>, health: &Health) -> AdminResponse {
    let is_maintenance =
        query.is_some_and(|query| query.split('&').any(|q| q == "maintenance=true"));
    match path {
        "/minio/health/live" => text(StatusCode::OK, ""),
        "/minio/health/ready" => ready(health),
        "/minio/health/cluster/read" => {
            let why =
                "too many drives are missing to read all objects; `drystone status` says which\n";
            let quorum = ("x-minio-read-quorum", health.read_quorum);
            cluster(health, is_maintenance, quorum, health.is_readable.then_some(()).ok_or(why))
        }
        _ => {
            let why = match health.is_read_only {
                true => "the store is read-only: too few drives were found at the start\n",
                false => "fewer drives work than a write needs; `drystone status` says which\n",
            };
            let quorum = ("x-minio-write-quorum", health.write_quorum);
            cluster(health, is_maintenance, quorum, health.takes_writes.then_some(()).ok_or(why))
        }
    }
}

/// The process serves, and the server that keeps keys answers. A full drive is ready: it serves reads and
/// deletes.
fn ready(health: &Health) -> AdminResponse {
    match health.key_service {
        KeyService::None | KeyService::Answers => text(StatusCode::OK, ""),
        KeyService::Gone => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the server that keeps keys does not answer\n")
        }
    }
}

fn cluster(
    health: &Health,
    is_maintenance: bool,
    quorum: (&'static str, u64),
    is_well: Result<(), &'static str>,
) -> AdminResponse {
    let mut response = match (is_maintenance, is_well) {
        (true, _) => text(StatusCode::PRECONDITION_FAILED, ""),
        (false, Ok(())) => text(StatusCode::OK, ""),
        (false, Err(why)) => text(StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let headers = response.headers_mut();
    headers.insert(quorum.0, HeaderValue::from(quorum.1));
    headers.insert("x-minio-storage-class-defaults", HeaderValue::from_static("false"));
    if health.drives_filling > 0 {
        headers.insert("x-minio-healing-drives", HeaderValue::from(health.drives_filling));
    }
    response
}

fn text(status: StatusCode, text: &'static str) -> AdminResponse {
    respond(status, "text/plain", text)
}

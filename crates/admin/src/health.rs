//! Whether the process lives, and whether it can serve.

use crate::{AdminResponse, respond};
use drystone_engine::deployment::DeploymentStatus;
use drystone_engine::{Engine, EngineError};
use http::StatusCode;

/// The process answers.
pub(crate) fn live() -> AdminResponse {
    respond(StatusCode::OK, "text/plain", "")
}

/// The store takes writes. A full one does: it takes deletes.
pub(crate) fn cluster(engine: &Engine, is_read_only: bool) -> AdminResponse {
    if is_read_only {
        let message = format!("{}\n", EngineError::ReadOnly);
        return respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", message);
    }
    if !engine.takes_writes() {
        let message =
            "fewer drives work than the write of an object needs; `drystone status` says which\n";
        return respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", message);
    }
    respond(StatusCode::OK, "text/plain", "")
}

/// All objects of the default storage class can be read, as far as drives decide it. What is in a class of
/// less redundancy, if anything is, says `drystone status`.
pub(crate) fn cluster_read(engine: &Engine, status: Option<&DeploymentStatus>) -> AdminResponse {
    match status {
        Some(status) if !status.is_readable() => {
            let message =
                "too many drives are missing to read all objects; `drystone status` says which\n";
            respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", message)
        }
        _ => ready(engine),
    }
}

/// The drive takes writes. A full drive is ready: it serves reads and deletes.
pub(crate) fn ready(engine: &Engine) -> AdminResponse {
    if engine.drive().log().is_quarantined() {
        let message = "the drive failed and takes no more writes; replace it or restart\n";
        return respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", message);
    }
    respond(StatusCode::OK, "text/plain", "")
}

//! Whether the process lives, and whether it can serve.

use crate::{AdminResponse, respond};
use drystone_engine::Engine;
use http::StatusCode;

/// The process answers.
pub(crate) fn live() -> AdminResponse {
    respond(StatusCode::OK, "text/plain", "")
}

/// The store takes writes. A full one does: it takes deletes.
pub(crate) fn cluster(engine: &Engine, is_read_only: bool) -> AdminResponse {
    if is_read_only || !engine.takes_writes() {
        let message = "the store takes no writes; `drystone status` says why\n";
        return respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", message);
    }
    respond(StatusCode::OK, "text/plain", "")
}

/// The drive takes writes. A full drive is ready: it serves reads and deletes.
pub(crate) fn ready(engine: &Engine) -> AdminResponse {
    if engine.drive().log().is_quarantined() {
        let message = "the drive failed and takes no more writes; replace it or restart\n";
        return respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", message);
    }
    respond(StatusCode::OK, "text/plain", "")
}

//! The page of the console port, until the console exists.

use crate::{AdminResponse, respond};
use http::StatusCode;

/// A plain page with the version.
#[must_use]
pub fn console_page(version: &str) -> AdminResponse {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Drystone</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;margin:4rem auto;max-width:36rem;\
         padding:0 1rem}}code{{background:#eee;padding:.1em .3em}}</style>\n\
         <h1>Drystone {version}</h1>\n<p>The server is running. The web console does not exist \
         yet; use any S3 client on the S3 port, and <code>drystone --help</code> on the host.</p>\n\
         </html>\n"
    );
    respond(StatusCode::OK, "text/html; charset=utf-8", page)
}

//! The unix socket of the administration: anyone who the kernel says is this user or root acts as the owner
//! of the server, without a signature.

use drystone_admin::{Admin, AdminRequest, AdminResponse, Door};
use drystone_base::warn_limited;
use drystone_engine::Consumer;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// Name of the socket in the directory of the drive.
pub(crate) const FILE: &str = "admin.sock";
/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a request at most.
const BODY_LEN_MAX: usize = 1 << 20;

/// Opens the socket. One that is left from an earlier process is removed: the lock on the drive says that
/// there is no other process now.
pub(crate) fn open(directory: &Path) -> io::Result<UnixListener> {
    let path = directory.join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    drystone_io::close_socket_to_others(&path)?;
    Ok(listener)
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: UnixListener, admin: Arc<Admin>) {
    let count = Arc::new(AtomicU64::new(0));
    let own = rustix::process::geteuid().as_raw();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == own || peer.uid() == 0 => {}
            Ok(peer) => {
                warn_limited!("another user was turned away from the socket"; uid = peer.uid());
                continue;
            }
            Err(_) => continue,
        }
        tokio::spawn(talk(stream, admin.clone(), count.clone()));
    }
}

async fn talk(stream: UnixStream, admin: Arc<Admin>, count: Arc<AtomicU64>) {
    let service = service_fn(move |request| {
        let (admin, number) = (admin.clone(), count.fetch_add(1, Ordering::Relaxed));
        async move { Ok::<_, Infallible>(answer(&admin, request, number).await.map(Full::new)) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(TIMEOUT, connection).await {
        tracing::debug!(%error, "connection to the socket ended");
    }
}

async fn answer(admin: &Admin, request: Request<Incoming>, number: u64) -> AdminResponse {
    let request_id = format!("LOCAL{number:011X}");
    let (parts, body) = request.into_parts();
    let refuse = |status, message| admin.refuse(Door::Api, "", status, message, &request_id);
    if Door::of(&parts.method, parts.uri.path(), &parts.headers) != Some(Door::Api) {
        return refuse(400, "Only the admin API is served here.");
    }
    let Ok(body) = Limited::new(body, BODY_LEN_MAX).collect().await else {
        return refuse(400, "The body is too long, or ended early.");
    };
    let request = AdminRequest {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: Vec::new(),
        headers: parts.headers,
        body: body.to_bytes(),
        identity: Some(admin.root_identity()),
        service: String::new(),
        request_id: request_id.clone(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        consumer: Consumer::client(&"socket"),
        is_secure: true,
        tls: None,
        is_local: true,
    };
    admin.serve(Door::Api, &request).await
}

//! Listeners: connections become requests of the gateway.

use crate::access_log::{AccessLog, Line};
use crate::config::ServerConfig;
use crate::proxy::TrustedProxies;
use crate::tls::Certificates;
use drystone_admin::{
    Admin, AdminRequest, AdminResponse, Door, Metrics, RequestRecord, console_page,
};
use drystone_base::Timestamp;
use drystone_engine::{Engine, EngineError};
use drystone_s3::{Gateway, Peer, ResponseBody, Served};
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

type OutBody = UnsyncBoxBody<bytes::Bytes, EngineError>;

/// Bytes that a connection may hold before they are taken from it, headers included.
const READ_BUFFER_LEN: usize = 64 << 10;
/// Headers of a request; their total length is limited by the gateway.
const HEADER_COUNT_MAX: usize = 512;
/// Time in which the head of a request must have come.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for requests in progress when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What connections need.
pub(crate) struct Front {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) admin: Arc<Admin>,
    pub(crate) engine: Engine,
    pub(crate) proxies: TrustedProxies,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    pub(crate) certificates: Option<Certificates>,
}

/// The connection must be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the outcome of the request is not known")]
struct Dropped;

/// An address such as `:9000` or `127.0.0.1:9000`.
async fn bind(address: &str) -> io::Result<TcpListener> {
    match address.strip_prefix(':') {
        // All interfaces, both families where there are two.
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
        },
        None => TcpListener::bind(address).await,
    }
}

/// The open ports of a server.
pub(crate) struct Ports {
    s3: TcpListener,
    console: TcpListener,
}

impl Ports {
    pub(crate) async fn open(config: &ServerConfig) -> io::Result<Self> {
        let name = |address: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("{address}: {error}"))
        };
        let s3 = bind(&config.address).await.map_err(|e| name(&config.address, e))?;
        let console = bind(&config.console_address).await;
        let console = console.map_err(|e| name(&config.console_address, e))?;
        Ok(Self { s3, console })
    }

    pub(crate) fn addresses(&self) -> io::Result<(std::net::SocketAddr, std::net::SocketAddr)> {
        Ok((self.s3.local_addr()?, self.console.local_addr()?))
    }
}

/// Serves until told to stop, then lets requests in progress end.
pub(crate) async fn serve(front: Arc<Front>, ports: Ports, stop: impl Future<Output = ()>) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .max_headers(HEADER_COUNT_MAX)
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(READ_BUFFER_LEN)
        .pipeline_flush(true);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256);
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    let console = tokio::spawn(serve_console(ports.console));
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = ports.s3.accept() => match accepted {
                Ok((stream, remote)) => {
                    accept(&front, &builder, &graceful, stream, remote.ip());
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
    console.abort();
    drop(ports.s3);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in progress were cut off");
    }
}

fn accept(
    front: &Arc<Front>,
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    remote: IpAddr,
) {
    let _ = stream.set_nodelay(true);
    let (front, builder, watcher) = (front.clone(), builder.clone(), graceful.watcher());
    let peer = move |is_secure| Peer { address: remote, is_secure };
    tokio::spawn(async move {
        match &front.certificates {
            None => talk(front, &builder, watcher, stream, peer(false)).await,
            Some(certificates) => {
                let handshake = certificates.acceptor().accept(stream);
                match tokio::time::timeout(HEADER_TIMEOUT, handshake).await {
                    Ok(Ok(stream)) => talk(front, &builder, watcher, stream, peer(true)).await,
                    Ok(Err(error)) => tracing::debug!(%error, %remote, "handshake failed"),
                    Err(_) => tracing::debug!(%remote, "handshake took too long"),
                }
            }
        }
    });
}

async fn talk(
    front: Arc<Front>,
    builder: &Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
) {
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { answer(&front, request, peer).await }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

fn boxed(response: AdminResponse) -> Response<OutBody> {
    response.map(|body| body.map_err(|never: Infallible| match never {}).boxed_unsync())
}

async fn answer(
    front: &Front,
    request: Request<Incoming>,
    peer: Peer,
) -> Result<Response<OutBody>, Dropped> {
    let started = Instant::now();
    let peer = front.proxies.client(peer, request.headers());
    let admin = front.admin.respond(request.method(), request.uri().path(), request.headers());
    if let Some(response) = admin {
        return Ok(boxed(response));
    }
    if let Some(door) = Door::of(request.method(), request.uri().path(), request.headers()) {
        return Ok(boxed(administer(front, door, request, peer, started).await));
    }
    let line = front
        .access_log
        .is_on()
        .then(|| (request.method().as_str().to_owned(), request.uri().path().to_owned()));
    let served = front.gateway.serve(request, peer).await;
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let Served { response, operation, request_id, error } = served;
    let status = response.as_ref().map_or(0, |response| response.status().as_u16());
    let operation = operation.unwrap_or("other");
    front.metrics.record(RequestRecord { operation, status, micros });
    if let Some((method, path)) = line {
        let len_bytes = response
            .as_ref()
            .and_then(|response: &Response<ResponseBody>| response.body().size_hint().exact());
        front.access_log.write(&Line {
            time: Timestamp(front.engine.now_ms()).to_iso(),
            remote: &peer.address.to_string(),
            method: &method,
            path: &path,
            operation,
            status,
            error: error.map(|code| code.name()),
            len_bytes,
            micros,
            request_id: &request_id,
        });
    }
    // What is not implemented, and a full drive, are answers and not failures.
    if status >= 500 && !matches!(status, 501 | 507) {
        let code = error.map_or("", |code| code.name());
        tracing::error!(operation, status, code, request_id, "request failed");
    }
    let response = response.ok_or(Dropped)?;
    Ok(response.map(BodyExt::boxed_unsync))
}

/// Takes a request in and leads it to a door of the administration.
async fn administer(
    front: &Front,
    door: Door,
    request: Request<Incoming>,
    peer: Peer,
    started: Instant,
) -> AdminResponse {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let (request_id, taken) =
        front.gateway.take_in(request, door.services(), door.body_len_max()).await;
    let (mut response, error) = match taken {
        Ok(taken) => {
            let request = AdminRequest {
                method: taken.method,
                path: taken.path,
                query: taken.query,
                headers: taken.headers,
                body: taken.body,
                identity: taken.identity,
                service: taken.service,
                request_id: request_id.clone(),
                address: peer.address,
                is_secure: peer.is_secure,
                is_local: false,
            };
            (front.admin.serve(door, &request).await, None)
        }
        Err(error) => {
            let (code, status) = (error.code.name(), error.code.status());
            (front.admin.refuse(door, code, status, &error.message, &request_id), Some(code))
        }
    };
    if let Ok(value) = request_id.parse() {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    let operation = "Admin";
    front.metrics.record(RequestRecord { operation, status, micros });
    if front.access_log.is_on() {
        front.access_log.write(&Line {
            time: Timestamp(front.engine.now_ms()).to_iso(),
            remote: &peer.address.to_string(),
            method: &method,
            path: &path,
            operation,
            status,
            error,
            len_bytes: response.body().size_hint().exact(),
            micros,
            request_id: &request_id,
        });
    }
    response
}

async fn serve_console(listener: TcpListener) {
    let builder = Builder::new(TokioExecutor::new());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let builder = builder.clone();
        tokio::spawn(async move {
            let service = service_fn(|_| async {
                Ok::<_, Infallible>(console_page(env!("CARGO_PKG_VERSION")))
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let served = tokio::time::timeout(HEADER_TIMEOUT, connection).await;
            if let Ok(Err(error)) = served {
                tracing::debug!(%error, "console connection ended");
            }
        });
    }
}

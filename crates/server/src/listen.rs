//! Listeners: connections become requests of the gateway.

use crate::access_log::{AccessLog, Line};
use crate::admission::{Admission, ConnectionLimits, Refused, source_of};
use crate::collect;
use crate::connection::{
    Activity, ClientStream, Ended, Inbound, RequestGuard, StreamLimits, Tracked, ahead_len, drive,
    in_time, protocols, protocols_of,
};
use crate::heads::RequestSize;
use crate::ports::Ports;
use crate::proxy::{TrustedProxies, UnknownClient};
use crate::slots::{Free, InSlot};
use crate::tls::{Acceptor, Certificates, cipher_of, speaks_http2, version_of};
use bytes::Bytes;
use drystone_admin::{Admin, AdminRequest, Door, Metrics, RequestRecord, console_page};
use drystone_base::{Timestamp, error_limited, warn_limited};
use drystone_engine::Engine;
use drystone_identity::Identity;
use drystone_s3::{AskedFor, Gateway, OutBody, Peer, Receiver, ResponseBody, Served, headers_len};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a connection above the limits is answered, before it has sent anything.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Length: 0\r\n\r\n";
/// What a client is answered that speaks HTTP without TLS to a port with TLS.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\nContent-Length: 57\r\n\r\n\
    This port speaks HTTPS: use https:// instead of http://.\n";
/// Connections that are told so at once; others are closed without a word.
const REFUSALS_MAX: usize = 64;
/// Time for the client to read it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between two lines that say what a server that stops waits for.
const WAIT_SAID_EVERY: Duration = Duration::from_secs(5);

/// What connections need.
pub(crate) struct Front {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) admin: Arc<Admin>,
    pub(crate) engine: Engine,
    pub(crate) proxies: TrustedProxies,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) admission: Arc<Admission>,
    /// Time for requests in progress when the server stops.
    pub(crate) shutdown_timeout: Duration,
}

/// The connection must be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("there is no answer, or the outcome of the request is not known")]
struct Dropped;

/// Serves until told to stop, then lets requests in progress end. Others are answered 503 meanwhile, so that
/// a client goes to another server at once.
pub(crate) async fn serve(front: Arc<Front>, ports: Ports, stop: impl Future<Output = ()>) {
    let Ports { s3, console } = ports;
    let (told, stopping) = watch::channel(false);
    let doors = Arc::new(Doors {
        builder: protocols(),
        admission: front.admission.clone(),
        proxies: front.proxies.clone(),
        metrics: front.metrics.clone(),
        refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        stopping,
    });
    let accepting = tokio::spawn(accept_all(s3, doors.clone(), Port::S3(front.clone())));
    let console = console.map(|console| {
        tokio::spawn(accept_all(console, doors.clone(), Port::Console(front.clone())))
    });
    let collecting = tokio::spawn(collect::run(doors.admission.clone()));
    stop.await;
    collecting.abort();
    // Its receivers are the connections, and the ports.
    let _ = told.send(true);
    front.admin.begin_stop();
    drain(&doors.admission, front.shutdown_timeout).await;
    accepting.abort();
    console.inspect(tokio::task::JoinHandle::abort);
}

/// Waits for requests in progress, and says so.
async fn drain(admission: &Admission, limit: Duration) {
    let began = Instant::now();
    let mut emptied = std::pin::pin!(admission.wait_empty());
    loop {
        let left = limit.saturating_sub(began.elapsed());
        if tokio::time::timeout(left.min(WAIT_SAID_EVERY), &mut emptied).await.is_ok() {
            return;
        }
        let (connections, waited_s) = (admission.open(), began.elapsed().as_secs());
        if began.elapsed() >= limit {
            tracing::warn!(connections, waited_s, "requests in progress were cut off");
            return;
        }
        let limit_s = limit.as_secs();
        tracing::info!(
            connections,
            waited_s,
            limit_s,
            "stopping: requests in progress are let end; new ones are answered 503"
        );
    }
}

/// What a port serves.
#[derive(Clone)]
enum Port {
    S3(Arc<Front>),
    Console(Arc<Front>),
}

/// What all ports share.
struct Doors {
    builder: Builder<TokioExecutor>,
    admission: Arc<Admission>,
    proxies: TrustedProxies,
    metrics: Arc<Metrics>,
    /// Refused connections that are being told so.
    refusals: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

async fn accept_all(listener: TcpListener, doors: Arc<Doors>, port: Port) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => accept(&doors, &port, stream, remote.ip()),
            Err(error) => {
                warn_limited!("a connection could not be accepted"; %error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn accept(doors: &Arc<Doors>, port: &Port, stream: TcpStream, remote: IpAddr) {
    let _ = stream.set_nodelay(true);
    let certificates = match port {
        Port::S3(front) | Port::Console(front) => front.certificates.as_ref(),
    };
    if *doors.stopping.borrow() {
        if let Ok(refusal) = doors.refusals.clone().try_acquire_owned() {
            let acceptor = certificates.map(Certificates::acceptor);
            tokio::spawn(refuse_stopping(stream, acceptor, remote, refusal));
        }
        return;
    }
    let is_proxy = doors.proxies.trusts(remote);
    let permit = match doors.admission.admit(remote, is_proxy) {
        Ok(permit) => permit,
        Err(refused) => {
            warn_of(refused, doors.admission.limits, remote);
            // A handshake would cost more than the answer is worth.
            if certificates.is_none()
                && let Ok(refusal) = doors.refusals.clone().try_acquire_owned()
            {
                tokio::spawn(refuse(stream, refusal));
            }
            return;
        }
    };
    let acceptor = certificates.map(Certificates::acceptor);
    let (doors, port) = (doors.clone(), port.clone());
    tokio::spawn(async move {
        let source = (!is_proxy).then(|| source_of(remote));
        let activity = Activity::new(doors.admission.clone(), source);
        if acceptor.is_some()
            && in_time(&activity, speaks_plain_http(&stream)).await.unwrap_or(false)
        {
            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, say(stream, PLAIN_HTTP)).await;
            return;
        }
        let stream = ClientStream::new(stream, activity.clone(), StreamLimits::default());
        let peer = |tls: Option<&'static str>, cipher| Peer {
            address: remote,
            is_secure: tls.is_some(),
            tls,
            cipher,
        };
        let ended = match acceptor {
            None => talk(&doors, port, stream, &activity, peer(None, None)).await,
            Some(acceptor) => {
                match in_time(&activity, acceptor.accept(stream, source_of(remote))).await {
                    Ok(stream) => {
                        let peer = peer(Some(version_of(&stream)), cipher_of(&stream));
                        talk(&doors, port, stream, &activity, peer).await
                    }
                    Err(ended) => Err(ended),
                }
            }
        };
        if let Err(ended) = ended {
            if matches!(ended, Ended::TooSlow) {
                doors.metrics.connections.ended.fetch_add(1, Ordering::Relaxed);
            }
            let error = &ended as &dyn std::error::Error;
            tracing::debug!(error, %remote, "connection ended");
        }
        drop(permit);
    });
}

/// Says which limit a connection is above, and what moves it. The kinds are counted apart: one client that
/// opens too many does not hide that there are too many in all.
fn warn_of(refused: Refused, limits: ConnectionLimits, remote: IpAddr) {
    let ConnectionLimits { total, per_source, .. } = limits;
    match refused {
        Refused::Total => {
            let (limit, option) = (total, "--max-connections");
            warn_limited!("a connection is refused: too many are open"; limit, option, %remote);
        }
        Refused::Source => {
            let (limit, option) = (per_source, "--max-connections-per-source");
            warn_limited!("a connection is refused: its source has too many"; limit, option, %remote);
        }
    }
}

/// Says to a client that too many connections are open, and closes.
async fn refuse(stream: TcpStream, refusal: OwnedSemaphorePermit) {
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, say(stream, REFUSAL)).await;
    drop(refusal);
}

/// As [`refuse`], where the server stops.
async fn refuse_stopping(
    stream: TcpStream,
    acceptor: Option<Acceptor>,
    remote: IpAddr,
    refusal: OwnedSemaphorePermit,
) {
    let told = async {
        match acceptor {
            None => say(stream, REFUSAL).await,
            Some(acceptor) => {
                let stream = acceptor.accept(stream, source_of(remote)).await?;
                // An answer of HTTP/1.1 would be none there.
                if speaks_http2(&stream) { Ok(()) } else { say(stream, REFUSAL).await }
            }
        }
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, told).await;
    drop(refusal);
}

/// Whether the first byte is one of a method of HTTP, not of a TLS record. It stays to be read.
async fn speaks_plain_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase())
}

/// Writes an answer to whatever is sent, and closes.
async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    // What it has sent is taken, so that the answer is not lost with a reset.
    let mut dropped = [0; 4096];
    while stream.read(&mut dropped).await? > 0 {}
    Ok(())
}

async fn talk(
    doors: &Doors,
    port: Port,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    activity: &Arc<Activity>,
    peer: Peer,
) -> Result<(), Ended> {
    let service = service_fn(|request: Request<Incoming>| {
        let mut guard = activity.begin_request(request.version() == Version::HTTP_2);
        // Summed once: the gateway is given the sum.
        let headers_len = headers_len(request.headers());
        let size = RequestSize {
            head_len: target_len(&request) + headers_len,
            header_count: request.headers().len(),
            ahead_len: ahead_len(&request),
        };
        match guard.hold(size) {
            true => {
                let (port, activity) = (port.clone(), activity.clone());
                let asked = Asked { port, request, headers_len, peer, guard, activity };
                Serving::Begun(InSlot::begin(&SLOTS, serve_one, asked))
            }
            // At once: clients send many more than are held.
            false => {
                let refusal = refuse_busy(&port, &request, peer, guard, activity);
                Serving::Refused(Some(Box::new(refusal)))
            }
        }
    });
    let source = (!doors.proxies.trusts(peer.address)).then(|| source_of(peer.address));
    let streams = doors.admission.streams.share(source);
    let builder = protocols_of(&doors.builder, streams.count);
    activity.keep_streams(streams);
    let stream = Inbound::new(stream, activity.clone());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    drive(connection, activity, doors.stopping.clone()).await
}

/// A request on its way to its answer.
enum Serving {
    Begun(InSlot<Asked, Answered>),
    /// The answer of one that is not served.
    Refused(Option<Box<Answered>>),
}

impl Future for Serving {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered> {
        match self.get_mut() {
            Self::Begun(slot) => Pin::new(slot).poll(context),
            Self::Refused(answer) => {
                Poll::Ready(*answer.take().expect("a request is not polled after its answer"))
            }
        }
    }
}

/// The answer to a request beyond those that are held: made without anything that would be held for it.
fn refuse_busy(
    port: &Port,
    request: &Request<Incoming>,
    peer: Peer,
    guard: RequestGuard,
    activity: &Arc<Activity>,
) -> Answered {
    let (Port::S3(front) | Port::Console(front)) = port;
    if front.proxies.is_unnamed(peer.address, request.headers()) {
        note_unnamed(front, peer.address);
    }
    let is_http2 = request.version() == Version::HTTP_2;
    let receiver = receiver(front, None, peer, request.version());
    let mut response = receiver.refuse(busy()).ok_or(Dropped)?;
    if let Some(share) = response.body_mut().take_head_share() {
        activity.keep_head(response.headers_mut(), share);
    }
    if keeps_body_back(request) {
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Tracked::of_answer(body, guard, is_http2, false)))
}

/// Says that a proxy may have to be named.
fn note_unnamed(front: &Front, remote: IpAddr) {
    front.metrics.connections.forwarded.fetch_add(1, Ordering::Relaxed);
    let option = "--trusted-proxies";
    warn_limited!("a request was forwarded by an address that is not trusted: if it is a proxy, all of its \
        clients share the limits of one address"; %remote, option);
}

/// A request whose head is complete.
struct Asked {
    port: Port,
    request: Request<Incoming>,
    headers_len: usize,
    peer: Peer,
    guard: RequestGuard,
    activity: Arc<Activity>,
}

type Answered = Result<Response<Tracked<OutBody>>, Dropped>;

thread_local! {
    static SLOTS: Free<Asked, Answered> = Free::default();
}

fn serve_one(asked: Asked) -> impl Future<Output = Answered> + Send {
    let Asked { port, mut request, headers_len, peer, guard, activity } = asked;
    let is_http2 = request.version() == Version::HTTP_2;
    let asked_for = keeps_body_back(&request).then(AskedFor::default);
    if let Some(asked_for) = &asked_for {
        request.extensions_mut().insert(asked_for.clone());
    }
    async move {
        if let Port::S3(front) = &port
            && front.proxies.is_unnamed(peer.address, request.headers())
        {
            note_unnamed(front, peer.address);
        }
        let response = match port {
            Port::S3(front) => answer(&front, request, headers_len, peer).await,
            Port::Console(front) => {
                let page = console_page(env!("CARGO_PKG_VERSION")).map(ResponseBody::full);
                receiver(&front, None, peer, request.version()).send(None, page).await
            }
        };
        let mut response = response.ok_or(Dropped)?;
        if let Some(share) = response.body_mut().take_head_share() {
            activity.keep_head(response.headers_mut(), share);
        }
        if asked_for.is_some_and(|asked_for| !asked_for.is_true()) {
            response
                .headers_mut()
                .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| {
            let holds_request = body.holds_request();
            Tracked::of_answer(body, guard, is_http2, holds_request)
        }))
    }
}

fn receiver<'a>(
    front: &'a Front,
    identity: Option<&'a Identity>,
    peer: Peer,
    version: Version,
) -> Receiver<'a> {
    let (address, is_http2) = (peer.address, version == Version::HTTP_2);
    Receiver { identity, address, is_http2, engine: &front.engine }
}

/// Whether the client sends the body only when it is asked for it. HTTP/2 tells bodies apart from requests.
fn keeps_body_back(request: &Request<Incoming>) -> bool {
    let expected = request.headers().get(http::header::EXPECT);
    expected.is_some() && request.version() == Version::HTTP_11 && !request.body().is_end_stream()
}

/// Bytes of the target of a request.
fn target_len(request: &Request<Incoming>) -> usize {
    let uri = request.uri();
    uri.path().len() + uri.query().map_or(0, str::len)
}

/// The answer to a request where too many are held.
fn busy() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The answer to a request of which it is not known where it came from: no policy can decide on it.
fn refusal_of(error: UnknownClient) -> Response<Bytes> {
    let mut response = Response::new(format!("{error}\n").into());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}

async fn answer(
    front: &Front,
    request: Request<Incoming>,
    headers_len: usize,
    peer: Peer,
) -> Option<Response<OutBody>> {
    let started = Instant::now();
    let peer = match front.proxies.client(peer, request.headers()) {
        Ok(peer) => peer,
        Err(error) => {
            warn_limited!("the client of a proxy is not known"; proxy = %peer.address, %error);
            let (operation, status, micros) = ("other", 400, 0);
            front.metrics.record(RequestRecord { operation, status, micros });
            let refusal = refusal_of(error).map(ResponseBody::full);
            return receiver(front, None, peer, request.version()).send(None, refusal).await;
        }
    };
    if !front.gateway.names_bucket(request.uri(), request.headers()) {
        let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
        if Admin::answers(method, path) {
            // Apart: what it holds on the way is no part of each request of S3.
            let response =
                Box::pin(front.admin.respond(path, request.uri().query(), headers)).await;
            let receiver = receiver(front, None, peer, request.version());
            return receiver.send(None, response.map(ResponseBody::full)).await;
        }
        if let Some(door) = Door::of(method, path, headers) {
            return administer(front, door, request, peer, started).await;
        }
    }
    let line = front
        .access_log
        .is_on()
        .then(|| (request.method().as_str().to_owned(), request.uri().path().to_owned()));
    let served = front.gateway.serve(request, headers_len, peer).await;
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let Served { response, operation, request_id, error } = served;
    let status = response.as_ref().map_or(0, |response| response.status().as_u16());
    let operation = operation.unwrap_or("other");
    front.metrics.record(RequestRecord { operation, status, micros });
    if let Some((method, path)) = line {
        let len_bytes = response.as_ref().and_then(|response| response.body().size_hint().exact());
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
        error_limited!("request failed"; operation, status, code, request_id);
    }
    response
}

/// Takes a request in and leads it to a door of the administration.
async fn administer(
    front: &Front,
    door: Door,
    request: Request<Incoming>,
    peer: Peer,
    started: Instant,
) -> Option<Response<OutBody>> {
    let version = request.version();
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let limits = (door.body_len_max(), peer.address);
    let (request_id, taken) = front.gateway.take_in(request, door.services(), limits).await;
    let (mut response, error, identity, room) = match taken {
        Ok(mut taken) => {
            let (identity, room) = (taken.identity.clone(), taken.room.take());
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
                consumer: taken.consumer,
                is_secure: peer.is_secure,
                tls: peer.tls,
                is_local: false,
            };
            (front.admin.serve(door, &request).await, None, identity, room)
        }
        Err(error) => {
            let (code, status) = (error.code.name(), error.code.status());
            let refusal = front.admin.refuse(door, code, status, &error.message, &request_id);
            (refusal, Some(code), None, None)
        }
    };
    if let Ok(value) = request_id.parse() {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    let receiver = receiver(front, identity.as_deref(), peer, version);
    let response = receiver.send(room, response.map(ResponseBody::full)).await;
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = response.as_ref().map_or(0, |response| response.status().as_u16());
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
            len_bytes: response.as_ref().and_then(|response| response.body().size_hint().exact()),
            micros,
            request_id: &request_id,
        });
    }
    response
}

//! One connection of a client, from its first byte to its end.
//!
//! Nothing is believed of a client but what it sends in time:
//!
//! - The head of a request must be complete within [`TimeLimits::head_max`] of its first byte; that of the
//!   first one within the same time of the accept, whatever the protocol, the TLS handshake included.
//! - A connection without a request in progress is closed after [`TimeLimits::idle_max`]; pings of HTTP/2
//!   find dead peers.
//! - A socket that takes nothing, or less than the least rate, is closed (`stream`). A response of HTTP/2
//!   whose client opens no window for [`STREAM_STALL_MAX`] ends its connection.
//!
//! # Not here
//!
//! How many connections there may be: `admission`. Time limits of request bodies: `drystone_s3`.

mod activity;
mod inbound;
mod pace;
mod stream;

pub(crate) use activity::{Activity, RequestGuard, Tracked};
pub(crate) use inbound::Inbound;
pub(crate) use stream::{ClientStream, StreamLimits};

use activity::Verdict;
use http::{Request, Version};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulConnection;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Bounds of connections that settings give.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionSettings {
    /// Connections at once, if it is not to follow from the limit of descriptors.
    pub(crate) total: Option<usize>,
    /// Connections of one source at once, if it is not to be half of all.
    pub(crate) per_source: Option<usize>,
    /// Time limits.
    pub(crate) times: TimeLimits,
}

/// Time limits of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimeLimits {
    /// From the first byte of a head to its end, and from the accept to the end of the first head.
    pub(crate) head_max: Duration,
    /// Without a request in progress.
    pub(crate) idle_max: Duration,
}

impl TimeLimits {
    /// Time between two looks at a connection: limits are kept to within a third.
    fn check_every(self) -> Duration {
        (self.head_max.min(self.idle_max) / 3).clamp(CHECK_MIN, CHECK_MAX)
    }
}

/// Time for which a response of HTTP/2 may wait for its client to open the window.
const STREAM_STALL_MAX: Duration = Duration::from_secs(60);
/// Time between two looks at a connection.
const CHECK_MIN: Duration = Duration::from_millis(100);
const CHECK_MAX: Duration = Duration::from_secs(10);
/// Time for a connection that was told to end.
const GOODBYE_MAX: Duration = Duration::from_secs(10);

/// Bytes that a connection may hold before they are taken from it, headers included; also of a response
/// before they are taken by the socket.
const BUFFER_LEN_MAX: usize = 64 << 10;
/// Headers of a request; their total length is limited by the gateway. S3 takes 8 KB of headers, in which no
/// more than 256 that are signed fit. The parser sets up places for all of them with each request.
const HEADER_COUNT_MAX: usize = 256;
/// Bytes of the headers of a request of HTTP/2, with 32 for each (RFC 9113, section 6.5.2).
const HEADER_LIST_LEN_MAX: u32 = 32 << 10;
/// Bytes that a client may send ahead on a stream of HTTP/2, and on all streams of a connection.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a body over HTTP/1.1 that are in the buffers of the parser before they are asked for: those of
/// one read.
const READ_AHEAD_LEN: usize = 16 << 10;
/// Time between pings of HTTP/2, and for their answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_MAX: Duration = Duration::from_secs(20);

/// The protocols, with their limits.
pub(crate) fn protocols() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .max_headers(HEADER_COUNT_MAX)
        // `Activity` has the limits: this one would run while a connection is idle, too.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_LEN_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_LIST_LEN_MAX)
        .max_send_buf_size(BUFFER_LEN_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_MAX);
    builder
}

/// The protocols for one connection, which may have so many streams of HTTP/2 open at once.
pub(crate) fn protocols_of(
    all: &Builder<TokioExecutor>,
    stream_count: u32,
) -> Builder<TokioExecutor> {
    let mut builder = all.clone();
    builder.http2().max_concurrent_streams(stream_count);
    builder
}

/// Bytes of the body of a request that may come before they are asked for.
pub(crate) fn ahead_len(request: &Request<Incoming>) -> usize {
    let most = match request.version() {
        Version::HTTP_2 => STREAM_WINDOW as usize,
        _ => READ_AHEAD_LEN,
    };
    let body = request.body();
    match body.is_end_stream() {
        true => 0,
        false => body.size_hint().exact().map_or(most, |len| most.min(len as usize)),
    }
}

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The protocol was violated, or the socket failed.
    #[error("the connection failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client was silent or slow for too long.
    #[error("the client was silent or too slow")]
    TooSlow,
}

/// Drives a connection until its end, or until `stop` says that the server stops and the requests in
/// progress are answered.
pub(crate) async fn drive<C>(
    connection: C,
    activity: &Activity,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Ended>
where
    C: GracefulConnection,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut check = pin!(tokio::time::sleep_until(activity.first_request_due()));
    let mut is_ending = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended.map_err(|error| Ended::Failed(error.into())),
            _ = stop.wait_for(|stop| *stop), if !is_ending => {
                is_ending = true;
                activity.stop();
                connection.as_mut().graceful_shutdown();
            }
            () = check.as_mut() => {
                let pause = match activity.verdict() {
                    Verdict::Keep => activity.check_every(),
                    Verdict::SayGoodbye => {
                        is_ending = true;
                        connection.as_mut().graceful_shutdown();
                        GOODBYE_MAX
                    }
                    Verdict::End => return Err(Ended::TooSlow),
                };
                check.as_mut().reset(Instant::now() + pause);
            }
        }
    }
}

/// Runs a handshake within the time that the first request has.
pub(crate) async fn in_time<T>(
    activity: &Activity,
    handshake: impl Future<Output = std::io::Result<T>>,
) -> Result<T, Ended> {
    match tokio::time::timeout_at(activity.first_request_due(), handshake).await {
        Ok(done) => done.map_err(|error| Ended::Failed(error.into())),
        Err(_) => Err(Ended::TooSlow),
    }
}

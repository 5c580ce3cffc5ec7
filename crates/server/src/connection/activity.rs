//! What a connection is doing: its requests in progress, and since when it waits for its client.

use super::STREAM_STALL_MAX;
use crate::admission::Admission;
use bytes::Bytes;
use drystone_base::sync::{Mutex, lock};
use http_body::{Body, Frame, SizeHint};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::time::Instant;

/// Bytes of heads that are not complete, over all connections. Above it a connection that sends more of
/// an incomplete head is closed.
const HEAD_BYTES_MAX: usize = 64 << 20;

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on.
    Keep,
    /// It is idle: it is told to end.
    SayGoodbye,
    /// It is closed at once.
    End,
}

#[derive(Default)]
struct Requests {
    /// Requests whose response has not ended.
    open: usize,
    /// When the last one ended, if one has; `None` before the first.
    idle_since: Option<Instant>,
    /// When the first byte came of a head that is not complete.
    head_since: Option<Instant>,
    was_told: bool,
    last_id: u64,
    /// Responses of HTTP/2 whose last frame was taken from the body, by their number: since when nothing
    /// more was asked of the body. That is so while the client's window is closed.
    waiting: HashMap<u64, Instant>,
}

/// What a connection is doing.
pub(crate) struct Activity {
    admission: Arc<Admission>,
    accepted: Instant,
    requests: Mutex<Requests>,
    is_stopping: AtomicBool,
    /// Bytes that came since the last head was complete, counted in the sum of the admission too.
    head_bytes: AtomicUsize,
}

impl Activity {
    /// A connection that was accepted now.
    pub(crate) fn new(admission: Arc<Admission>) -> Arc<Self> {
        Arc::new(Self {
            admission,
            accepted: Instant::now(),
            requests: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            head_bytes: AtomicUsize::new(0),
        })
    }

    /// When the first head must be complete.
    pub(crate) fn first_request_due(&self) -> Instant {
        self.accepted + self.admission.times.head_max
    }

    /// Time between two looks at the connection.
    pub(super) fn check_every(&self) -> std::time::Duration {
        self.admission.times.check_every()
    }

    /// The server stops.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the socket may be closed without waiting for the client to read what was sent: the server
    /// stops, and no request is in progress.
    pub(super) fn may_close_at_once(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed) && lock(&self.requests).open == 0
    }

    /// Counts bytes that were read. Bytes of a head that does not end are bounded over all connections.
    pub(super) fn note_read(&self, len: usize) -> std::io::Result<()> {
        let mut requests = lock(&self.requests);
        if requests.open > 0 || len == 0 {
            return Ok(());
        }
        requests.head_since.get_or_insert_with(Instant::now);
        drop(requests);
        self.head_bytes.fetch_add(len, Ordering::Relaxed);
        let sum = self.admission.head_bytes.fetch_add(len, Ordering::Relaxed) + len;
        if sum > HEAD_BYTES_MAX {
            let message = "too many bytes of incomplete request heads are held";
            return Err(std::io::Error::new(std::io::ErrorKind::OutOfMemory, message));
        }
        Ok(())
    }

    fn head_is_complete(&self) {
        let len = self.head_bytes.swap(0, Ordering::Relaxed);
        self.admission.head_bytes.fetch_sub(len, Ordering::Relaxed);
    }

    /// The head of a request has come.
    pub(crate) fn begin_request(self: &Arc<Self>) -> RequestGuard {
        self.head_is_complete();
        let mut requests = lock(&self.requests);
        requests.open += 1;
        requests.head_since = None;
        requests.last_id += 1;
        RequestGuard { activity: self.clone(), id: requests.last_id }
    }

    /// What is to become of the connection as it is now.
    pub(super) fn verdict(&self) -> Verdict {
        let now = Instant::now();
        let mut requests = lock(&self.requests);
        let is_old = |since: &Instant, most| now.duration_since(*since) >= most;
        if requests.waiting.values().any(|since| is_old(since, STREAM_STALL_MAX)) {
            return Verdict::End;
        }
        let Some(idle_since) = requests.idle_since.filter(|_| requests.open == 0) else {
            return if requests.open == 0 { Verdict::End } else { Verdict::Keep };
        };
        let is_late =
            requests.head_since.is_some_and(|since| is_old(&since, self.admission.times.head_max));
        if !is_late && !is_old(&idle_since, self.admission.times.idle_max) {
            return Verdict::Keep;
        }
        match std::mem::replace(&mut requests.was_told, true) {
            true => Verdict::End,
            false => Verdict::SayGoodbye,
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.head_is_complete();
    }
}

/// A request in progress: from the end of its head to the end of its response.
pub(crate) struct RequestGuard {
    activity: Arc<Activity>,
    id: u64,
}

impl RequestGuard {
    fn wait_for_client(&self) {
        lock(&self.activity.requests).waiting.insert(self.id, Instant::now());
    }

    fn client_asks(&self) {
        lock(&self.activity.requests).waiting.remove(&self.id);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut requests = lock(&self.activity.requests);
        requests.waiting.remove(&self.id);
        requests.open -= 1;
        requests.idle_since = Some(Instant::now());
    }
}

/// The body of a response, which keeps its request open until it ends. Over HTTP/2 it also says since when
/// the client takes nothing; over HTTP/1.1 the socket says that.
pub(crate) struct Tracked<B> {
    body: B,
    guard: RequestGuard,
    is_http2: bool,
}

impl<B> Tracked<B> {
    /// Tracks a body.
    pub(crate) fn new(body: B, guard: RequestGuard, is_http2: bool) -> Self {
        Self { body, guard, is_http2 }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if this.is_http2 {
            this.guard.client_asks();
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if this.is_http2 && matches!(polled, Poll::Ready(Some(Ok(_)))) {
            this.guard.wait_for_client();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

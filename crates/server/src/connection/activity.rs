//! What a connection is doing: its requests in progress, and since when it waits for its client.

use super::STREAM_STALL_MAX;
use crate::admission::Admission;
use crate::heads::{FREE_LEN, HeadBytes, OPEN_HEAD_LEN, RequestSize, SourceHeads};
use crate::streams::StreamShare;
use bytes::Bytes;
use drystone_base::sync::{Mutex, lock};
use drystone_s3::HeadShare;
use http::header::SERVER;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of a response that are handed to HTTP/2 together. Once it has them, the body is not asked for more
/// before the client has taken most of them, so this is the least that it must take in [`STREAM_STALL_MAX`].
const PIECE_LEN: usize = 16 << 10;
/// Time for which the body of a response may not be ready. It is long, as drives may be late; it ends, as a
/// window that is closed meanwhile is not seen.
const BODY_STALL_MAX: Duration = Duration::from_secs(600);

/// Who is waited for by a response.
#[derive(Clone, Copy)]
enum OfWhom {
    Client,
    Body,
}

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
    /// Bytes that came of it.
    head_len: usize,
    /// Those of them that are counted.
    head_bytes: Option<HeadBytes>,
    /// What a head of HTTP/2 counts that goes on in another frame, also beside other requests.
    open_head: Option<HeadBytes>,
    /// Streams that the connection may have, until it is known to need none.
    streams: Option<StreamShare>,
    was_told: bool,
    last_id: u64,
    /// Responses of HTTP/2 by their number: who is waited for, and since when. That is the client while its
    /// window is closed.
    waiting: HashMap<u64, (OfWhom, Instant)>,
}

/// What a connection is doing.
pub(crate) struct Activity {
    admission: Arc<Admission>,
    accepted: Instant,
    requests: Mutex<Requests>,
    is_stopping: AtomicBool,
    /// Shares of heads of HTTP/2 that are written, but not known to be sent.
    unflushed: Mutex<Vec<HeadShare>>,
    /// What requests of where it comes from hold.
    heads: Arc<SourceHeads>,
}

impl Activity {
    /// A connection that was accepted now, and where it comes from; `None` for a proxy.
    pub(crate) fn new(admission: Arc<Admission>, source: Option<IpAddr>) -> Arc<Self> {
        let heads = admission.heads.of_source(source);
        Arc::new(Self {
            admission,
            accepted: Instant::now(),
            requests: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            unflushed: Mutex::default(),
            heads,
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

    /// All that was written is sent.
    pub(super) fn note_flushed(&self) {
        let sent = std::mem::take(&mut *lock(&self.unflushed));
        drop(sent);
    }

    /// Keeps the share of a head until that is sent. HTTP/2 drops the values of its headers when it writes
    /// them to its buffer, which has no bound of its own, and flushes it then. The value that is chosen is
    /// not compressed against others, for which it would be kept.
    pub(crate) fn keep_head(self: &Arc<Self>, headers: &mut HeaderMap, share: HeadShare) {
        if headers.is_empty() {
            headers.insert(SERVER, HeaderValue::from_static("drystone"));
        }
        let Some(value) = headers.values_mut().next() else { return };
        let bytes = Bytes::copy_from_slice(value.as_bytes());
        let head = Head { bytes, share: Some(share), activity: self.clone() };
        if let Ok(mut bound) = HeaderValue::from_maybe_shared(Bytes::from_owner(head)) {
            bound.set_sensitive(true);
            *value = bound;
        }
    }

    /// Counts bytes that were read. Bytes of a head that does not end are bounded over all connections.
    pub(super) fn note_read(&self, len: usize) -> std::io::Result<()> {
        let mut requests = lock(&self.requests);
        if requests.open > 0 || len == 0 {
            return Ok(());
        }
        requests.head_since.get_or_insert_with(Instant::now);
        requests.head_len += len;
        // Of the bytes that are not free, those that came now.
        let len = len.min(requests.head_len.saturating_sub(FREE_LEN));
        if len == 0 || self.count_head(&mut requests.head_bytes, len) {
            return Ok(());
        }
        let message = "too many bytes of request heads are held";
        Err(std::io::Error::new(std::io::ErrorKind::OutOfMemory, message))
    }

    fn count_head(&self, held: &mut Option<HeadBytes>, len: usize) -> bool {
        match held {
            Some(held) => held.grow(len),
            None => {
                *held = self.heads.hold(len);
                held.is_some()
            }
        }
    }

    /// A head of HTTP/2 goes on in another frame: what it may hold is counted.
    pub(super) fn hold_open_head(&self) -> std::io::Result<()> {
        let mut requests = lock(&self.requests);
        if requests.open_head.is_none() && !self.count_head(&mut requests.open_head, OPEN_HEAD_LEN)
        {
            let message = "too many heads that do not end are held";
            return Err(std::io::Error::new(std::io::ErrorKind::OutOfMemory, message));
        }
        Ok(())
    }

    /// It ended, and is a request.
    pub(super) fn release_open_head(&self) {
        lock(&self.requests).open_head = None;
    }

    /// Keeps the streams of the connection.
    pub(crate) fn keep_streams(&self, share: StreamShare) {
        lock(&self.requests).streams = Some(share);
    }

    /// The head of a request has come.
    pub(crate) fn begin_request(self: &Arc<Self>, is_http2: bool) -> RequestGuard {
        let mut requests = lock(&self.requests);
        if !is_http2 {
            requests.streams = None;
        }
        requests.open += 1;
        (requests.head_since, requests.head_len, requests.head_bytes) = (None, 0, None);
        requests.last_id += 1;
        RequestGuard { activity: self.clone(), id: requests.last_id, head: None }
    }

    /// What is to become of the connection as it is now.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict_at(Instant::now())
    }

    fn verdict_at(&self, now: Instant) -> Verdict {
        let mut requests = lock(&self.requests);
        let is_old = |since: &Instant, most| now.duration_since(*since) >= most;
        let is_stalled = |(of, since): &(OfWhom, Instant)| match of {
            OfWhom::Client => is_old(since, STREAM_STALL_MAX),
            OfWhom::Body => is_old(since, BODY_STALL_MAX),
        };
        if requests.waiting.values().any(is_stalled) {
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

/// A value of a head that is not written yet.
struct Head {
    bytes: Bytes,
    share: Option<HeadShare>,
    activity: Arc<Activity>,
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        lock(&self.activity.unflushed).extend(self.share.take());
    }
}

/// A request in progress: from the end of its head to the end of its response.
pub(crate) struct RequestGuard {
    activity: Arc<Activity>,
    id: u64,
    /// What is counted until nothing of it is held any more.
    head: Option<HeadBytes>,
}

impl RequestGuard {
    /// Counts what serving the request holds, until it is released or ends. False if too many bytes are held.
    pub(crate) fn hold(&mut self, size: RequestSize) -> bool {
        self.activity.count_head(&mut self.head, size.bytes())
    }

    /// The answer is there and holds nothing of the request: its bytes are counted elsewhere.
    fn release(&mut self) {
        self.head = None;
    }

    /// Over HTTP/2: from now on the client, or the body, is waited for.
    fn note(&self, turn: OfWhom) {
        lock(&self.activity.requests).waiting.insert(self.id, (turn, Instant::now()));
    }

    /// The client took something.
    fn note_taken(&self) {
        if let Some((_, since)) = lock(&self.activity.requests).waiting.get_mut(&self.id) {
            *since = Instant::now();
        }
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

/// The body of a response, which keeps its request open until its last byte was taken. Over HTTP/2 it also
/// says since when the client takes nothing; over HTTP/1.1 the socket says that.
pub(crate) struct Tracked<B> {
    body: B,
    guard: Arc<RequestGuard>,
    is_http2: bool,
    /// What the body gave and the connection has not asked for yet.
    rest: Bytes,
}

/// A piece of a response over HTTP/2, which keeps its request open until the connection has sent it.
struct Piece {
    bytes: Bytes,
    guard: Arc<RequestGuard>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.guard.note_taken();
    }
}

impl<B> Tracked<B> {
    /// Tracks a body.
    fn new(body: B, guard: RequestGuard, is_http2: bool) -> Self {
        Self { body, guard: Arc::new(guard), is_http2, rest: Bytes::new() }
    }

    /// Tracks the body of an answer, which holds nothing of its request any more, or does until it ends.
    pub(crate) fn of_answer(
        body: B,
        mut guard: RequestGuard,
        is_http2: bool,
        holds_request: bool,
    ) -> Self {
        if !holds_request {
            guard.release();
        }
        Self::new(body, guard, is_http2)
    }

    fn piece(&mut self) -> Bytes {
        self.guard.note(OfWhom::Client);
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_LEN));
        Bytes::from_owner(Piece { bytes, guard: self.guard.clone() })
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
        if !this.is_http2 {
            return Pin::new(&mut this.body).poll_frame(cx);
        }
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(this.piece()))));
        }
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => {
                this.guard.note(OfWhom::Body);
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(frame))) => frame,
            ended => return ended,
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(bytes) => {
                this.rest = bytes;
                Frame::data(this.piece())
            }
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        match body.exact() {
            Some(len) => SizeHint::with_exact(rest + len),
            None => body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::ConnectionLimits;
    use crate::connection::TimeLimits;
    use std::future::poll_fn;

    const SIZE: RequestSize = RequestSize { head_len: 9, header_count: 2, ahead_len: 7 };

    struct Once(Option<Bytes>);

    impl Body for Once {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_none()
        }
    }

    fn activity() -> Arc<Activity> {
        let limits = ConnectionLimits::of_descriptors(64, 0);
        let (head_max, idle_max) = (STREAM_STALL_MAX * 9, STREAM_STALL_MAX * 9);
        let times = TimeLimits { head_max, idle_max };
        Activity::new(Admission::new(limits, times, 0, Arc::default()), None)
    }

    async fn next(body: &mut Tracked<Once>) -> Option<Bytes> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        frame.expect("no error").into_data().ok()
    }

    #[tokio::test]
    async fn a_request_of_http2_is_open_until_its_last_piece_is_sent() {
        let (activity, begun) = (activity(), Instant::now());
        let answer = Once(Some(Bytes::from(vec![1; PIECE_LEN + 1])));
        let mut body = Tracked::new(answer, activity.begin_request(true), true);
        let first = next(&mut body).await.expect("a piece");
        let last = next(&mut body).await.expect("a piece");
        assert_eq!((first.len(), last.len(), body.is_end_stream()), (PIECE_LEN, 1, true));
        drop((first, body));
        assert_eq!(lock(&activity.requests).open, 1);
        assert_eq!(activity.verdict_at(begun + STREAM_STALL_MAX / 2), Verdict::Keep);
        let late = Instant::now() + STREAM_STALL_MAX;
        assert_eq!(activity.verdict_at(late), Verdict::End, "it is not taken");
        drop(last);
        assert_eq!(activity.verdict_at(late), Verdict::Keep);
        let requests = lock(&activity.requests);
        assert!(requests.open == 0 && requests.waiting.is_empty());
    }

    #[tokio::test]
    async fn each_piece_that_a_client_of_http2_takes_gives_it_more_time() {
        let activity = activity();
        let answer = Once(Some(Bytes::from(vec![1; 3 * PIECE_LEN])));
        let mut body = Tracked::new(answer, activity.begin_request(true), true);
        let first = next(&mut body).await.expect("a piece");
        let _second = next(&mut body).await.expect("a piece");
        let late = Instant::now() + STREAM_STALL_MAX;
        assert_eq!(activity.verdict_at(late), Verdict::End);
        tokio::time::sleep(Duration::from_millis(2)).await;
        drop(first);
        assert_eq!(activity.verdict_at(late), Verdict::Keep);
    }

    #[tokio::test]
    async fn a_request_counts_from_its_head_to_its_answer() {
        let limits = ConnectionLimits::of_descriptors(64, 0);
        let admission = Admission::new(limits, TimeLimits::default(), 0, Arc::default());
        let counted = || admission.heads.total();
        let activity = Activity::new(admission.clone(), None);
        for (len, sum) in [(FREE_LEN - 1, 0), (1, 0), (1, 1), (5000, 5001)] {
            activity.note_read(len).expect("within the bound");
            assert_eq!(counted(), sum);
        }
        let mut request = activity.begin_request(false);
        assert_eq!(counted(), 0);
        assert!(request.hold(SIZE) && counted() == SIZE.bytes());
        activity.note_read(1 << 20).expect("a body");
        request.release();
        assert_eq!(counted(), 0);
        drop(request);
        activity.note_read(FREE_LEN + 7).expect("the next head");
        assert_eq!(counted(), 7);
        assert!(activity.note_read(64 << 20).is_err());
        drop(activity);
        assert_eq!(counted(), 0);
    }

    /// Of a copy that goes on after its status, and of what is done.
    #[tokio::test]
    async fn an_answer_counts_its_request_for_as_long_as_that_is_worked_on() {
        let limits = ConnectionLimits::of_descriptors(64, 0);
        let admission = Admission::new(limits, TimeLimits::default(), 0, Arc::default());
        let activity = Activity::new(admission.clone(), None);
        for (is_http2, holds_request) in
            [(false, true), (true, true), (false, false), (true, false)]
        {
            let mut request = activity.begin_request(false);
            assert!(request.hold(SIZE));
            let answer = Once(Some(Bytes::from_static(b"x")));
            let mut body = Tracked::of_answer(answer, request, is_http2, holds_request);
            let expected = if holds_request { SIZE.bytes() } else { 0 };
            assert_eq!(admission.heads.total(), expected);
            drop(next(&mut body).await.expect("a piece"));
            assert_eq!(admission.heads.total(), expected);
            drop(body);
            assert_eq!(admission.heads.total(), 0);
        }
    }
}

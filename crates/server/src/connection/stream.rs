//! A socket that does not wait for its client without end, and lets it read the last answer.

use super::activity::Activity;
use super::pace::{STALL_MAX, WritePace};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Time for the client to read the last answer. A socket that is closed while bytes of the client are unread
/// is reset, and the answer is lost with it (RFC 9112, section 9.6).
const LINGER_MAX: Duration = Duration::from_secs(2);
/// Bytes that are read and dropped meanwhile.
const LINGER_LEN_MAX: usize = 64 << 20;

/// Time limits of a socket.
#[derive(Clone, Copy)]
pub(crate) struct StreamLimits {
    /// Time for which the client may take nothing of what is sent.
    stall_max: Duration,
    /// Time for which the socket waits for the client to close it.
    linger_max: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { stall_max: STALL_MAX, linger_max: LINGER_MAX }
    }
}

/// A head and a small body are written as one piece: to copy them costs less than to hand the kernel a list.
const JOINED_LEN: usize = 6 << 10;

/// Small slices as one piece; `None` if they are long, or one alone.
fn join<'a>(slices: &[IoSlice<'_>], joined: &'a mut [u8; JOINED_LEN]) -> Option<&'a [u8]> {
    let len: usize = slices.iter().map(|slice| slice.len()).sum();
    if slices.len() == 1 || len > JOINED_LEN {
        return None;
    }
    let mut rest = &mut joined[..len];
    for slice in slices {
        let (place, after) = rest.split_at_mut(slice.len());
        place.copy_from_slice(slice);
        rest = after;
    }
    Some(&joined[..len])
}

enum Closing {
    Open,
    /// The answer is sent; what the client still sends is dropped.
    Lingering {
        dropped_len: usize,
    },
}

/// A socket of a client.
pub(crate) struct ClientStream<S> {
    inner: S,
    activity: Arc<Activity>,
    pace: WritePace,
    linger_max: Duration,
    /// Runs while the socket is full, or lingers.
    timer: Option<Pin<Box<Sleep>>>,
    has_ended: bool,
    closing: Closing,
}

impl<S> ClientStream<S> {
    /// Wraps a socket.
    pub(crate) fn new(inner: S, activity: Arc<Activity>, limits: StreamLimits) -> Self {
        let StreamLimits { stall_max, linger_max } = limits;
        let (pace, closing) = (WritePace::new(stall_max), Closing::Open);
        Self { inner, activity, pace, linger_max, timer: None, has_ended: false, closing }
    }

    /// Judges an attempt to write.
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(len)) => {
                let slow = |slow| io::Error::new(io::ErrorKind::TimedOut, slow);
                self.pace.note_taken(len, Instant::now).map_err(slow)?;
                Poll::Ready(Ok(len))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let now = Instant::now();
                let due = self.pace.note_full(now);
                let timer =
                    self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
                // The timer is not set again for every full socket, only when it fires too early.
                while timer.as_mut().poll(cx).is_ready() {
                    if now >= due {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    timer.as_mut().reset(due);
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let len = buf.filled().len() - before;
        this.has_ended |= len == 0 && buf.remaining() > 0;
        this.activity.note_read(len)?;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.judge(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let inner = Pin::new(&mut this.inner);
        let mut joined = [0; JOINED_LEN];
        let written = match join(slices, &mut joined) {
            Some(joined) => inner.poll_write(cx, joined),
            None => inner.poll_write_vectored(cx, slices),
        };
        this.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.activity.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.closing, Closing::Open) {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            this.timer = Some(Box::pin(tokio::time::sleep(this.linger_max)));
            this.closing = Closing::Lingering { dropped_len: 0 };
        }
        let (Closing::Lingering { dropped_len }, Some(timer)) =
            (&mut this.closing, &mut this.timer)
        else {
            return Poll::Ready(Ok(()));
        };
        if this.has_ended || this.activity.may_close_at_once() || timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        let mut space = [0; 16 << 10];
        loop {
            let mut buf = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf));
            *dropped_len += buf.filled().len();
            if read.is_err() || buf.filled().is_empty() || *dropped_len > LINGER_LEN_MAX {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Admission, ConnectionLimits};
    use crate::connection::TimeLimits;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    /// A socket that holds 1 KiB, and its client.
    fn stream(
        stall_max: Duration,
        linger_max: Duration,
    ) -> (ClientStream<DuplexStream>, DuplexStream) {
        let limits = ConnectionLimits::of_descriptors(64, 0);
        let times = TimeLimits { head_max: LONG, idle_max: LONG };
        let activity = Activity::new(Admission::new(limits, times, 0, Arc::default()), None);
        let (server, client) = tokio::io::duplex(1024);
        (ClientStream::new(server, activity, StreamLimits { stall_max, linger_max }), client)
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_let_go() {
        let (mut server, client) = stream(SHORT, LONG);
        let begun = Instant::now();
        let error = server.write_all(&[0; 4096]).await.expect_err("the client is silent");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= SHORT);
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_is_served() {
        let (mut server, mut client) = stream(LONG, LONG);
        let reading = tokio::spawn(async move {
            let (mut len, mut piece) = (0, [0; 512]);
            while let Ok(read @ 1..) = client.read(&mut piece).await {
                len += read;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            len
        });
        server.write_all(&[0; 64 << 10]).await.expect("slow, but never silent");
        drop(server);
        assert_eq!(reading.await.expect("no panic"), 64 << 10);
    }

    #[tokio::test]
    async fn the_last_answer_waits_for_a_client_that_still_sends() {
        let (mut server, mut client) = stream(LONG, LONG);
        server.write_all(b"refused").await.expect("written");
        let sending = tokio::spawn(async move {
            client.write_all(&[0; 64 << 10]).await.expect("is taken until it ends");
            let mut answer = [0; 7];
            client.read_exact(&mut answer).await.expect("an answer");
            answer
        });
        server.shutdown().await.expect("the client closed");
        assert_eq!(&sending.await.expect("no panic"), b"refused");
    }

    #[tokio::test]
    async fn a_client_that_never_closes_is_not_waited_for_without_end() {
        let (mut server, client) = stream(LONG, SHORT);
        let begun = Instant::now();
        server.shutdown().await.expect("shut");
        assert!(begun.elapsed() >= SHORT);
        drop(client);
    }
}

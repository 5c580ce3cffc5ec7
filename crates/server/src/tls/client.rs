//! A connection over TLS whose client may take nothing.
//!
//! What is encrypted is held until the socket takes it, and counts in no budget: the share of the body that
//! it came from may be free by then. So as much as rustls would hold, 64 KiB, is left to a few connections at
//! a time; a client that reads needs it for microseconds. Others hold 4 KiB, and write in smaller pieces.

use super::handshake::Handshakes;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Bytes that a connection holds while there is room for that.
const LONG_LEN: usize = 64 << 10;
/// Bytes that it holds otherwise.
const SHORT_LEN: usize = 4 << 10;
/// Of the byte budget, as much as all that hold many have together, besides it.
const BUDGET_PART: u64 = 8;

/// Room for what is encrypted and not taken.
#[derive(Clone)]
struct Room(Arc<Semaphore>);

impl Room {
    /// An eighth of the byte budget.
    fn new(budget_bytes: u64) -> Self {
        let count = budget_bytes / BUDGET_PART / LONG_LEN as u64;
        Self(Arc::new(Semaphore::new(count.min(1 << 16) as usize)))
    }
}

/// What all connections over TLS share.
#[derive(Clone)]
pub(super) struct Terms {
    handshakes: Handshakes,
    room: Room,
}

impl Terms {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self { handshakes: Handshakes::new(), room: Room::new(budget_bytes) }
    }
}

/// Accepts one connection.
pub(crate) struct Acceptor {
    tls: TlsAcceptor,
    terms: Terms,
}

impl Acceptor {
    pub(super) fn new(tls: TlsAcceptor, terms: Terms) -> Self {
        Self { tls, terms }
    }

    /// Runs the handshake of a connection; sources take turns.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        stream: S,
        source: IpAddr,
    ) -> io::Result<TlsClient<S>> {
        let Terms { handshakes, room } = self.terms;
        let stream = handshakes.run(source, self.tls.accept(stream)).await?;
        Ok(TlsClient { inner: stream, room, permit: None })
    }
}

/// A connection over TLS.
pub(crate) struct TlsClient<S> {
    inner: TlsStream<S>,
    room: Room,
    /// The right to hold many bytes, for as long as some are held.
    permit: Option<OwnedSemaphorePermit>,
}

impl<S> TlsClient<S> {
    pub(super) fn inner(&self) -> &TlsStream<S> {
        &self.inner
    }
}

impl<S: Unpin> TlsClient<S> {
    /// Before bytes are encrypted: how many may be.
    fn before(&mut self) {
        if self.permit.is_none() {
            self.permit = self.room.0.clone().try_acquire_owned().ok();
            let len = if self.permit.is_some() { LONG_LEN } else { SHORT_LEN };
            self.inner.get_mut().1.set_buffer_limit(Some(len));
        }
    }

    /// Uses the connection below, and returns the room once nothing is held.
    fn with_inner<T>(&mut self, act: impl FnOnce(Pin<&mut TlsStream<S>>) -> T) -> T {
        let done = act(Pin::new(&mut self.inner));
        if self.permit.is_some() && !self.inner.get_ref().1.wants_write() {
            self.permit = None;
        }
        done
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsClient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsClient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.before();
        this.with_inner(|inner| inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.before();
        this.with_inner(|inner| inner.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().with_inner(|inner| inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().with_inner(|inner| inner.poll_shutdown(cx))
    }
}

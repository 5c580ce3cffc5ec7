//! What a connection sends, as the protocols read it: in pieces of a bounded length, and with a look at heads
//! of HTTP/2 that do not end.
//!
//! The parser of HTTP/2 decodes the frames of a head as they come, and a byte of them may stand for a
//! hundred in memory (RFC 7541: a header that is named by its index). A head that fits into one frame is a
//! request at once, and counts as one. One that waits for another frame is counted here.

use super::activity::Activity;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at once. Parsers double their buffer when a read has filled it.
const READ_LEN_MAX: usize = 16 << 10;
/// How a connection of HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of the head of a frame (RFC 9113, section 4.1).
const FRAME_HEAD_LEN: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where in its frames a connection is.
enum Place {
    /// So many bytes were those of the preface.
    Preface(usize),
    /// In the head of a frame.
    Head([u8; FRAME_HEAD_LEN], usize),
    /// So many bytes of a frame are still to come.
    Payload(usize),
    /// It is not HTTP/2.
    Other,
}

/// What a frame says of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It goes on in another frame.
    Open,
    /// It ends with this frame.
    Closed,
}

impl Place {
    /// Goes on by what was read, and returns what the last frame of a head in it says.
    fn advance(&mut self, mut bytes: &[u8]) -> Option<Seen> {
        let mut seen = None;
        while !bytes.is_empty() {
            match self {
                Self::Other => return seen,
                Self::Preface(known) => {
                    let len = bytes.len().min(PREFACE.len() - *known);
                    if bytes[..len] != PREFACE[*known..*known + len] {
                        *self = Self::Other;
                        return seen;
                    }
                    *known += len;
                    bytes = &bytes[len..];
                    if *known == PREFACE.len() {
                        *self = Self::Head([0; FRAME_HEAD_LEN], 0);
                    }
                }
                Self::Head(head, known) => {
                    let len = bytes.len().min(FRAME_HEAD_LEN - *known);
                    head[*known..*known + len].copy_from_slice(&bytes[..len]);
                    *known += len;
                    bytes = &bytes[len..];
                    if *known == FRAME_HEAD_LEN {
                        let [a, b, c, kind, flags, ..] = *head;
                        if matches!(kind, HEADERS | CONTINUATION) {
                            let is_end = flags & END_HEADERS != 0;
                            seen = Some(if is_end { Seen::Closed } else { Seen::Open });
                        }
                        *self = Self::Payload(u32::from_be_bytes([0, a, b, c]) as usize);
                    }
                }
                Self::Payload(left) => {
                    let len = bytes.len().min(*left);
                    *left -= len;
                    bytes = &bytes[len..];
                }
            }
            if matches!(self, Self::Payload(0)) {
                *self = Self::Head([0; FRAME_HEAD_LEN], 0);
            }
        }
        seen
    }
}

/// A stream of a client, decrypted.
pub(crate) struct Inbound<S> {
    inner: S,
    activity: Arc<Activity>,
    place: Place,
}

impl<S> Inbound<S> {
    pub(crate) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity, place: Place::Preface(0) }
    }

    fn note(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.place.advance(bytes) {
            None => Ok(()),
            Some(Seen::Open) => self.activity.hold_open_head(),
            Some(Seen::Closed) => {
                self.activity.release_open_head();
                Ok(())
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inbound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if buf.remaining() <= READ_LEN_MAX {
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        } else {
            let mut piece = ReadBuf::new(buf.initialize_unfilled_to(READ_LEN_MAX));
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut piece))?;
            let len = piece.filled().len();
            buf.advance(len);
        }
        Poll::Ready(this.note(&buf.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inbound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
        let [_, a, b, c] = (len as u32).to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1][..], &vec![kind; len]].concat()
    }

    /// Goal: a head is open from a frame without its end to the one that ends it, however the bytes are cut.
    /// Method: frames of several kinds and lengths, in pieces of each length.
    #[test]
    fn a_head_is_open_until_its_last_frame() {
        let frames = [
            (frame(4, 0, 0), None),
            (frame(HEADERS, END_HEADERS | 1, 20), Some(Seen::Closed)),
            (frame(0, END_HEADERS, 300), None),
            (frame(HEADERS, 1, 30), Some(Seen::Open)),
            (frame(CONTINUATION, 0, 0), Some(Seen::Open)),
            (frame(CONTINUATION, END_HEADERS, 7), Some(Seen::Closed)),
            (frame(6, 1, 8), None),
        ];
        for piece in 1..400 {
            let mut place = Place::Preface(0);
            let mut last = None;
            for chunk in PREFACE.chunks(piece) {
                assert_eq!(place.advance(chunk), None);
            }
            for (frame, expected) in &frames {
                let mut seen = None;
                for chunk in frame.chunks(piece) {
                    seen = place.advance(chunk).or(seen);
                }
                assert_eq!(seen, *expected, "{piece}");
                last = seen.or(last);
            }
            assert!(matches!(place, Place::Head(_, 0)));
            let mut whole = Place::Preface(0);
            let all: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
            assert_eq!(whole.advance(&[PREFACE, &all].concat()), last);
        }
        let mut other = Place::Preface(0);
        assert_eq!(other.advance(b"PRI * HTTP/1.1\r\n"), None);
        assert!(matches!(other, Place::Other));
    }
}

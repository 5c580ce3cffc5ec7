//! What a connection sends, as the protocols read it: in pieces of a bounded length, and with a look at heads
//! of HTTP/2 that do not end.
//!
//! The parser of HTTP/2 decodes the frames of a head as they come, and a byte of them may stand for a
//! hundred in memory (RFC 7541: a header that is named by its index). A head that fits into one frame is a
//! request at once, and counts as one. One that waits for another frame is counted here.
//!
//! Two kinds of heads are refused, and end the connection: those of promised answers, which no client may
//! send (RFC 9113, section 8.4), and those behind a body. S3 reads no trailers of HTTP/2, and the parser
//! keeps them for as long as the answer is not taken.

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
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where in its frames a connection is.
#[derive(Debug, PartialEq, Eq)]
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
    /// It is none of a request.
    Refused,
}

/// The frames of a connection.
struct Frames {
    place: Place,
    /// The highest stream that a head has begun: each new one has a higher number.
    last_stream: u32,
}

impl Frames {
    fn new() -> Self {
        Self { place: Place::Preface(0), last_stream: 0 }
    }

    /// Goes on by what was read, and returns what the last frame of a head in it says, or that one of them
    /// is refused.
    fn advance(&mut self, mut bytes: &[u8]) -> Option<Seen> {
        let mut seen = None;
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Other => return seen,
                Place::Preface(known) => {
                    let len = bytes.len().min(PREFACE.len() - *known);
                    if bytes[..len] != PREFACE[*known..*known + len] {
                        self.place = Place::Other;
                        return seen;
                    }
                    *known += len;
                    bytes = &bytes[len..];
                    if *known == PREFACE.len() {
                        self.place = Place::Head([0; FRAME_HEAD_LEN], 0);
                    }
                }
                Place::Head(head, known) => {
                    let len = bytes.len().min(FRAME_HEAD_LEN - *known);
                    head[*known..*known + len].copy_from_slice(&bytes[..len]);
                    *known += len;
                    bytes = &bytes[len..];
                    if *known == FRAME_HEAD_LEN {
                        let head = *head;
                        let [a, b, c, ..] = head;
                        self.place = Place::Payload(u32::from_be_bytes([0, a, b, c]) as usize);
                        seen = self.judge(head).or(seen);
                        if seen == Some(Seen::Refused) {
                            return seen;
                        }
                    }
                }
                Place::Payload(left) => {
                    let len = bytes.len().min(*left);
                    *left -= len;
                    bytes = &bytes[len..];
                }
            }
            if self.place == Place::Payload(0) {
                self.place = Place::Head([0; FRAME_HEAD_LEN], 0);
            }
        }
        seen
    }

    /// What a frame says by its head.
    fn judge(&mut self, head: [u8; FRAME_HEAD_LEN]) -> Option<Seen> {
        let [_, _, _, kind, flags, a, b, c, d] = head;
        let stream = u32::from_be_bytes([a & 0x7F, b, c, d]);
        match kind {
            PUSH_PROMISE => return Some(Seen::Refused),
            HEADERS if stream <= self.last_stream => return Some(Seen::Refused),
            HEADERS => self.last_stream = stream,
            CONTINUATION => {}
            _ => return None,
        }
        Some(if flags & END_HEADERS != 0 { Seen::Closed } else { Seen::Open })
    }
}

/// A stream of a client, decrypted.
pub(crate) struct Inbound<S> {
    inner: S,
    activity: Arc<Activity>,
    frames: Frames,
}

impl<S> Inbound<S> {
    pub(crate) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity, frames: Frames::new() }
    }

    fn note(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.frames.advance(bytes) {
            None => Ok(()),
            Some(Seen::Refused) => {
                let message = "a head of HTTP/2 that is none of a request";
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
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

    fn frame(stream: u8, kind: u8, flags: u8, len: usize) -> Vec<u8> {
        let [_, a, b, c] = (len as u32).to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, stream][..], &vec![kind; len]].concat()
    }

    /// Goal: a head is open from a frame without its end to the one that ends it, however the bytes are cut.
    /// Method: frames of several kinds and lengths, in pieces of each length.
    #[test]
    fn a_head_is_open_until_its_last_frame() {
        let frames = [
            (frame(0, 4, 0, 0), None),
            (frame(1, HEADERS, END_HEADERS | 1, 20), Some(Seen::Closed)),
            (frame(1, 0, END_HEADERS, 300), None),
            (frame(3, HEADERS, 1, 30), Some(Seen::Open)),
            (frame(3, CONTINUATION, 0, 0), Some(Seen::Open)),
            (frame(3, CONTINUATION, END_HEADERS, 7), Some(Seen::Closed)),
            (frame(0, 6, 1, 8), None),
        ];
        for piece in 1..400 {
            let mut place = Frames::new();
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
            assert!(matches!(place.place, Place::Head(_, 0)));
            let mut whole = Frames::new();
            let all: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
            assert_eq!(whole.advance(&[PREFACE, &all].concat()), last);
        }
        let mut other = Frames::new();
        assert_eq!(other.advance(b"PRI * HTTP/1.1\r\n"), None);
        assert_eq!(other.place, Place::Other);
        for refused in [frame(3, HEADERS, END_HEADERS | 1, 5), frame(3, PUSH_PROMISE, 0, 5)] {
            let mut frames = Frames::new();
            let first = frame(3, HEADERS, END_HEADERS, 5);
            let next = frame(5, HEADERS, END_HEADERS, 5);
            let all = [PREFACE, &first, &refused, &next].concat();
            assert_eq!(frames.advance(&all), Some(Seen::Refused));
        }
    }
}

//! A body that is sent as fast as it is taken, or slowly.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Bytes that a slow client sends at a time, and the pause between two times: 256 KiB/s.
const PIECE_LEN: usize = 32 << 10;
const PAUSE: Duration = Duration::from_millis(125);

/// How fast a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as it goes.
    Fast,
    /// 256 KiB/s.
    Slow,
}

/// The body.
pub(crate) struct Paced {
    rest: Bytes,
    pace: Pace,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(crate) fn new(bytes: Bytes, pace: Pace) -> Self {
        Self { rest: bytes, pace, pause: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = match self.pace {
            Pace::Fast => std::mem::take(&mut self.rest),
            Pace::Slow => {
                if let Some(pause) = &mut self.pause {
                    ready!(pause.as_mut().poll(context));
                }
                self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                let len = self.rest.len().min(PIECE_LEN);
                self.rest.split_to(len)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

//! The one way out for answers of all surfaces: none leaves that holds memory which nothing counts.
//!
//! An answer that is made in memory has a share of the byte budget, as the bytes of an object have, until
//! the connection has taken its last byte. Only what is small goes without, over HTTP/1.1, where a
//! connection has one answer at a time. Over HTTP/2 a client opens streams and leaves their windows closed,
//! so each counts.
//!
//! What makes large answers reserves their share before (`Context::list`). Others are made first: a share
//! that is not free is then waited for by a few of them at a time.

use crate::consumer::of_identity;
use crate::response::{ResponseBody, SMALL_LEN_MAX};
use bytes::Bytes;
use drystone_engine::{Engine, EngineError, Share};
use drystone_identity::Identity;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::Semaphore;

/// What a stream of HTTP/2 holds besides its body while its answer is not taken.
const STREAM_LEN: u64 = 4 << 10;
/// Large answers that wait for a share, with bytes that count for no one.
static LARGE_WAITING: Semaphore = Semaphore::const_new(4);

/// The body of an answer whose memory is counted.
pub struct OutBody(ResponseBody);

/// To whom an answer goes, and over what.
#[derive(Clone, Copy)]
pub struct Receiver<'a> {
    /// Whose bytes it counts among; without an identity, those of its address.
    pub identity: Option<&'a Identity>,
    /// Address of the client.
    pub address: IpAddr,
    /// It is one of many streams.
    pub is_http2: bool,
    /// Where the bytes are counted.
    pub engine: &'a Engine,
}

impl Receiver<'_> {
    /// Lets an answer out. If there is no share for it in time, it becomes `503` without a body.
    pub async fn send(self, answer: Response<ResponseBody>) -> Response<OutBody> {
        let (mut head, body) = answer.into_parts();
        let ResponseBody::Full(Some(bytes)) = body else {
            return Response::from_parts(head, OutBody(body));
        };
        let is_small = bytes.len() <= SMALL_LEN_MAX;
        if is_small && (!self.is_http2 || bytes.is_empty()) {
            return Response::from_parts(head, OutBody(ResponseBody::Full(Some(bytes))));
        }
        let body = match self.reserve(bytes.len() as u64, is_small).await {
            Ok(share) => ResponseBody::counted(bytes, share),
            Err(_) => {
                drop(bytes);
                head.status = StatusCode::SERVICE_UNAVAILABLE;
                head.headers.remove(http::header::CONTENT_LENGTH);
                head.headers.remove(http::header::CONTENT_TYPE);
                head.headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
                ResponseBody::empty()
            }
        };
        Response::from_parts(head, OutBody(body))
    }

    async fn reserve(self, len: u64, is_small: bool) -> Result<Share, EngineError> {
        let len = len + if self.is_http2 { STREAM_LEN } else { 0 };
        let engine = self.engine.for_consumer(of_identity(self.identity, self.address));
        if is_small {
            return engine.reserve_answer(len).await;
        }
        if let Some(share) = engine.try_reserve_answer(len) {
            return Ok(share);
        }
        let _turn = LARGE_WAITING.try_acquire().map_err(|_| EngineError::Busy)?;
        engine.reserve_answer(len).await
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = EngineError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        Pin::new(&mut self.get_mut().0).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

//! The one way out for answers of all surfaces: none leaves that holds memory which nothing counts.
//!
//! An answer that is made in memory has a share of the byte budget, as the bytes of an object have, until
//! the connection has taken its last byte. Only what is small goes without, over HTTP/1.1, where a
//! connection has one answer at a time. Over HTTP/2 a client opens streams and leaves their windows closed,
//! or reads nothing at all, so each counts, with its head.
//!
//! What makes large answers reserves their share before (`Context::list`), and so does every request over
//! HTTP/2 that may change something (`room_len`): it is not refused for want of memory when that is done.
//! Other answers are made first: a share that is not free is then waited for by a few of them at a time.

use crate::consumer::of_identity;
use crate::cors::EXPOSED_LEN_MAX;
use crate::response::{ResponseBody, SMALL_LEN_MAX};
use bytes::Bytes;
use drystone_engine::{Engine, EngineError, Share};
use drystone_identity::Identity;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::{Semaphore, SemaphorePermit};

/// What a stream of HTTP/2 holds besides its answer until that is taken.
const STREAM_LEN: usize = 4 << 10;
/// Bytes of the head of an answer, without what it repeats of the request and what pages may read.
const HEAD_LEN: usize = 4 << 10;
/// Bytes of headers of a request that its answer may repeat within [`HEAD_LEN`].
const REPEATED_LEN: usize = 2 << 10;
/// Times that a body of an administration may be longer in its answer: URLs encode a byte as three.
const ECHO_FACTOR: usize = 3;
/// Large answers that wait for a share, with bytes that count for no one.
static LARGE_WAITING: Semaphore = Semaphore::const_new(4);
/// Refusals over HTTP/2 for which there is no share, and that are not sent yet.
static REFUSALS: Semaphore = Semaphore::const_new(1024);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// What a request over HTTP/2 reserves for its answer, before it has an effect. What changes something
/// answers no more than this.
pub(crate) fn room_len(parts: &Parts, headers_len: usize) -> Option<u64> {
    if parts.version != Version::HTTP_2 {
        return None;
    }
    let has = |name: &str| parts.headers.contains_key(name);
    let repeated = if headers_len > REPEATED_LEN { headers_len } else { 0 };
    let exposed = if has("origin") { EXPOSED_LEN_MAX + HEAD_LEN } else { 0 };
    let has_document = parts.method == Method::POST || has("x-amz-copy-source");
    let document = if has_document { SMALL_LEN_MAX } else { 0 };
    Some((STREAM_LEN + HEAD_LEN + repeated + exposed + document) as u64)
}

/// The same of a request to another service, with a body of so many bytes.
pub(crate) fn service_room_len(method: &Method, version: Version, body_len: usize) -> Option<u64> {
    let repeated = ECHO_FACTOR * body_len;
    let is_http2 = version == Version::HTTP_2;
    if matches!(*method, Method::GET | Method::HEAD) || !is_http2 && repeated <= SMALL_LEN_MAX {
        return None;
    }
    let stream = if is_http2 { STREAM_LEN + HEAD_LEN } else { 0 };
    Some((stream + SMALL_LEN_MAX + repeated) as u64)
}

/// What counts the head of an answer over HTTP/2, until it is sent.
pub struct HeadShare {
    _held: Held,
}

enum Held {
    Share {
        _share: Share,
    },
    /// There is no share: this is one of few refusals.
    Refusal {
        _permit: SemaphorePermit<'static>,
    },
}

/// Bytes of the headers of a request or an answer.
#[must_use]
pub fn headers_len(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// The share that a request has reserved, if it is enough, or more is free.
fn fitting(room: Option<Share>, len: u64) -> Option<Share> {
    let mut share = room?;
    if share.bytes() < len && !share.try_grow(len - share.bytes()) {
        return None;
    }
    share.keep(len);
    Some(share)
}

/// The body of an answer whose memory is counted.
pub struct OutBody {
    body: ResponseBody,
    head: Option<HeadShare>,
}

impl OutBody {
    /// What counts the head over HTTP/2: it is for the connection to keep until it has sent the head.
    pub fn take_head_share(&mut self) -> Option<HeadShare> {
        self.head.take()
    }

    /// The request is still worked on after its status: its headers are held until the body ends.
    #[must_use]
    pub fn holds_request(&self) -> bool {
        matches!(self.body, ResponseBody::Pending(_))
    }
}

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
    /// Lets an answer out, in the room that its request has reserved. If there is no share for it in time, it
    /// becomes `503` without a body; over HTTP/2, while many of those are not sent, `None`: the stream ends.
    pub async fn send(
        self,
        room: Option<Share>,
        answer: Response<ResponseBody>,
    ) -> Option<Response<OutBody>> {
        let (mut head, body) = answer.into_parts();
        let (is_made, body_len) = match &body {
            ResponseBody::Full(bytes) => (true, bytes.as_ref().map_or(0, Bytes::len)),
            _ => (false, 0),
        };
        if !self.is_http2 && body_len <= SMALL_LEN_MAX {
            return Some(Response::from_parts(head, OutBody { body, head: None }));
        }
        let head_len = if self.is_http2 { headers_len(&head.headers) as u64 } else { 0 };
        let stream_len = if self.is_http2 { STREAM_LEN } else { 0 };
        // Two shares are cut of one: each is in whole units.
        let len = (body_len + stream_len) as u64 + head_len.next_multiple_of(STREAM_LEN as u64);
        let share = match fitting(room, len) {
            Some(share) => Ok(share),
            None if is_made => self.reserve(len, body_len <= SMALL_LEN_MAX).await,
            // It has a share of what would be waited for.
            None => self.engine_of().try_reserve_answer(len).ok_or(EngineError::Busy),
        };
        let (body, share) = match (share, body) {
            (Ok(mut share), ResponseBody::Full(Some(bytes))) => {
                let of_head = share.split(head_len);
                (ResponseBody::counted(bytes, share), Some(Held::Share { _share: of_head }))
            }
            (Ok(share), body) => (body, Some(Held::Share { _share: share })),
            (Err(_), body) => {
                drop(body);
                head.status = StatusCode::SERVICE_UNAVAILABLE;
                (ResponseBody::empty(), self.make_refusal(&mut head.headers)?)
            }
        };
        let share = share.filter(|_| self.is_http2).map(|held| HeadShare { _held: held });
        Some(Response::from_parts(head, OutBody { body, head: share }))
    }

    /// Refuses a request at once, without a share; over HTTP/2, while many refusals are not sent, `None`: the
    /// stream ends.
    #[must_use]
    pub fn refuse(self, refusal: Response<()>) -> Option<Response<OutBody>> {
        let (mut head, ()) = refusal.into_parts();
        let held = self.make_refusal(&mut head.headers)?;
        let share = held.map(|held| HeadShare { _held: held });
        Some(Response::from_parts(head, OutBody { body: ResponseBody::empty(), head: share }))
    }

    /// Makes the head of an answer that of a refusal for which there is no share.
    fn make_refusal(self, headers: &mut HeaderMap) -> Option<Option<Held>> {
        let mut held = None;
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::CONTENT_TYPE);
        if self.is_http2 {
            let permit = REFUSALS.try_acquire().ok()?;
            let id = headers.remove(REQUEST_ID);
            headers.clear();
            if let Some(id) = id {
                headers.insert(REQUEST_ID, id);
            }
            held = Some(Held::Refusal { _permit: permit });
        }
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        Some(held)
    }

    fn engine_of(self) -> Engine {
        self.engine.for_consumer(of_identity(self.identity, self.address))
    }

    async fn reserve(self, len: u64, is_small: bool) -> Result<Share, EngineError> {
        let engine = self.engine_of();
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
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_on_after_its_status_holds_its_request() {
        let holds = |body| OutBody { body, head: None }.holds_request();
        assert!(holds(ResponseBody::pending(async { String::new() })));
        assert!(!holds(ResponseBody::full(Bytes::from_static(b"x"))));
        assert!(!holds(ResponseBody::empty()));
    }
}

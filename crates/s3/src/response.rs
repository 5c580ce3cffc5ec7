//! Responses.

use crate::error::S3Error;
use crate::xml::{DECLARATION, Xml};
use bytes::Bytes;
use drystone_base::error_limited;
use drystone_engine::{EngineError, ObjectReader, Share};
use http::header::InvalidHeaderName;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

type Reading =
    Pin<Box<dyn Future<Output = (ObjectReader, Result<Option<Bytes>, EngineError>)> + Send>>;

/// The body of a response: bytes in memory, or an object as it is read. An error in the middle aborts the
/// connection; there is never a short body that looks whole.
pub enum ResponseBody {
    /// Bytes in memory, which [`Receiver::send`](crate::Receiver::send) takes a share of the budget for.
    Full(Option<Bytes>),
    /// Bytes that carry their share of the budget.
    Counted(Option<Bytes>),
    /// An object, with the bytes that are still to come.
    Object(Box<ObjectBody>),
    /// A document that is not ready yet: spaces are sent until it is.
    Pending(PendingBody),
}

/// An object as it is read.
pub struct ObjectBody {
    reading: Option<Reading>,
    reader: Option<ObjectReader>,
    left: u64,
    subject: Subject,
}

/// What a body is of, for the line that says that it was cut.
pub(crate) struct Subject {
    pub(crate) request_id: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) version: String,
}

impl Subject {
    fn log_cut(&self, left: u64, error: &(dyn std::error::Error + 'static)) {
        let Self { request_id, bucket, key, version } = self;
        error_limited!("the body of an object was cut"; request_id, bucket, key, version,
            missing_bytes = left, error);
    }
}

/// The end of a long operation whose status was sent before. The declaration of its document is sent at once,
/// since nothing may stand before it, then a space from time to time.
///
/// The work is a task: whatever it holds that others wait for, its client does not decide when it goes on.
pub struct PendingBody {
    work: Working,
    ticks: tokio::time::Interval,
    is_declared: bool,
    done: bool,
}

/// A task that ends with its response.
struct Working(JoinHandle<String>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Time between two spaces of a response that is not ready.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(10);

impl ResponseBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::Full(None)
    }
    /// Bytes in memory.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
    /// Bytes in memory with their share, which is returned when the connection has taken the last of them.
    pub(crate) fn counted(bytes: Bytes, share: Share) -> Self {
        Self::Counted(Some(share.hold(bytes)))
    }
    pub(crate) fn object(reader: ObjectReader, len: u64, subject: Subject) -> Self {
        let reader = Some(reader);
        Self::Object(Box::new(ObjectBody { reading: None, reader, left: len, subject }))
    }
    pub(crate) fn pending(work: impl Future<Output = String> + Send + 'static) -> Self {
        let ticks = tokio::time::interval(KEEP_ALIVE);
        let work = Working(tokio::spawn(work));
        Self::Pending(PendingBody { work, ticks, is_declared: false, done: false })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = EngineError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        match self.get_mut() {
            Self::Full(bytes) | Self::Counted(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Object(object) => object.poll(context),
            Self::Pending(pending) => pending.poll(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) | Self::Counted(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Object(object) => SizeHint::with_exact(object.left),
            Self::Pending(_) => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) | Self::Counted(bytes) => bytes.is_none(),
            Self::Object(object) => object.left == 0,
            Self::Pending(pending) => pending.done,
        }
    }
}

impl ObjectBody {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let reading = match (&mut self.reading, self.reader.take()) {
            (Some(reading), _) => reading,
            (none, Some(mut reader)) => none.insert(Box::pin(async move {
                let next = reader.next().await;
                (reader, next)
            })),
            (None, None) => return Poll::Ready(None),
        };
        let Poll::Ready((reader, next)) = reading.as_mut().poll(context) else {
            return Poll::Pending;
        };
        self.reading = None;
        match next {
            Ok(Some(bytes)) => {
                self.reader = Some(reader);
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            next => {
                let early = EngineError::Invalid("object ended early");
                let error = next.err().unwrap_or(early);
                self.subject.log_cut(self.left, &error);
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl PendingBody {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EngineError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Poll::Ready(ended) = Pin::new(&mut self.work.0).poll(context) {
            self.done = true;
            // A task that failed says nothing of what it did: there is no document that would be true.
            let Ok(mut document) = ended else { return Poll::Ready(Some(Err(EngineError::Busy))) };
            if self.is_declared && document.starts_with(DECLARATION) {
                document.drain(..DECLARATION.len());
            }
            return Poll::Ready(Some(Ok(Frame::data(document.into()))));
        }
        std::task::ready!(self.ticks.poll_tick(context));
        let sign = if self.is_declared { " " } else { DECLARATION };
        self.is_declared = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(sign.as_bytes())))))
    }
}

/// A response while it is put together.
pub(crate) type Reply = Response<ResponseBody>;

/// Headers that most responses have.
const HEADER_COUNT: usize = 16;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const PRODUCT: HeaderValue = HeaderValue::from_static("drystone");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");
const XSS_BLOCK: HeaderValue = HeaderValue::from_static("1; mode=block");

/// The names that responses to reads have, which need not be checked and copied each time.
fn name_of(name: &str) -> Result<HeaderName, InvalidHeaderName> {
    Ok(match name {
        "accept-ranges" => header::ACCEPT_RANGES,
        "content-length" => header::CONTENT_LENGTH,
        "content-type" => header::CONTENT_TYPE,
        "etag" => header::ETAG,
        "last-modified" => header::LAST_MODIFIED,
        other => HeaderName::from_bytes(other.as_bytes())?,
    })
}

/// Sets the headers of every response.
pub(crate) fn finish(reply: &mut Reply, ids: &Ids) {
    let headers = reply.headers_mut();
    for (name, text) in [(REQUEST_ID, &ids.request_id), (HOST_ID, &ids.host_id)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    headers.insert(header::SERVER, PRODUCT);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    headers.insert(header::X_XSS_PROTECTION, XSS_BLOCK);
}

/// Sets a header; a value that no header can carry is left out and counted by the caller.
pub(crate) fn set(reply: &mut Reply, name: &str, value: &str) -> bool {
    let name = name_of(name);
    match (name, HeaderValue::from_bytes(value.as_bytes())) {
        (Ok(name), Ok(value)) => {
            reply.headers_mut().insert(name, value);
            true
        }
        _ => false,
    }
}

/// Sets a header that clients chose the value of, in ISO-8859-1. `None` for characters that it does not have.
pub(crate) fn set_latin(reply: &mut Reply, name: &'static str, value: &str) -> Option<()> {
    let bytes: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    let value = HeaderValue::from_bytes(&bytes?).ok()?;
    reply.headers_mut().insert(name, value);
    Some(())
}

/// A response without body.
pub(crate) fn empty(status: u16) -> Reply {
    let mut reply = Response::new(ResponseBody::empty());
    reply.headers_mut().reserve(HEADER_COUNT);
    *reply.status_mut() = StatusCode::from_u16(status).expect("a known status");
    reply
}

/// A document.
pub(crate) fn xml(document: String) -> Reply {
    let mut reply = Response::new(ResponseBody::Full(Some(document.into())));
    set(&mut reply, "content-type", "application/xml");
    reply
}

/// A document for which `share` was reserved.
pub(crate) fn counted_xml(mut document: String, mut share: Share) -> Reply {
    if document.capacity() > 2 * document.len() {
        document.shrink_to_fit();
    }
    share.keep(document.capacity() as u64);
    let mut reply = Response::new(ResponseBody::counted(document.into(), share));
    set(&mut reply, "content-type", "application/xml");
    reply
}

/// A document in JSON, as it was stored.
pub(crate) fn json(document: String) -> Reply {
    let mut reply = Response::new(ResponseBody::Full(Some(document.into())));
    set(&mut reply, "content-type", "application/json");
    reply
}

/// Bytes of markup that one text of a client takes in the document of an error, and all of them.
pub(crate) const ECHO_LEN_MAX: usize = 1 << 10;
const ECHOES_LEN_MAX: usize = 6 << 10;

/// The document of an error, which has [`SMALL_LEN_MAX`] bytes at most, whatever the client wrote.
pub(crate) fn error_document(
    error: &S3Error,
    bucket: Option<&str>,
    key: Option<&str>,
    resource: &str,
    ids: &Ids,
) -> String {
    let mut xml = Xml::bare();
    xml.open("Error").text("Code", error.code.name());
    let named = [("Key", key), ("BucketName", bucket), ("Resource", Some(resource))];
    // What the error names itself is meant: the source of a copy is not the key of the request.
    let is_own = |name: &str| error.fields.iter().any(|(own, _)| *own == name);
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let named = named.filter(|(name, _)| !is_own(name));
    let own = error.fields.iter().map(|(name, value)| (*name, value.as_str()));
    let mut left = ECHOES_LEN_MAX;
    for (name, value) in
        std::iter::once(("Message", error.message.as_str())).chain(named).chain(own)
    {
        left -= xml.echo(name, value, left.min(ECHO_LEN_MAX));
    }
    xml.text("RequestId", &ids.request_id).text("HostId", &ids.host_id);
    xml.finish("Error")
}

/// Bytes of an answer that counts as small.
pub const SMALL_LEN_MAX: usize = 8 << 10;

/// Names of a request in answers and logs.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    /// 16 hexadecimal digits; later requests sort later.
    pub(crate) request_id: String,
    pub(crate) host_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;
    use crate::xml::parse;

    /// Goal: no error is larger than a small answer, whatever a client wrote and wherever it is repeated.
    /// Method: every code, with texts that grow when they are escaped, or are cut in a character.
    #[test]
    fn errors_are_small_whatever_they_repeat() {
        let ids = Ids { request_id: "0".repeat(16), host_id: "h".repeat(64) };
        let hostile = ["&", "'", "\"", "\t", "\u{1}", "\u{1F600}", "a\u{E9}", "]]>", "%22"];
        for text in hostile.map(|text| text.repeat((64 << 10) / text.len())) {
            for code in S3Code::ALL {
                let error = S3Error::argument(&text, &text, text.clone());
                let mut error = S3Error { code: *code, ..error };
                for name in ["StringToSign", "CanonicalRequest", "Region", "TagKey", "Condition"] {
                    error = error.field(name, text.clone());
                }
                let document = error_document(&error, Some(&text), Some(&text), &text, &ids);
                assert!(document.len() <= SMALL_LEN_MAX, "{code:?}: {}", document.len());
                let root = parse(document.as_bytes(), "Error").expect("well formed");
                assert_eq!(root.text_of("Code"), Some(code.name()));
                assert_eq!(root.text_of("RequestId"), Some(ids.request_id.as_str()));
                assert!(root.text_of("Key").is_some_and(|key| key.len() > 200));
            }
        }
    }

    #[test]
    fn what_is_short_is_repeated_whole() {
        let ids = Ids { request_id: String::new(), host_id: String::new() };
        let error = S3Error::argument("name", "a<b>&c", "m");
        let document = error_document(&error, Some("bucket"), Some("k\u{E9}y"), "/bucket/k", &ids);
        let root = parse(document.as_bytes(), "Error").expect("well formed");
        for (name, value) in
            [("ArgumentValue", "a<b>&c"), ("Key", "k\u{E9}y"), ("Resource", "/bucket/k")]
        {
            assert_eq!(root.text_of(name), Some(value));
        }
    }
}

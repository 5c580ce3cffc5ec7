//! The body of a request: de-framed, measured, verified against its signature, and given out as it
//! comes.

use crate::auth::{ChunkSigner, PayloadHash, Verified};
use crate::checksum::{Declared, parse_value};
use crate::chunked::{ChunkDecoder, ChunkMode, Event, TRAILER_SIGNATURE};
use crate::error::{S3Code, S3Error};
use crate::headers::printable;
use crate::intake::Pace;
use crate::request::S3Request;
use bytes::Bytes;
use drystone_base::hex;
use http::{Extensions, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Bodies that are not used are read to their end up to this length.
const DRAIN_LEN_MAX: usize = 1 << 20;

/// A client that sends nothing for so long is let go.
const STALL_MAX: Duration = Duration::from_secs(30);
/// After this time a client must have sent at least so many bytes in each second.
const PROGRESS_AFTER: Duration = Duration::from_secs(60);
const PROGRESS_BYTES_PER_SECOND: u64 = 256;

/// Whether the body of a request with `Expect: 100-continue` was asked for. Its client may leave out a body
/// that was not asked for, so that what follows on the connection cannot be told apart from it (RFC 9110,
/// section 10.1.1). An extension of the request.
#[derive(Clone, Default)]
pub struct AskedFor(Arc<AtomicBool>);

impl AskedFor {
    /// Whether the client was told to send the body.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Unread body of a request.
pub(crate) struct Body {
    incoming: Incoming,
    pace: Option<Arc<Pace>>,
    asked_for: Option<AskedFor>,
}

impl Body {
    /// The body of a request with these extensions.
    pub(crate) fn new(incoming: Incoming, extensions: &Extensions) -> Self {
        Self { incoming, pace: None, asked_for: extensions.get().cloned() }
    }

    /// Notes that frames are read now, which asks the client for the body.
    fn note_asked(&self) {
        if let Some(AskedFor(is_asked)) = &self.asked_for {
            is_asked.store(true, Ordering::Relaxed);
        }
    }

    /// Whether nothing comes, whatever was declared.
    pub(crate) fn is_empty(&self) -> bool {
        hyper::body::Body::is_end_stream(&self.incoming)
    }

    /// Lets what comes be waited for at a pace, and no longer.
    pub(crate) fn keep_pace(&mut self, pace: Arc<Pace>) {
        self.pace = Some(pace);
    }

    /// The next bytes as they come; `None` at the end.
    ///
    /// # Errors
    ///
    /// `RequestTimeout` if nothing comes in time, `IncompleteBody` if it ends early, `SlowDown` if others
    /// wait for what this body holds.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        self.note_asked();
        loop {
            let next = self.incoming.frame();
            let frame = match &self.pace {
                Some(pace) => pace.wait(next).await?,
                None => tokio::time::timeout(STALL_MAX, next)
                    .await
                    .map_err(|_| S3Error::new(S3Code::RequestTimeout))?,
            };
            let Some(frame) = frame else { return Ok(None) };
            let Ok(bytes) = frame.map_err(|_| S3Code::IncompleteBody)?.into_data() else {
                continue;
            };
            if let Some(pace) = &self.pace {
                pace.note(bytes.len());
            }
            return Ok(Some(bytes));
        }
    }

    /// Reads what is left of a body that is not used, if its declared length is small, so that the
    /// connection can be used again. What the client keeps back until it is asked for is not asked for:
    /// it has its answer.
    pub(crate) async fn drain(body: Option<Self>, declared_len: Option<HeaderValue>) {
        let declared_len = declared_len.and_then(|len| printable(&len)?.parse::<usize>().ok());
        let (Some(mut body), Some(..=DRAIN_LEN_MAX)) = (body, declared_len) else { return };
        if body.asked_for.as_ref().is_some_and(|asked_for| !asked_for.is_true()) {
            return;
        }
        let mut len = 0;
        let drained = async {
            while let Some(Ok(frame)) = body.incoming.frame().await {
                len += frame.data_ref().map_or(0, Bytes::len);
                if len > DRAIN_LEN_MAX {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), drained).await;
    }
}

enum Framing {
    Plain { expected: Option<String>, digest: Option<Sha256> },
    Chunked { decoder: ChunkDecoder, signer: Option<ChunkSigner>, digest: Sha256 },
}

/// Gives out the decoded body. What it has given out must not be committed before it has said that
/// there is no more: only then everything is verified.
pub(crate) struct BodyReader {
    body: Body,
    framing: Framing,
    /// What came of the framing and is not decoded yet.
    framed: Bytes,
    /// Decoded bytes that must come.
    expected_len: u64,
    len: u64,
    trailer_name: Option<String>,
    trailer_lines: String,
    trailer_signature: Option<String>,
    /// Value of the checksum trailer.
    pub(crate) trailer: Option<Vec<u8>>,
    declared: Declared,
    started: Instant,
    ended: bool,
}

impl BodyReader {
    /// Begins to read a body; `len_max` is checked before anything is read.
    pub(crate) fn new(
        request: &S3Request,
        body: Body,
        verified: Verified,
        declared: &Declared,
        len_max: u64,
    ) -> Result<Self, S3Error> {
        let (framing, expected_len) = match verified.payload {
            PayloadHash::Chunked { signed, trailer } => {
                let text = request.header("x-amz-decoded-content-length");
                let len = text.and_then(|text| text.parse().ok());
                let len: u64 = len.ok_or(S3Code::MissingContentLength)?;
                // Without a signature to carry, trailers are there if one is announced.
                let trailer = trailer && (signed || request.headers.has("x-amz-trailer"));
                let decoder = ChunkDecoder::new(ChunkMode { signed, trailer });
                (Framing::Chunked { decoder, signer: verified.signer, digest: Sha256::new() }, len)
            }
            PayloadHash::Whole(expected) => {
                let len = request.content_length().ok_or(S3Code::MissingContentLength)?;
                (Framing::Plain { expected: Some(expected), digest: Some(Sha256::new()) }, len)
            }
            PayloadHash::Unsigned => {
                let len = request.content_length().ok_or(S3Code::MissingContentLength)?;
                (Framing::Plain { expected: None, digest: None }, len)
            }
        };
        if expected_len > len_max {
            return Err(S3Error::new(S3Code::EntityTooLarge)
                .field("ProposedSize", expected_len.to_string())
                .field("MaxSizeAllowed", len_max.to_string()));
        }
        let trailer_name =
            request.header("x-amz-trailer").map(|text| text.trim().to_ascii_lowercase());
        Ok(Self {
            body,
            framing,
            framed: Bytes::new(),
            expected_len,
            len: 0,
            trailer_name,
            trailer_lines: String::new(),
            trailer_signature: None,
            trailer: None,
            declared: declared.clone(),
            started: Instant::now(),
            ended: false,
        })
    }

    /// Length of the decoded body, as the client declared it.
    pub(crate) fn expected_len(&self) -> u64 {
        self.expected_len
    }

    /// Lets what comes be waited for at a pace, and no longer.
    pub(crate) fn keep_pace(&mut self, pace: Arc<Pace>) {
        self.body.keep_pace(pace);
    }

    /// The next decoded bytes; `None` when the whole body has come and everything is right.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        loop {
            while let Framing::Chunked { decoder, .. } = &mut self.framing
                && let Some(event) = decoder.next(&mut self.framed)?
            {
                // Small chunks are much work for few bytes: others have their turn in between.
                tokio::task::coop::consume_budget().await;
                if let Some(bytes) = self.take_event(event)? {
                    return Ok(Some(bytes));
                }
            }
            if self.ended {
                return Ok(None);
            }
            match self.body.next().await? {
                Some(bytes) => {
                    self.judge_pace()?;
                    if let Some(bytes) = self.take_bytes(bytes)? {
                        return Ok(Some(bytes));
                    }
                }
                None => self.end()?,
            }
        }
    }

    fn count(&mut self, bytes: &Bytes) -> Result<(), S3Error> {
        self.len += bytes.len() as u64;
        if self.len > self.expected_len {
            let message = "The request body is longer than the length that was declared.";
            return Err(S3Error::with(S3Code::IncompleteBody, message));
        }
        Ok(())
    }

    /// Refuses a client that is too slow, whatever it sends: the framing of chunks can be dripped as well.
    fn judge_pace(&self) -> Result<(), S3Error> {
        let elapsed = self.started.elapsed();
        if elapsed > PROGRESS_AFTER && self.len < elapsed.as_secs() * PROGRESS_BYTES_PER_SECOND {
            return Err(S3Code::RequestTimeout.into());
        }
        Ok(())
    }

    fn take_bytes(&mut self, bytes: Bytes) -> Result<Option<Bytes>, S3Error> {
        match &mut self.framing {
            Framing::Plain { digest, .. } => {
                if let Some(digest) = digest {
                    digest.update(&bytes);
                }
                self.count(&bytes)?;
                Ok((!bytes.is_empty()).then_some(bytes))
            }
            Framing::Chunked { .. } => {
                self.framed = bytes;
                Ok(None)
            }
        }
    }

    fn take_event(&mut self, event: Event) -> Result<Option<Bytes>, S3Error> {
        let Framing::Chunked { signer, digest, .. } = &mut self.framing else {
            unreachable!("events come of chunks")
        };
        match event {
            Event::Data(bytes) => {
                if signer.is_some() {
                    digest.update(&bytes);
                }
                self.count(&bytes)?;
                return Ok(Some(bytes));
            }
            Event::ChunkEnd { signature } => {
                if let Some(signer) = signer {
                    let sha256 = hex(&digest.finalize_reset());
                    signer.chunk(&sha256, &signature.unwrap_or_default())?;
                }
            }
            Event::Trailer(name, value) if name == TRAILER_SIGNATURE => {
                self.trailer_signature = Some(value);
            }
            Event::Trailer(name, value) => {
                if self.trailer_name.as_deref() != Some(name.as_str()) {
                    let message = format!("The trailer {name} was not announced.");
                    return Err(S3Error::with(S3Code::MalformedTrailerError, message));
                }
                if let Some(algorithm) = self.declared.trailer {
                    self.trailer = Some(parse_value(algorithm, &name, &value)?);
                }
                self.trailer_lines.push_str(&format!("{name}:{value}\n"));
            }
            Event::End => self.check_trailers()?,
        }
        Ok(None)
    }

    fn check_trailers(&mut self) -> Result<(), S3Error> {
        let Framing::Chunked { signer, .. } = &mut self.framing else { return Ok(()) };
        if self.trailer_name.is_some() && self.trailer_lines.is_empty() {
            let message = "The trailer that was announced is missing.";
            return Err(S3Error::with(S3Code::MalformedTrailerError, message));
        }
        if let (Some(signer), false) = (signer, self.trailer_lines.is_empty()) {
            let signature = self.trailer_signature.take().unwrap_or_default();
            signer.trailer(&self.trailer_lines, &signature)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), S3Error> {
        self.ended = true;
        if let Framing::Chunked { decoder, .. } = &mut self.framing
            && let Some(event) = decoder.end()?
            && let Some(bytes) = self.take_event(event)?
        {
            debug_assert!(bytes.is_empty(), "the end brings no data");
        }
        if self.len < self.expected_len {
            return Err(S3Code::IncompleteBody.into());
        }
        if let Framing::Plain { expected: Some(expected), digest: Some(digest) } = &mut self.framing
        {
            let computed = hex(&digest.finalize_reset());
            if computed != *expected {
                return Err(S3Error::new(S3Code::XAmzContentSHA256Mismatch)
                    .field("ClientComputedContentSHA256", expected.clone())
                    .field("S3ComputedContentSHA256", computed));
            }
        }
        Ok(())
    }
}

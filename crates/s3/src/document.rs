//! Documents of requests: read whole, with what they hold taken from the byte budget before a byte comes.

use crate::auth::Verified;
use crate::body::{Body, BodyReader};
use crate::checksum::Declared;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::xml;
use drystone_engine::{ChecksumAlgorithm, Digests, EngineError, Share};
use std::ops::Deref;
use tokio::sync::Semaphore;

/// Documents that wait for a larger share than they were read with.
static EXCHANGES: Semaphore = Semaphore::const_new(4);

/// Bytes of a document that are read before it takes its share of the byte budget: what waits for a client
/// holds no more.
pub(crate) const UNCOUNTED_LEN: usize = 4 << 10;

/// A document, and its share of the byte budget.
#[derive(Default)]
pub(crate) struct Document {
    bytes: Vec<u8>,
    _share: Option<Share>,
}

impl Deref for Document {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Document {
    /// A document of a test.
    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), _share: None }
    }

    /// Reads a document from a body that has `len` bytes at most.
    async fn read(
        context: &Context<'_>,
        reader: &mut BodyReader,
        len_max: usize,
    ) -> Result<Self, S3Error> {
        // A document that does not come takes nothing, and most have come whole by then.
        let mut bytes = Vec::new();
        reader.read_to(&mut bytes, UNCOUNTED_LEN, len_max).await?;
        // Its bytes, and the texts that are made of them.
        let len = 2 * reader.expected_len();
        let mut share = context.engine.reserve_decoding(len).await?;
        reader.read_to(&mut bytes, usize::MAX, len_max).await?;
        let tree_len = xml::tree_len(&bytes);
        if !share.try_grow(tree_len) {
            // Whoever waits holds nothing: the share goes back, and all is waited for in line. The bytes that
            // are there count for nobody meanwhile, so few may do this.
            let Ok(_turn) = EXCHANGES.try_acquire() else { return Err(EngineError::Busy.into()) };
            drop(share);
            share = context.engine.reserve_decoding(len + tree_len).await?;
        }
        Ok(Self { bytes, _share: Some(share) })
    }

    /// The same for whoever reads it after the first; the share is the first one's.
    fn again(&self) -> Self {
        Self { bytes: self.bytes.clone(), _share: None }
    }
}

/// Reads a document from the body, verified against everything that was declared.
pub(crate) async fn read_document(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    len_max: usize,
) -> Result<Document, S3Error> {
    if let Some(said) = &context.said {
        return Ok(said.document.again());
    }
    let declared = Declared::parse(&context.request)?;
    let body = body.take().expect("a body is read once");
    let reader = BodyReader::new(&context.request, body, verified, &declared, len_max as u64);
    let mut reader = reader.map_err(|error| match error.code {
        S3Code::EntityTooLarge => S3Error::new(S3Code::MaxMessageLengthExceeded)
            .field("MaxMessageLengthBytes", len_max.to_string()),
        _ => error,
    })?;
    let document = Document::read(context, &mut reader, len_max).await?;
    let algorithm = declared.algorithm().unwrap_or(ChecksumAlgorithm::Crc32);
    let mut digests = Digests::new(algorithm);
    digests.update(&document);
    let (md5, checksum) = digests.finish();
    declared.check(&md5, &checksum, reader.trailer.as_ref())?;
    Ok(document)
}

/// Reads a document of which only the signature is checked.
pub(crate) async fn read_unchecked_document(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    len_max: usize,
) -> Result<Document, S3Error> {
    let (body, declared) = (body.take().expect("a body is read once"), Declared::default());
    let limit = len_max as u64;
    let mut reader = BodyReader::new(&context.request, body, verified, &declared, limit)?;
    Document::read(context, &mut reader, len_max).await
}

//! Documents of requests: read whole, with what they hold taken from the byte budget as they come.

use crate::auth::Verified;
use crate::authorize::authorize_again;
use crate::body::{Body, BodyReader};
use crate::checksum::Declared;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::intake::{Intake, Pace, Shares};
use crate::xml;
use drystone_engine::{ChecksumAlgorithm, Digests};
use drystone_iam::Principal;
use std::ops::Deref;

/// A document, and its share of the byte budget.
#[derive(Default)]
pub(crate) struct Document {
    bytes: Vec<u8>,
    _shares: Option<Shares>,
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
        Self { bytes: bytes.to_vec(), _shares: None }
    }

    /// Reads a document from a body that has `len` bytes at most.
    async fn read(
        context: &Context<'_>,
        reader: &mut BodyReader,
        len_max: usize,
    ) -> Result<Self, S3Error> {
        let is_known = !matches!(context.sender.principal(), Principal::Anonymous);
        let pace = Pace::of_document();
        reader.keep_pace(pace.clone());
        let mut intake = Intake::new(context.engine, is_known, pace, reader.expected_len());
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await? {
            if bytes.len() + piece.len() > len_max {
                return Err(S3Error::new(S3Code::MaxMessageLengthExceeded)
                    .field("MaxMessageLengthBytes", len_max.to_string()));
            }
            intake.keep(&mut bytes, &piece).await?;
        }
        let shares = intake.end(bytes.len(), xml::tree_len(&bytes)).await?;
        Ok(Self { bytes, _shares: Some(shares) })
    }

    /// The same for anyone who reads it after the first; the share is the first one's.
    fn again(&self) -> Self {
        Self { bytes: self.bytes.clone(), _shares: None }
    }
}

/// Reads a document from the body, verified against everything that was declared, and decides again if that
/// took so long that something was changed.
pub(crate) async fn read_document(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    len_max: usize,
) -> Result<Document, S3Error> {
    let document = read_undecided(context, verified, body, len_max).await?;
    // A document that was read before the decision has nothing to decide again.
    if context.said.is_none() {
        authorize_again(context)?;
    }
    Ok(document)
}

/// As [`read_document`], for a request that is decided on after it.
pub(crate) async fn read_undecided(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    len_max: usize,
) -> Result<Document, S3Error> {
    let too_long = || {
        S3Error::new(S3Code::MaxMessageLengthExceeded)
            .field("MaxMessageLengthBytes", len_max.to_string())
    };
    match &context.said {
        Some(said) if said.document.len() > len_max => return Err(too_long()),
        Some(said) => return Ok(said.document.again()),
        None => {}
    }
    let declared = Declared::parse(&context.request)?;
    let body = body.take().expect("a body is read once");
    let reader = BodyReader::new(&context.request, body, verified, &declared, len_max as u64);
    let mut reader = reader.map_err(|error| match error.code {
        S3Code::EntityTooLarge => too_long(),
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
    let document = Document::read(context, &mut reader, len_max).await?;
    authorize_again(context)?;
    Ok(document)
}

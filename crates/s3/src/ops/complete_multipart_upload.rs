//! `CompleteMultipartUpload`.

use super::upload_part::upload_of;
use super::{Handled, read_document};
use crate::auth::Verified;
use crate::authorize::{Also, decide_also};
use crate::body::Body;
use crate::checksum::{element_name, header_name, parse_value, text_of};
use crate::document::{Document, read_unchecked_document};
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::headers::values::unquote;
use crate::object_headers::parse_write_conditions;
use crate::request::S3Request;
use crate::response::{set, xml};
use crate::uri::encode;
use crate::xml::{Element, Xml, parse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use drystone_engine::{ChecksumAlgorithm, ChecksumKind, CompleteRequest, PartInput, WriteOutcome};

const ROOT: &str = "CompleteMultipartUploadResult";
const DOCUMENT_LEN_MAX: usize = 4 << 20;

pub(crate) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let upload = upload_of(context)?;
    let conditions = parse_write_conditions(request)?;
    let checksum = whole_checksum(request)?;
    let checksum_kind = match request.header("x-amz-checksum-type") {
        Some(text) => Some(ChecksumKind::parse(text).ok_or_else(|| {
            let message = "Value for x-amz-checksum-type header is invalid.";
            S3Error::with(S3Code::InvalidRequest, message)
        })?),
        None => None,
    };
    let object_size = match request.header("x-amz-mp-object-size") {
        Some(text) => Some(text.parse().map_err(|_| {
            let message = "Value for x-amz-mp-object-size header is invalid.";
            S3Error::with(S3Code::InvalidRequest, message)
        })?),
        None => None,
    };
    // The checksum headers of this request are about the object, not about the document.
    let document = read_plain(context, verified, body).await?;
    if document.is_empty() {
        return Err(S3Code::MalformedXML.into());
    }
    let root = parse(&document, "CompleteMultipartUpload")?;
    let parts: Result<Vec<_>, _> = root.children_named("Part").map(part).collect();
    let parts = parts?;
    if parts.is_empty() {
        return Err(S3Code::MalformedXML.into());
    }
    // A completion that is repeated finds no open upload, and needs no key.
    if let Ok((bucket, row)) = context.engine.find_upload(name.as_str(), key.as_bytes(), upload) {
        encryption::of_completion(context, (&bucket, key.as_bytes()), &row).await?;
        if let Some(acl) = row.template.acl.clone() {
            decide_also(context, Also::UploadAcl { bucket: bucket.name.clone(), acl })?;
        }
    }
    let (bucket, object) = (name.as_str().to_owned(), key.as_bytes().to_vec());
    let completion = CompleteRequest {
        bucket,
        object,
        upload,
        parts,
        conditions,
        checksum,
        checksum_kind,
        object_size,
    };
    let outcome = context.engine.complete_upload(completion).await.map_err(S3Error::from);
    let outcome = outcome.map_err(|error| error.field("UploadId", upload.to_text()))?;
    Ok(render(context, name.as_str(), key.as_str(), &outcome))
}

/// Reads the document; only its signature is checked.
async fn read_plain(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Result<Document, S3Error> {
    let has_checksum =
        ChecksumAlgorithm::ALL.iter().any(|a| context.request.header(header_name(*a)).is_some());
    match has_checksum {
        false => read_document(context, verified, body, DOCUMENT_LEN_MAX).await,
        true => read_unchecked_document(context, verified, body, DOCUMENT_LEN_MAX).await,
    }
}

/// The checksum of the whole object that the client gives. A composite one ends in the number of parts.
fn whole_checksum(request: &S3Request) -> Result<Option<(ChecksumAlgorithm, Vec<u8>)>, S3Error> {
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        let name = header_name(algorithm);
        let Some(text) = request.header(name) else { continue };
        if found.is_some() {
            let message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are \
                           not allowed.";
            return Err(S3Error::with(S3Code::InvalidRequest, message));
        }
        let text = text.split_once('-').map_or(text, |(value, _)| value);
        found = Some((algorithm, parse_value(algorithm, name, text)?));
    }
    Ok(found)
}

fn part(element: &Element) -> Result<PartInput, S3Error> {
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let number = element.text_of("PartNumber").and_then(|text| text.trim().parse().ok());
    let etag = element.text_of("ETag").map(unquote).ok_or_else(malformed)?;
    let mut checksum = None;
    for algorithm in ChecksumAlgorithm::ALL {
        if let Some(text) = element.text_of(element_name(algorithm)) {
            let value = BASE64.decode(text.trim()).map_err(|_| malformed())?;
            checksum = Some((algorithm, value));
        }
    }
    Ok(PartInput { number: number.ok_or_else(malformed)?, etag, checksum })
}

fn render(
    context: &Context<'_>,
    bucket: &str,
    key: &str,
    outcome: &WriteOutcome,
) -> crate::response::Reply {
    let row = &outcome.row;
    let mut document = Xml::new(ROOT);
    let location = format!("http://{}/{bucket}/{}", context.request.host, encode(key, true));
    document.text("Location", &location).text("Bucket", bucket).text("Key", key);
    document.text("ETag", &format!("\"{}\"", row.etag.to_text()));
    if let Some(checksum) = &row.checksum {
        document.text(element_name(checksum.algorithm), &text_of(checksum, row.etag.part_count));
        document.text("ChecksumType", checksum.kind.name());
    }
    let mut reply = xml(document.finish(ROOT));
    encryption::tell(&mut reply, context, row.encryption.as_ref());
    if let Some(version) = outcome.reported_version() {
        set(&mut reply, "x-amz-version-id", &version);
    }
    reply
}

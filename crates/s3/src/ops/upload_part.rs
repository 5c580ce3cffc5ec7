//! `UploadPart`.

use super::Handled;
use super::put_object::take_body;
use crate::auth::Verified;
use crate::body::Body;
use crate::checksum::Declared;
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::tell_checksum;
use crate::response::{empty, set};
use drystone_base::UploadId;
use drystone_base::limits::{PART_NUMBER_MAX, PUT_LEN_BYTES_MAX};
use drystone_engine::{ChecksumAlgorithm, EngineError, NewBlob, UploadRow};

/// The upload and the part number that a request names.
pub(crate) fn part_of(context: &Context<'_>) -> Result<(UploadId, u16), S3Error> {
    let upload = upload_of(context)?;
    let text = context.request.query("partNumber").unwrap_or_default();
    let number = text.parse::<u32>().ok().filter(|n| (1..=PART_NUMBER_MAX).contains(n));
    let number = number.ok_or_else(|| {
        let message = "Part number must be an integer between 1 and 10000, inclusive";
        S3Error::argument("partNumber", text, message)
    })?;
    Ok((upload, number as u16))
}

/// The upload that a request names.
pub(crate) fn upload_of(context: &Context<'_>) -> Result<UploadId, S3Error> {
    let text = context.request.query("uploadId").unwrap_or_default();
    UploadId::parse(text).ok_or_else(|| S3Error::new(S3Code::NoSuchUpload).field("UploadId", text))
}

/// The algorithm for a part: the upload's, else the client's, else the default. A client that uses
/// another than the upload's is refused.
pub(crate) fn part_algorithm(
    upload: &UploadRow,
    sent: Option<ChecksumAlgorithm>,
) -> Result<ChecksumAlgorithm, S3Error> {
    match (upload.checksum, sent) {
        (Some((expected, _)), Some(actual)) if expected != actual => {
            let (expected, actual) = (Some(expected), Some(actual));
            Err(EngineError::ChecksumTypeMismatch { expected, actual }.into())
        }
        (Some((expected, _)), _) => Ok(expected),
        (None, sent) => Ok(sent.unwrap_or(ChecksumAlgorithm::Crc64Nvme)),
    }
}

pub(crate) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let (upload, number) = part_of(context)?;
    let declared = Declared::parse(request)?;
    let object = key.as_bytes();
    let (bucket, row) = context.engine.find_upload(name.as_str(), object, upload)?;
    let algorithm = part_algorithm(&row, declared.algorithm())?;
    let seal = encryption::of_part(context, (&bucket, object), &row.template).await?;
    let new = NewBlob {
        bucket: &bucket,
        object,
        len: None,
        algorithm,
        storage_class: row.template.storage_class.as_deref(),
        seal: seal.as_ref(),
    };
    let stored = take_body(context, verified, body, &declared, (new, PUT_LEN_BYTES_MAX)).await?;
    let object = object.to_vec();
    let part = context.engine.put_part(name.as_str(), object, upload, number, stored).await?;
    let mut reply = empty(200);
    set(&mut reply, "etag", &format!("\"{}\"", drystone_base::hex(&part.md5)));
    encryption::tell(&mut reply, context, row.template.encryption.as_ref());
    let shown = row.checksum.is_some() || declared.algorithm().is_some();
    if let (Some(checksum), true) = (&part.checksum, shown) {
        tell_checksum(&mut reply, checksum, None);
    }
    Ok(reply)
}

//! `CreateMultipartUpload`.

use super::Handled;
use crate::authorize::said_of_object;
use crate::checksum::parse_algorithm;
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::parse_draft;
use crate::response::{set, xml};
use crate::xml::Xml;
use drystone_engine::{ChecksumAlgorithm, ChecksumKind, Initiator, NewUpload};
use drystone_iam::Principal;

const ROOT: &str = "InitiateMultipartUploadResult";

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let mut draft = parse_draft(request)?;
    let target = context.engine.find_bucket(name.as_str())?;
    super::apply_acl(context, &target, &mut draft)?;
    let checksum = checksum(context)?;
    encryption::of_write(context, &target, key.as_bytes()).await?.describe(&mut draft);
    let encryption = draft.encryption.clone();
    let (bucket, object) = (name.as_str().to_owned(), key.as_bytes().to_vec());
    let said = said_of_object(context);
    let initiator = initiator(context);
    let new = NewUpload { bucket, object, draft, checksum, said, initiator };
    let upload = context.engine.create_upload(new).await?;
    let mut document = Xml::new(ROOT);
    document.text("Bucket", name.as_str()).text("Key", key.as_str());
    document.text("UploadId", &upload.to_text());
    let mut reply = xml(document.finish(ROOT));
    encryption::tell(&mut reply, context, encryption.as_ref());
    if let Some((algorithm, kind)) = checksum {
        set(&mut reply, "x-amz-checksum-algorithm", algorithm.name());
        set(&mut reply, "x-amz-checksum-type", kind.name());
    }
    Ok(reply)
}

/// Who begins the upload, if someone signed.
fn initiator(context: &Context<'_>) -> Option<Initiator> {
    let principal = context.sender.principal();
    let is_owner = matches!(principal, Principal::Root { .. });
    let arn = if is_owner { None } else { principal.arn() };
    Some(Initiator { account: principal.account()?.to_owned(), arn })
}

/// The checksum that is asked for; its kind is the algorithm's own if none is given.
fn checksum(context: &Context<'_>) -> Result<Option<(ChecksumAlgorithm, ChecksumKind)>, S3Error> {
    let request = &context.request;
    let invalid = |message: String| Err(S3Error::with(S3Code::InvalidRequest, message));
    let kind = request.header_or_query("x-amz-checksum-type");
    let Some(text) = request.header_or_query("x-amz-checksum-algorithm") else {
        return match kind {
            None => Ok(None),
            Some(_) => {
                let message = "The x-amz-checksum-type header can only be used with the \
                               x-amz-checksum-algorithm header.";
                invalid(message.to_owned())
            }
        };
    };
    let algorithm = parse_algorithm(text)?;
    let kind = match kind {
        None if algorithm == ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
        None => ChecksumKind::Composite,
        Some(text) => match ChecksumKind::parse(text) {
            Some(kind) => kind,
            None => {
                return invalid("Value for x-amz-checksum-type header is invalid.".to_owned());
            }
        },
    };
    let fits = match kind {
        ChecksumKind::FullObject => algorithm.is_crc(),
        ChecksumKind::Composite => algorithm != ChecksumAlgorithm::Crc64Nvme,
    };
    if !fits {
        return invalid(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name().to_lowercase()
        ));
    }
    Ok(Some((algorithm, kind)))
}

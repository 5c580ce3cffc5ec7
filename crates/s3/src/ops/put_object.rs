//! `PutObject`.

use super::{Handled, append_object, extract_archive};
use crate::auth::Verified;
use crate::body::{Body, BodyReader};
use crate::checksum::Declared;
use crate::encryption;
use crate::error::S3Error;
use crate::gateway::Context;
use crate::object_headers::{parse_draft, parse_write_conditions, tell_checksum};
use crate::response::{Reply, empty, set};
use drystone_engine::{ChecksumAlgorithm, NewBlob, PutRequest, Stored, WriteOutcome};

pub(crate) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let request = &context.request;
    if let Some(offset) = append_object::offset_of(request)? {
        return Box::pin(append_object::run(context, verified, body, offset)).await;
    }
    if extract_archive::is_asked(request) {
        return Box::pin(extract_archive::run(context, verified, body)).await;
    }
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let mut draft = parse_draft(request)?;
    let conditions = parse_write_conditions(request)?;
    let declared = Declared::parse(request)?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    super::apply_acl(context, &bucket, &mut draft)?;
    let sealing = encryption::of_write(context, &bucket, key.as_bytes()).await?;
    sealing.describe(&mut draft);
    let algorithm = declared.algorithm().unwrap_or(ChecksumAlgorithm::Crc64Nvme);
    let new = NewBlob {
        bucket: &bucket,
        object: key.as_bytes(),
        len: None,
        algorithm,
        storage_class: draft.storage_class.as_deref(),
        seal: sealing.seal.as_ref(),
    };
    let len_max = context.config.put_len_max;
    let stored = take_body(context, verified, body, &declared, (new, len_max)).await?;
    let (bucket, object) = (name.as_str().to_owned(), key.as_bytes().to_vec());
    let request = PutRequest { bucket, object, draft, stored, conditions };
    let outcome = context.engine.put_object(request).await?;
    Ok(answer(context, &outcome))
}

/// What a writer is told of the new version.
pub(super) fn answer(context: &Context<'_>, outcome: &WriteOutcome) -> Reply {
    let mut reply = empty(200);
    set(&mut reply, "etag", &format!("\"{}\"", outcome.row.etag.to_text()));
    if let Some(checksum) = &outcome.row.checksum {
        tell_checksum(&mut reply, checksum, None);
    }
    if let Some(class) = &outcome.row.storage_class {
        set(&mut reply, "x-amz-storage-class", class);
    }
    encryption::tell(&mut reply, context, outcome.row.encryption.as_ref());
    set(&mut reply, "x-amz-object-size", &outcome.row.size.to_string());
    if let Some(version) = outcome.reported_version() {
        set(&mut reply, "x-amz-version-id", &version);
    }
    reply
}

/// Streams the body of a request to the drive and checks everything that was declared about it.
pub(crate) async fn take_body(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    declared: &Declared,
    (new, len_max): (NewBlob<'_>, u64),
) -> Result<Stored, S3Error> {
    let body = body.take().expect("a body is read once");
    let mut reader = BodyReader::new(&context.request, body, verified, declared, len_max)?;
    let len = Some(reader.expected_len());
    let mut writer = context.engine.begin_blob(NewBlob { len, ..new })?;
    while let Some(bytes) = reader.next().await? {
        writer.write(&bytes).await?;
    }
    let stored = writer.finish().await?;
    declared
        .check(&stored.md5, &stored.checksum, reader.trailer.as_ref())
        .inspect_err(|_| context.engine.give_up(&stored))?;
    Ok(stored)
}

//! `PutObject` with `x-amz-write-offset-bytes`: bytes are put behind an object, in buckets that allow it.

use super::put_object::{answer, take_body};
use super::restore_object::must_be_readable;
use super::{Handled, apply_acl};
use crate::auth::Verified;
use crate::body::Body;
use crate::checksum::Declared;
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::headers::values;
use crate::object_headers::{WRITE_OFFSET, parse_appended_draft, parse_write_conditions};
use crate::request::S3Request;
use drystone_base::limits::PUT_LEN_BYTES_MAX;
use drystone_engine::plan::takes_appends;
use drystone_engine::{
    AppendRequest, BucketRow, ChecksumAlgorithm, EngineError, Located, NewBlob, ObjectDraft,
    ObjectRow, Seal,
};
use std::sync::Arc;

const REDIRECT: &str = "x-amz-website-redirect-location";
/// How often a copy is taken apart before its writer is told to try again.
const TAKE_APART_COUNT: usize = 3;

/// Where a request wants to write, if it says so.
///
/// # Errors
///
/// `InvalidArgument` for what is no number.
pub(super) fn offset_of(request: &S3Request) -> Result<Option<u64>, S3Error> {
    request.read(WRITE_OFFSET, values::number)
}

/// The object as it is, with what seals bytes behind it.
struct Found {
    row: Option<ObjectRow>,
    seal: Option<Seal>,
    draft: ObjectDraft,
}

pub(super) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    offset: u64,
) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let bucket = context.engine.find_bucket(name.as_str())?;
    // Before anything is read: anyone who cannot append is told at once.
    if !takes_appends(&bucket) {
        let message = format!(
            "Appends are off for this bucket: `drystone bucket appends {}` allows them.",
            name.as_str()
        );
        let error = S3Error::with(S3Code::NotImplemented, message);
        return Err(error.field("Header", "x-amz-write-offset-bytes"));
    }
    let draft = parse_appended_draft(request)?;
    let conditions = parse_write_conditions(request)?;
    let declared = Declared::parse(request)?;
    let Found { row, seal, draft } = Box::pin(find(context, &bucket, draft)).await?;
    let size = row.as_ref().map_or(0, |row| row.size);
    if size != offset {
        return Err(EngineError::WriteOffset { size_bytes: size }.into());
    }
    let known = row.as_ref().and_then(|row| row.checksum.as_ref());
    let known = known.map(|checksum| checksum.algorithm).filter(|known| known.is_crc());
    let class = row.as_ref().map_or(&draft.storage_class, |row| &row.storage_class).clone();
    let new = NewBlob {
        bucket: &bucket,
        object: key.as_bytes(),
        len: None,
        algorithm: declared.algorithm().or(known).unwrap_or(ChecksumAlgorithm::Crc64Nvme),
        storage_class: class.as_deref(),
        seal: seal.as_ref(),
    };
    let stored = take_body(context, verified, body, &declared, (new, PUT_LEN_BYTES_MAX)).await?;
    let (bucket, object) = (name.as_str().to_owned(), key.as_bytes().to_vec());
    let append =
        AppendRequest { bucket, object, draft, stored, offset, seen: row, seal, conditions };
    let outcome = context.engine.append(append).await?;
    Ok(answer(context, &outcome))
}

/// What an object has beside its bytes stays as it is: a request that says something else is refused, since
/// what it says may narrow who can read the bytes, or fulfil a condition.
fn refuse_changes(
    request: &S3Request,
    row: &ObjectRow,
    draft: &ObjectDraft,
) -> Result<(), S3Error> {
    let has = |list: &[(String, String)], name: &str, value: &str| {
        list.iter().any(|(known, text)| known == name && text == value)
    };
    // Each of these stands for a right, or ends only with the object.
    let never = |name: &str| {
        let starts = ["x-amz-acl", "x-amz-tagging", "x-amz-grant-", "x-amz-object-lock-"];
        starts.iter().any(|start| name.starts_with(start))
    };
    let changes = |name: &str| match name {
        "x-amz-storage-class" => draft.storage_class != row.storage_class,
        REDIRECT => !has(&row.headers, name, &request.text(name).unwrap_or_default()),
        // Clients send a type with any bytes.
        "content-type" => false,
        name => match name.strip_prefix("x-amz-meta-") {
            Some(meta) => {
                let sent = draft.metadata.iter().filter(|(known, _)| known == meta);
                sent.into_iter().any(|(_, value)| !has(&row.metadata, meta, value))
            }
            None => {
                let sent = draft.headers.iter().filter(|(known, _)| known == name);
                sent.into_iter().any(|(_, value)| !has(&row.headers, name, value))
            }
        },
    };
    let mut names = request.headers.names();
    match names.find(|name| never(name) || changes(name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("An append cannot change {name} of the object.");
            Err(S3Error::with(S3Code::InvalidRequest, message))
        }
    }
}

async fn find(
    context: &Context<'_>,
    bucket: &Arc<BucketRow>,
    mut draft: ObjectDraft,
) -> Result<Found, S3Error> {
    let key = context.request.object_key()?;
    for _ in 0..TAKE_APART_COUNT {
        let located = match context.engine.locate(&bucket.name, key.as_bytes(), None) {
            Ok(located) => located,
            Err(EngineError::ObjectNotFound { .. }) => {
                apply_acl(context, bucket, &mut draft)?;
                let sealing = encryption::of_write(context, bucket, key.as_bytes()).await?;
                sealing.describe(&mut draft);
                return Ok(Found { row: None, seal: sealing.seal, draft });
            }
            Err(error) => return Err(error.into()),
        };
        must_be_readable(&located.row, context.request.now_ms)?;
        refuse_changes(&context.request, &located.row, &draft)?;
        let seal = encryption::of_part(context, (bucket, key.as_bytes()), &located.row).await?;
        if !located.row.is_shared {
            return Ok(Found { row: Some(located.row), seal, draft });
        }
        take_apart(context, located, seal).await?;
    }
    Err(EngineError::Conflict.into())
}

/// A copy that has the bytes of others gets its own before anything is put behind them.
async fn take_apart(
    context: &Context<'_>,
    located: Located,
    seal: Option<Seal>,
) -> Result<(), S3Error> {
    let key = context.request.object_key()?;
    match context.engine.take_apart(located, key.as_bytes(), seal).await {
        // Someone else wrote: it is looked at again.
        Err(EngineError::Conflict) => Ok(()),
        outcome => Ok(outcome?),
    }
}

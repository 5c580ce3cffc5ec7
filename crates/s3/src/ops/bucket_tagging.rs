//! `GetBucketTagging`, `PutBucketTagging` and `DeleteBucketTagging`.

use super::object_tagging::{read_tags, write_tags};
use super::{HEARD_LEN_MAX, Handled, read_document};
use crate::auth::Verified;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::{empty, xml};
use drystone_base::limits::BUCKET_TAG_COUNT_MAX;

pub(crate) fn get(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    if bucket.tags.is_empty() {
        return Err(S3Error::new(S3Code::NoSuchTagSet).field("BucketName", name.as_str()));
    }
    Ok(xml(write_tags(&bucket.tags)))
}

pub(crate) async fn put(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let name = context.request.bucket_name()?;
    context.engine.find_bucket(name.as_str())?;
    let document = read_document(context, verified, body, HEARD_LEN_MAX).await?;
    let tags = read_tags(&document, BUCKET_TAG_COUNT_MAX)?;
    context.engine.set_bucket_tags(name.as_str(), tags).await?;
    Ok(empty(204))
}

pub(crate) async fn delete(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    context.engine.set_bucket_tags(name.as_str(), Vec::new()).await?;
    Ok(empty(204))
}

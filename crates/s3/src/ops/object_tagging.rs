//! `GetObjectTagging`, `PutObjectTagging` and `DeleteObjectTagging`.

use super::{Handled, SMALL_DOCUMENT_LEN_MAX, read_document, version_of};
use crate::auth::Verified;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::check_tags;
use crate::response::{Reply, empty, set, xml};
use crate::xml::{Xml, parse};
use drystone_base::limits::OBJECT_TAG_COUNT_MAX;
use drystone_engine::Versioning;

const ROOT: &str = "Tagging";

pub(crate) fn get(context: &Context<'_>) -> Handled {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    let located = context.engine.locate(name.as_str(), key.as_bytes(), version)?;
    let mut reply = xml(write_tags(&located.row.tags));
    if let Some(version) = located.reported_version() {
        set(&mut reply, "x-amz-version-id", &version);
    }
    Ok(reply)
}

pub(crate) async fn put(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let document = read_document(context, verified, body, SMALL_DOCUMENT_LEN_MAX).await?;
    store(context, read_object_tags(&document)?, 200).await
}

/// The tags of an object in a document.
pub(crate) fn read_object_tags(document: &[u8]) -> Result<Vec<(String, String)>, S3Error> {
    read_tags(document, OBJECT_TAG_COUNT_MAX)
}

/// The tags of a document.
pub(super) fn read_tags(
    document: &[u8],
    count_max: usize,
) -> Result<Vec<(String, String)>, S3Error> {
    if document.is_empty() {
        return Err(S3Code::MissingRequestBodyError.into());
    }
    let root = parse(document, ROOT)?;
    let set = root.child("TagSet").ok_or(S3Code::MalformedXML)?;
    let mut tags = Vec::new();
    for tag in set.children_named("Tag") {
        let text = |name: &str| {
            let text = tag.text_of(name).ok_or(S3Error::new(S3Code::MalformedXML));
            text.map(str::to_owned)
        };
        tags.push((text("Key")?, text("Value")?));
    }
    check_tags(tags, count_max)
}

/// The document of some tags, in the order of their keys: it is a set.
pub(super) fn write_tags(tags: &[(String, String)]) -> String {
    let mut document = Xml::new(ROOT);
    let mut sorted: Vec<_> = tags.iter().collect();
    sorted.sort();
    document.open("TagSet");
    for (key, value) in sorted {
        document.open("Tag").text("Key", key).text("Value", value).close("Tag");
    }
    document.close("TagSet");
    document.finish(ROOT)
}

pub(crate) async fn delete(context: &Context<'_>) -> Handled {
    store(context, Vec::new(), 204).await
}

async fn store(
    context: &Context<'_>,
    tags: Vec<(String, String)>,
    status: u16,
) -> Result<Reply, S3Error> {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    let object = key.as_bytes().to_vec();
    let row = context.engine.put_tags(name.as_str(), object, version, tags).await?;
    let mut reply = empty(status);
    if context.engine.find_bucket(name.as_str())?.versioning != Versioning::Off {
        set(&mut reply, "x-amz-version-id", &row.version_text());
    }
    Ok(reply)
}

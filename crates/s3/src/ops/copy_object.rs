//! `CopyObject`.

use super::Handled;
use super::copy_source::{Source, find};
use crate::authorize::{decide_on_copied_tags, with_decisions};
use crate::checksum::{element_name, text_of};
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::headers::values;
use crate::object_headers::{parse_draft, parse_write_conditions};
use crate::request::S3Request;
use crate::response::{Ids, Reply, ResponseBody, error_document, set, xml};
use crate::xml::Xml;
use drystone_base::Timestamp;
use drystone_engine::{CopyRequest, ObjectDraft, ObjectRow, WriteOutcome};
use std::pin::pin;

const ROOT: &str = "CopyObjectResult";
/// Copies longer than this send their status before they are done.
pub(crate) const EARLY_STATUS_LEN: u64 = 256 << 20;

/// Whether a directive says `REPLACE`.
pub(crate) fn replaces(request: &S3Request, name: &str) -> Result<bool, S3Error> {
    match request.header(name) {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(S3Error::argument(name, other, format!("Unknown {name}."))),
    }
}

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let sent = parse_draft(request)?;
    let replaces_metadata = replaces(request, "x-amz-metadata-directive")?;
    let replaces_tags = replaces(request, "x-amz-tagging-directive")?;
    let conditions = parse_write_conditions(request)?;
    let algorithm = request.read("x-amz-checksum-algorithm", values::algorithm)?;
    context.engine.find_bucket(name.as_str())?;
    let source = find(context).await?;
    let is_same_key =
        source.bucket == name.as_str() && source.key == key.as_str() && source.version.is_none();
    if !replaces_tags {
        let is_onto_itself = source.bucket == name.as_str() && source.key == key.as_str();
        decide_on_copied_tags(context, source.read(context), &source.located, is_onto_itself)?;
    }
    let mut draft = draft(&source.located.row, sent, replaces_metadata, replaces_tags);
    // A list is never copied.
    let target = context.engine.find_bucket(name.as_str())?;
    super::apply_acl(context, &target, &mut draft)?;
    let changes = replaces_metadata
        || encryption::asks(request)
        || replaces_tags
        || request.header("x-amz-storage-class").is_some()
        || draft.acl.is_some()
        || request.headers.has("x-amz-website-redirect-location");
    if is_same_key && !changes {
        let message = "This copy request is illegal because it is trying to copy an object to \
                       itself without changing the object's metadata, storage class, website \
                       redirect location or encryption attributes.";
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    let (bucket, object) = (name.as_str().to_owned(), key.as_bytes().to_vec());
    let source_key = source.data_key.as_ref();
    let sealing = encryption::of_copy(context, &target, &object, source_key).await?;
    sealing.describe(&mut draft);
    let copy = CopyRequest {
        bucket,
        object,
        draft,
        algorithm,
        conditions,
        source_key: source.data_key.clone(),
        seal: sealing.seal,
    };
    Box::pin(finish(context, source, copy)).await
}

fn draft(
    row: &ObjectRow,
    sent: ObjectDraft,
    replaces_metadata: bool,
    replaces_tags: bool,
) -> ObjectDraft {
    let mut draft = ObjectDraft {
        storage_class: sent.storage_class,
        lock: sent.lock,
        ..ObjectDraft::default()
    };
    draft.tags = if replaces_tags { sent.tags } else { row.tags.clone() };
    if replaces_metadata {
        draft.headers = sent.headers;
        draft.metadata = sent.metadata;
        return draft;
    }
    let redirect = "x-amz-website-redirect-location";
    draft.headers = row.headers.iter().filter(|(name, _)| name != redirect).cloned().collect();
    draft.headers.extend(sent.headers.into_iter().filter(|(name, _)| name == redirect));
    draft.metadata = row.metadata.clone();
    draft
}

async fn finish(context: &Context<'_>, source: Source, copy: CopyRequest) -> Handled {
    let source_version = source.located.reported_version();
    let len = source.located.row.size;
    let engine = context.engine.clone();
    let encryption = copy.draft.encryption.clone();
    if len <= EARLY_STATUS_LEN {
        let outcome = Box::pin(engine.copy_object(source.located, copy)).await?;
        let mut reply = xml(document(&outcome.row));
        tell_versions(&mut reply, source_version.as_deref(), &outcome);
        encryption::tell(&mut reply, context, encryption.as_ref());
        return Ok(reply);
    }
    let (resource, ids) = (context.request.raw_path.clone(), context.ids.clone());
    let mut reply = xml(String::new());
    encryption::tell(&mut reply, context, encryption.as_ref());
    if let Some(version) = &source_version {
        set(&mut reply, "x-amz-copy-source-version-id", version);
    }
    let kept = context.keep();
    *reply.body_mut() = ResponseBody::pending(async move {
        let copied = async { Ok(Box::pin(engine.copy_object(source.located, copy)).await?) };
        match with_decisions(&kept.context(), pin!(copied)).await {
            Ok(outcome) => document(&outcome.row),
            Err(error) => late_error(&error, &resource, &ids),
        }
    });
    Ok(reply)
}

/// The document of an error after the status was sent.
pub(crate) fn late_error(error: &S3Error, resource: &str, ids: &Ids) -> String {
    error_document(error, None, None, resource, ids)
}

fn tell_versions(reply: &mut Reply, source: Option<&str>, outcome: &WriteOutcome) {
    if let Some(version) = source {
        set(reply, "x-amz-copy-source-version-id", version);
    }
    if let Some(version) = outcome.reported_version() {
        set(reply, "x-amz-version-id", &version);
    }
}

fn document(row: &ObjectRow) -> String {
    let mut document = Xml::new(ROOT);
    document.text("LastModified", &Timestamp(row.modified_ms).to_iso());
    document.text("ETag", &format!("\"{}\"", row.etag.to_text()));
    if let Some(checksum) = &row.checksum {
        document.text(element_name(checksum.algorithm), &text_of(checksum, None));
        document.text("ChecksumType", checksum.kind.name());
    }
    document.finish(ROOT)
}

//! Configuration documents of a bucket: set, read, deleted, listed.
//!
//! A document is checked against its shape (`schema`) and its own rules, and stored as it is returned. What
//! a document makes the server do is elsewhere; the README says which of them act.

mod bounds;
mod cors;
mod encryption;
mod lifecycle;
mod notification;
mod replication;
mod reports;
mod settings;
mod website;

pub(crate) use bounds::len_max;
pub(crate) use lifecycle::MINIMUM_SIZE_HEADER;

use super::{Handled, read_document};
use crate::auth::Verified;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::response::{empty, set, xml};
use crate::schema::{Node, canonical};
use crate::xml::{Element, NAMESPACE, Xml, escaped_len_max, parse};
use drystone_engine::plan::DocumentKind;
use drystone_engine::{BucketRow, Inactive};

/// A kind of document.
struct Form {
    kind: DocumentKind,
    root: &'static str,
    shape: &'static [Node],
    /// Rules beyond the shape. May fill in what the client left out.
    check: fn(&mut Element, &Subject<'_>) -> Result<(), S3Error>,
    /// What reading it says when there is none.
    unset: Unset,
}

/// What a check may look at.
pub(crate) struct Subject<'a> {
    context: &'a Context<'a>,
    bucket: &'a BucketRow,
}

/// The answer to reading a document that was never set.
enum Unset {
    Error(S3Code),
    /// An empty document, or one with this element and text.
    Default(Option<(&'static str, &'static str)>),
}

/// Where the header that comes with a lifecycle configuration is kept.
const MINIMUM_SIZE: &str = "minimum-size";
/// Bytes of a list of named documents besides these and what it repeats.
const LIST_HEAD_LEN: u64 = 1 << 10;
/// Named documents on one page of a list.
const PAGE_COUNT_MAX: usize = 100;

fn form(operation: Operation) -> Option<&'static Form> {
    use Operation as O;
    Some(match operation {
        O::GetBucketCors | O::PutBucketCors | O::DeleteBucketCors => &cors::FORM,
        O::GetBucketLifecycleConfiguration
        | O::PutBucketLifecycleConfiguration
        | O::PutBucketLifecycle
        | O::GetBucketLifecycle
        | O::DeleteBucketLifecycle => &lifecycle::FORM,
        O::GetBucketNotificationConfiguration
        | O::PutBucketNotificationConfiguration
        | O::GetBucketNotification
        | O::PutBucketNotification => &notification::FORM,
        O::GetBucketReplication | O::PutBucketReplication | O::DeleteBucketReplication => {
            &replication::FORM
        }
        O::GetBucketWebsite | O::PutBucketWebsite | O::DeleteBucketWebsite => &website::FORM,
        O::GetBucketEncryption | O::PutBucketEncryption | O::DeleteBucketEncryption => {
            &encryption::FORM
        }
        O::GetBucketLogging | O::PutBucketLogging => &settings::LOGGING,
        O::GetPublicAccessBlock | O::PutPublicAccessBlock | O::DeletePublicAccessBlock => {
            &settings::PUBLIC_ACCESS_BLOCK
        }
        O::GetBucketOwnershipControls
        | O::PutBucketOwnershipControls
        | O::DeleteBucketOwnershipControls => &settings::OWNERSHIP,
        O::GetBucketRequestPayment | O::PutBucketRequestPayment => &settings::REQUEST_PAYMENT,
        O::GetBucketAccelerateConfiguration | O::PutBucketAccelerateConfiguration => {
            &settings::ACCELERATE
        }
        _ => return named_form(operation),
    })
}

/// Kinds of which a bucket may have several, told apart by `id`.
fn named_form(operation: Operation) -> Option<&'static Form> {
    use Operation as O;
    Some(match operation {
        O::GetBucketInventoryConfiguration
        | O::PutBucketInventoryConfiguration
        | O::DeleteBucketInventoryConfiguration
        | O::ListBucketInventoryConfigurations => &reports::INVENTORY,
        O::GetBucketAnalyticsConfiguration
        | O::PutBucketAnalyticsConfiguration
        | O::DeleteBucketAnalyticsConfiguration
        | O::ListBucketAnalyticsConfigurations => &reports::ANALYTICS,
        O::GetBucketMetricsConfiguration
        | O::PutBucketMetricsConfiguration
        | O::DeleteBucketMetricsConfiguration
        | O::ListBucketMetricsConfigurations => &reports::METRICS,
        O::GetBucketIntelligentTieringConfiguration
        | O::PutBucketIntelligentTieringConfiguration
        | O::DeleteBucketIntelligentTieringConfiguration
        | O::ListBucketIntelligentTieringConfigurations => &reports::INTELLIGENT_TIERING,
        _ => return None,
    })
}

/// The form, and the name that the request gives: the `id` of kinds that have one.
fn addressed<'a>(
    context: &'a Context<'_>,
    operation: Operation,
) -> Result<(&'static Form, &'a str), S3Error> {
    let form = form(operation).expect("an operation on a document");
    if named_form(operation).is_none() {
        return Ok((form, ""));
    }
    let id = context.request.query("id").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || id.len() > 64 || !id.chars().all(plain) {
        return Err(S3Error::argument("id", id, "The configuration id is not valid"));
    }
    Ok((form, id))
}

pub(crate) fn get(context: &Context<'_>, operation: Operation) -> Handled {
    let (form, id) = addressed(context, operation)?;
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let Some(document) = context.engine.document(&bucket, form.kind, id)? else {
        return match form.unset {
            Unset::Error(code) => Err(S3Error::new(code).field("BucketName", name.as_str())),
            Unset::Default(element) => {
                let mut document = Xml::new(form.root);
                if let Some((name, text)) = element {
                    document.text(name, text);
                }
                Ok(xml(document.finish(form.root)))
            }
        };
    };
    let mut reply = xml(String::from_utf8_lossy(&document).into_owned());
    if form.kind == DocumentKind::Lifecycle {
        let stored = context.engine.document(&bucket, form.kind, MINIMUM_SIZE)?;
        let value = stored.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let value = value.as_deref().unwrap_or(lifecycle::MINIMUM_SIZES[0]);
        set(&mut reply, MINIMUM_SIZE_HEADER, value);
    }
    Ok(reply)
}

pub(crate) async fn put(
    context: &Context<'_>,
    operation: Operation,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let (form, id) = addressed(context, operation)?;
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let document = read_document(context, verified, body, len_max(form.kind)).await?;
    if document.is_empty() {
        return Err(S3Code::MissingRequestBodyError.into());
    }
    let mut root = parse(&document, form.root)?;
    bounds::check_count(form.kind, &root)?;
    canonical(&root, form.shape)?;
    (form.check)(&mut root, &Subject { context, bucket: &bucket })?;
    if !id.is_empty() && root.text_of("Id") != Some(id) {
        let message = "The id of the document is not that of the request";
        return Err(S3Error::argument("id", id, message));
    }
    let (mut reply, mut documents) = (empty(200), Vec::new());
    if form.kind == DocumentKind::Lifecycle {
        let value = lifecycle::minimum_size(context)?;
        documents.push((MINIMUM_SIZE.to_owned(), Some(value.as_bytes().to_vec())));
        set(&mut reply, MINIMUM_SIZE_HEADER, value);
    }
    let text = canonical(&root, form.shape)?;
    // A notification without any target is none, and so is logging without one.
    let may_be_none = [DocumentKind::Notification, DocumentKind::Logging].contains(&form.kind);
    let is_none = may_be_none && root.children.is_empty();
    let inactive = Inactive::of(form.kind, text.as_bytes()).filter(|_| !is_none);
    documents.push((id.to_owned(), (!is_none).then(|| text.into_bytes())));
    context.engine.set_documents(name.as_str(), form.kind, documents).await?;
    if let Some(inactive) = inactive {
        context.engine.note_inactive(inactive);
        let (bucket, what) = (name.as_str(), inactive.what);
        tracing::warn!(bucket, what, "stored, but this version does not act on it");
    }
    Ok(reply)
}

pub(crate) async fn delete(context: &Context<'_>, operation: Operation) -> Handled {
    let (form, id) = addressed(context, operation)?;
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let is_there = context.engine.document(&bucket, form.kind, id)?.is_some();
    if !id.is_empty() && !is_there {
        return Err(S3Error::new(S3Code::NoSuchConfiguration).field("BucketName", name.as_str()));
    }
    if is_there {
        context.engine.set_document(name.as_str(), form.kind, id, None).await?;
    }
    Ok(empty(204))
}

/// Lists the named documents of a kind, 100 on a page.
pub(crate) async fn list(context: &Context<'_>, operation: Operation) -> Handled {
    let form = named_form(operation).expect("a kind with names");
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let token = context.request.query("continuation-token");
    let after = token.unwrap_or_default();
    let asked = (after, PAGE_COUNT_MAX);
    let walk = || context.engine.list_documents(&bucket, form.kind, asked);
    // The documents are held while they are written.
    let head_len = LIST_HEAD_LEN + escaped_len_max(after.as_bytes());
    let listed = context.list(0, walk, |page| head_len + 2 * page.len_bytes as u64).await?;
    let root = operation.name().replacen("Configurations", "ConfigurationsResult", 1);
    let mut document = listed.document(&root);
    document.text_if("ContinuationToken", token);
    for (_, stored) in &listed.page.documents {
        let text = String::from_utf8_lossy(stored);
        let markup = text.split_once('\n').map_or(&*text, |(_, markup)| markup);
        document.raw(&markup.replacen(&format!(" xmlns=\"{NAMESPACE}\""), "", 1));
    }
    document.bool("IsTruncated", listed.page.is_truncated);
    if let (true, Some((last, _))) = (listed.page.is_truncated, listed.page.documents.last()) {
        document.text("NextContinuationToken", last);
    }
    Ok(listed.reply(document.finish(&root)))
}

//! Operations, one file each, and the one place where an operation finds its handler.

mod abort_multipart_upload;
mod acls;
mod append_object;
mod bucket_policy;
mod bucket_tagging;
mod complete_multipart_upload;
mod copy_object;
mod copy_source;
mod create_bucket;
mod create_multipart_upload;
mod delete_bucket;
mod delete_object;
mod delete_objects;
mod documents;
mod extract_archive;
mod get_bucket_location;
mod get_object;
mod get_object_attributes;
mod head_bucket;
mod list_buckets;
mod list_metadata;
mod list_multipart_uploads;
mod list_object_versions;
mod list_objects;
mod list_parts;
pub(crate) mod object_lock;
mod object_tagging;
mod post_object;
mod put_object;
mod rename_object;
pub(crate) mod restore_object;
mod upload_part;
mod upload_part_copy;
mod versioning;

pub(crate) use acls::{Given, apply as apply_acl, of_new as given_acl};
pub use copy_source::parse_copy_source;
pub(crate) use create_bucket::asks_for_appends;
pub(crate) use get_object::run as read_object;
pub(crate) use object_tagging::read_object_tags;
pub(crate) use post_object::{is_form, run as post_object};
pub(crate) use rename_object::source_of as rename_source;
pub use restore_object::RestoreDelays;

use crate::auth::Verified;
use crate::authorize::{Said, identify_again};
use crate::body::Body;
use crate::control;
pub(crate) use crate::document::read_document;
use crate::document::{Document, read_undecided};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::response::Reply;
use crate::xml::Element;
use drystone_engine::VersionRef;
use std::sync::Arc;

pub(crate) type Handled = Result<Reply, S3Error>;

/// Runs an operation. Every operation of the model has an arm: those that are not implemented are
/// refused here, before any effect. Anyone who gets here was authorized.
pub(crate) async fn dispatch(
    context: &Context<'_>,
    operation: Operation,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    use Operation as O;
    match operation {
        O::ListBuckets => list_buckets::run(context).await,
        O::CreateBucket => create_bucket::run(context, verified, body).await,
        O::HeadBucket => head_bucket::run(context),
        O::DeleteBucket => delete_bucket::run(context).await,
        O::GetBucketLocation => get_bucket_location::run(context),
        O::GetBucketVersioning => versioning::get(context),
        O::PutBucketVersioning => versioning::put(context, verified, body).await,
        O::PutObject => Box::pin(put_object::run(context, verified, body)).await,
        O::GetObject => get_object::run(context, true).await,
        O::HeadObject => get_object::run(context, false).await,
        O::GetObjectAttributes => get_object_attributes::run(context).await,
        O::DeleteObject => delete_object::run(context).await,
        O::DeleteObjects => delete_objects::run(context, verified, body).await,
        O::CopyObject => Box::pin(copy_object::run(context)).await,
        O::GetObjectTagging => object_tagging::get(context),
        O::PutObjectTagging => object_tagging::put(context, verified, body).await,
        O::DeleteObjectTagging => object_tagging::delete(context).await,
        O::ListObjects => list_objects::run_v1(context).await,
        O::ListObjectsV2 => list_objects::run_v2(context).await,
        O::ListObjectVersions => list_object_versions::run(context).await,
        O::CreateMultipartUpload => create_multipart_upload::run(context).await,
        O::UploadPart => Box::pin(upload_part::run(context, verified, body)).await,
        O::UploadPartCopy => Box::pin(upload_part_copy::run(context)).await,
        O::CompleteMultipartUpload => complete_multipart_upload::run(context, verified, body).await,
        O::AbortMultipartUpload => abort_multipart_upload::run(context).await,
        O::ListParts => list_parts::run(context).await,
        O::ListMultipartUploads => list_multipart_uploads::run(context).await,
        O::GetBucketPolicy => bucket_policy::get(context),
        O::GetBucketPolicyStatus => bucket_policy::status(context),
        O::PutBucketPolicy => bucket_policy::put(context, verified, body).await,
        O::DeleteBucketPolicy => bucket_policy::delete(context).await,
        O::GetBucketTagging => bucket_tagging::get(context),
        O::PutBucketTagging => bucket_tagging::put(context, verified, body).await,
        O::DeleteBucketTagging => bucket_tagging::delete(context).await,
        O::GetBucketAccelerateConfiguration
        | O::GetBucketAnalyticsConfiguration
        | O::GetBucketCors
        | O::GetBucketEncryption
        | O::GetBucketIntelligentTieringConfiguration
        | O::GetBucketInventoryConfiguration
        | O::GetBucketLifecycle
        | O::GetBucketLifecycleConfiguration
        | O::GetBucketMetricsConfiguration
        | O::GetBucketNotification
        | O::GetBucketNotificationConfiguration
        | O::GetBucketOwnershipControls
        | O::GetBucketReplication
        | O::GetBucketRequestPayment
        | O::GetBucketLogging
        | O::GetBucketWebsite
        | O::GetPublicAccessBlock => documents::get(context, operation),
        O::PutBucketAccelerateConfiguration
        | O::PutBucketAnalyticsConfiguration
        | O::PutBucketCors
        | O::PutBucketEncryption
        | O::PutBucketIntelligentTieringConfiguration
        | O::PutBucketInventoryConfiguration
        | O::PutBucketLifecycle
        | O::PutBucketLifecycleConfiguration
        | O::PutBucketMetricsConfiguration
        | O::PutBucketNotification
        | O::PutBucketNotificationConfiguration
        | O::PutBucketOwnershipControls
        | O::PutBucketReplication
        | O::PutBucketRequestPayment
        | O::PutBucketLogging
        | O::PutBucketWebsite
        | O::PutPublicAccessBlock => documents::put(context, operation, verified, body).await,
        O::DeleteBucketAnalyticsConfiguration
        | O::DeleteBucketCors
        | O::DeleteBucketEncryption
        | O::DeleteBucketIntelligentTieringConfiguration
        | O::DeleteBucketInventoryConfiguration
        | O::DeleteBucketLifecycle
        | O::DeleteBucketMetricsConfiguration
        | O::DeleteBucketOwnershipControls
        | O::DeleteBucketReplication
        | O::DeleteBucketWebsite
        | O::DeletePublicAccessBlock => documents::delete(context, operation).await,
        O::ListBucketAnalyticsConfigurations
        | O::ListBucketIntelligentTieringConfigurations
        | O::ListBucketInventoryConfigurations
        | O::ListBucketMetricsConfigurations => documents::list(context, operation).await,
        O::GetBucketAcl => acls::get_bucket(context),
        O::PutBucketAcl => acls::put_bucket(context, verified, body).await,
        O::GetObjectAcl => acls::get_object(context),
        O::PutObjectAcl => acls::put_object(context, verified, body).await,
        O::GetObjectLockConfiguration => object_lock::get_configuration(context),
        O::PutObjectLockConfiguration => {
            object_lock::put_configuration(context, verified, body).await
        }
        O::RenameObject => Box::pin(rename_object::run(context)).await,
        O::RestoreObject => restore_object::run(context, verified, body).await,
        O::GetObjectRetention => object_lock::get_retention(context),
        O::PutObjectRetention => object_lock::put_retention(context, verified, body).await,
        O::GetObjectLegalHold => object_lock::get_legal_hold(context),
        O::PutObjectLegalHold => object_lock::put_legal_hold(context, verified, body).await,
        O::CreateBucketMetadataConfiguration
        | O::CreateBucketMetadataTableConfiguration
        | O::CreateSession
        | O::DeleteBucketMetadataConfiguration
        | O::DeleteBucketMetadataTableConfiguration
        | O::DeleteObjectAnnotation
        | O::GetBucketAbac
        | O::GetBucketMetadataConfiguration
        | O::GetBucketMetadataTableConfiguration
        | O::GetObjectAnnotation
        | O::GetObjectTorrent
        | O::ListDirectoryBuckets
        | O::ListObjectAnnotations
        | O::PutBucketAbac
        | O::PutObjectAnnotation
        | O::SelectObjectContent
        | O::UpdateBucketMetadataAnnotationTableConfiguration
        | O::UpdateBucketMetadataInventoryTableConfiguration
        | O::UpdateBucketMetadataJournalTableConfiguration
        | O::UpdateObjectEncryption
        | O::WriteGetObjectResponse => Err(S3Error::not_implemented(operation.name())),
    }
}

/// Bytes of a small document at most.
const SMALL_DOCUMENT_LEN_MAX: usize = 64 << 10;
/// Bytes of a document that conditions look at, at most: 50 tags of four-byte characters fit.
pub(crate) const HEARD_LEN_MAX: usize = 128 << 10;

/// Reads a small document that must be there, with this root, from the body.
pub(crate) async fn read_root(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    root: &'static str,
) -> Result<Element, S3Error> {
    let document = read_document(context, verified, body, SMALL_DOCUMENT_LEN_MAX).await?;
    if document.is_empty() {
        return Err(S3Code::MissingRequestBodyError.into());
    }
    crate::xml::parse(&document, root)
}

/// Reads the document of a request before it is decided on, if conditions of policies look at it.
///
/// # Errors
///
/// It cannot be read. Anyone who may not send it is not told.
pub(crate) async fn hear(
    context: &mut Context<'_>,
    operation: Operation,
    verified: &Verified,
    body: &mut Option<Body>,
) -> Result<(), S3Error> {
    let is_bare = operation == Operation::CreateBucket && body.as_ref().is_some_and(Body::is_empty);
    if Said::is_in(operation) && !is_bare {
        let document = read_undecided(context, verified.clone(), body, HEARD_LEN_MAX).await?;
        context.sender.identity = identify_again(context)?;
        context.said = Some(Arc::new(Said::of(operation, document)?));
    }
    Ok(())
}

/// As [`hear`], for requests of S3 Control that say something about tags.
pub(crate) async fn hear_control(
    context: &mut Context<'_>,
    verified: &Verified,
    body: &mut Option<Body>,
) -> Result<(), S3Error> {
    let Some(root) = control::root_with_tags(&context.request) else { return Ok(()) };
    let document = match context.request.method.as_str() {
        "DELETE" => Document::default(),
        _ => read_undecided(context, verified.clone(), body, HEARD_LEN_MAX).await?,
    };
    context.sender.identity = identify_again(context)?;
    context.said = Some(Arc::new(Said::of_control(&context.request, root, document)?));
    Ok(())
}

/// The `versionId` of a request.
pub(crate) fn version_of(context: &Context<'_>) -> Result<Option<VersionRef>, S3Error> {
    let Some(text) = context.request.query("versionId") else { return Ok(None) };
    let version = VersionRef::parse(text)
        .ok_or_else(|| S3Error::argument("versionId", text, "Invalid version id specified"))?;
    Ok(Some(version))
}

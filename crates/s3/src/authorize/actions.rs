//! Which rights an operation needs (Service Authorization Reference; S3 API reference, "Permissions").

use super::Need;
use super::facts::lost_tags;
use crate::acl;
use crate::error::S3Error;
use crate::gateway::Context;
use crate::object_headers::bypasses_governance;
use crate::operation::Operation;
use crate::ops::{parse_copy_source, rename_source as source_of};
use crate::request::S3Request;

/// The action of an operation on what its request names. `versioned`: a version is named.
fn action(operation: Operation, versioned: bool) -> &'static str {
    use Operation as O;
    let by_version = |plain, of_version| if versioned { of_version } else { plain };
    match operation {
        O::GetObject | O::HeadObject => by_version("s3:GetObject", "s3:GetObjectVersion"),
        O::DeleteObject | O::DeleteObjects => {
            by_version("s3:DeleteObject", "s3:DeleteObjectVersion")
        }
        O::GetObjectTagging => by_version("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
        O::PutObjectTagging => by_version("s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
        O::DeleteObjectTagging => {
            by_version("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging")
        }
        O::GetObjectAcl => by_version("s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
        O::PutObjectAcl => by_version("s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
        O::GetObjectAttributes => {
            by_version("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes")
        }
        O::GetObjectTorrent => by_version("s3:GetObjectTorrent", "s3:GetObjectVersionTorrent"),
        O::PutObject
        | O::CopyObject
        | O::CreateMultipartUpload
        | O::UploadPart
        | O::UploadPartCopy
        | O::CompleteMultipartUpload
        | O::RenameObject => "s3:PutObject",
        O::AbortMultipartUpload => "s3:AbortMultipartUpload",
        O::ListParts => "s3:ListMultipartUploadParts",
        O::ListMultipartUploads => "s3:ListBucketMultipartUploads",
        O::ListObjects | O::ListObjectsV2 | O::HeadBucket => "s3:ListBucket",
        O::ListObjectVersions => "s3:ListBucketVersions",
        O::ListBuckets | O::ListDirectoryBuckets => "s3:ListAllMyBuckets",
        O::CreateBucket => "s3:CreateBucket",
        O::DeleteBucket => "s3:DeleteBucket",
        O::GetObjectLegalHold => "s3:GetObjectLegalHold",
        O::PutObjectLegalHold => "s3:PutObjectLegalHold",
        O::GetObjectRetention => "s3:GetObjectRetention",
        O::PutObjectRetention => "s3:PutObjectRetention",
        O::RestoreObject => "s3:RestoreObject",
        O::SelectObjectContent => "s3:GetObject",
        O::UpdateObjectEncryption => "s3:UpdateObjectEncryption",
        _ => on_document(operation),
    }
}

/// Operations on the documents of a bucket.
fn on_document(operation: Operation) -> &'static str {
    use Operation as O;
    match operation {
        O::GetBucketLocation => "s3:GetBucketLocation",
        O::GetBucketVersioning => "s3:GetBucketVersioning",
        O::PutBucketVersioning => "s3:PutBucketVersioning",
        O::GetBucketAcl => "s3:GetBucketAcl",
        O::PutBucketAcl => "s3:PutBucketAcl",
        O::GetBucketAccelerateConfiguration => "s3:GetAccelerateConfiguration",
        O::PutBucketAccelerateConfiguration => "s3:PutAccelerateConfiguration",
        O::GetBucketAnalyticsConfiguration | O::ListBucketAnalyticsConfigurations => {
            "s3:GetAnalyticsConfiguration"
        }
        O::PutBucketAnalyticsConfiguration | O::DeleteBucketAnalyticsConfiguration => {
            "s3:PutAnalyticsConfiguration"
        }
        O::GetBucketCors => "s3:GetBucketCORS",
        O::PutBucketCors | O::DeleteBucketCors => "s3:PutBucketCORS",
        O::GetBucketEncryption => "s3:GetEncryptionConfiguration",
        O::PutBucketEncryption | O::DeleteBucketEncryption => "s3:PutEncryptionConfiguration",
        O::GetBucketIntelligentTieringConfiguration
        | O::ListBucketIntelligentTieringConfigurations => "s3:GetIntelligentTieringConfiguration",
        O::PutBucketIntelligentTieringConfiguration
        | O::DeleteBucketIntelligentTieringConfiguration => "s3:PutIntelligentTieringConfiguration",
        O::GetBucketInventoryConfiguration | O::ListBucketInventoryConfigurations => {
            "s3:GetInventoryConfiguration"
        }
        O::PutBucketInventoryConfiguration | O::DeleteBucketInventoryConfiguration => {
            "s3:PutInventoryConfiguration"
        }
        O::GetBucketLifecycle | O::GetBucketLifecycleConfiguration => {
            "s3:GetLifecycleConfiguration"
        }
        O::PutBucketLifecycle | O::PutBucketLifecycleConfiguration | O::DeleteBucketLifecycle => {
            "s3:PutLifecycleConfiguration"
        }
        O::GetBucketLogging => "s3:GetBucketLogging",
        O::PutBucketLogging => "s3:PutBucketLogging",
        O::GetBucketMetricsConfiguration | O::ListBucketMetricsConfigurations => {
            "s3:GetMetricsConfiguration"
        }
        O::PutBucketMetricsConfiguration | O::DeleteBucketMetricsConfiguration => {
            "s3:PutMetricsConfiguration"
        }
        O::GetBucketNotification | O::GetBucketNotificationConfiguration => {
            "s3:GetBucketNotification"
        }
        O::PutBucketNotification | O::PutBucketNotificationConfiguration => {
            "s3:PutBucketNotification"
        }
        O::GetBucketOwnershipControls => "s3:GetBucketOwnershipControls",
        O::PutBucketOwnershipControls | O::DeleteBucketOwnershipControls => {
            "s3:PutBucketOwnershipControls"
        }
        O::GetBucketPolicy => "s3:GetBucketPolicy",
        O::PutBucketPolicy => "s3:PutBucketPolicy",
        O::DeleteBucketPolicy => "s3:DeleteBucketPolicy",
        O::GetBucketPolicyStatus => "s3:GetBucketPolicyStatus",
        O::GetBucketReplication => "s3:GetReplicationConfiguration",
        O::PutBucketReplication | O::DeleteBucketReplication => "s3:PutReplicationConfiguration",
        O::GetBucketRequestPayment => "s3:GetBucketRequestPayment",
        O::PutBucketRequestPayment => "s3:PutBucketRequestPayment",
        O::GetBucketTagging => "s3:GetBucketTagging",
        O::PutBucketTagging | O::DeleteBucketTagging => "s3:PutBucketTagging",
        O::GetBucketWebsite => "s3:GetBucketWebsite",
        O::PutBucketWebsite => "s3:PutBucketWebsite",
        O::DeleteBucketWebsite => "s3:DeleteBucketWebsite",
        O::GetObjectLockConfiguration => "s3:GetBucketObjectLockConfiguration",
        O::PutObjectLockConfiguration => "s3:PutBucketObjectLockConfiguration",
        O::GetPublicAccessBlock => "s3:GetBucketPublicAccessBlock",
        O::PutPublicAccessBlock | O::DeletePublicAccessBlock => "s3:PutBucketPublicAccessBlock",
        // Not implemented: the owner gets 501 from the dispatcher, everybody else is refused here,
        // since no policy can name this action.
        _ => "drystone:NotImplemented",
    }
}

/// Every right that a request needs.
///
/// # Errors
///
/// A copy source that cannot be read.
pub(super) fn needs(context: &Context<'_>, operation: Operation) -> Result<Vec<Need>, S3Error> {
    use Operation as O;
    let request = &context.request;
    let (bucket, key) = (request.bucket.clone(), request.key.clone());
    let version = request.query("versionId").map(str::to_owned);
    let need = |action| Need {
        action,
        bucket: bucket.clone(),
        key: key.clone(),
        version: version.clone(),
        point: request.point.clone(),
    };
    // The keys of a bulk delete are decided one by one; no one needs the right to all of them.
    if operation == O::DeleteObjects {
        return Ok(match context.sender.identity {
            None => vec![Need { key: Some("*".into()), ..need("s3:DeleteObject") }],
            Some(_) => Vec::new(),
        });
    }
    let mut all = vec![need(action(operation, version.is_some()))];
    if operation == O::GetObjectAttributes {
        all.push(need(action(O::GetObject, version.is_some())));
    }
    let writes = matches!(operation, O::PutObject | O::CopyObject | O::CreateMultipartUpload);
    if writes {
        let with_header = [
            ("x-amz-tagging", "s3:PutObjectTagging"),
            ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
            ("x-amz-object-lock-retain-until-date", "s3:PutObjectRetention"),
            ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
        ];
        let has = |name| request.header(name).is_some();
        all.extend(with_header.iter().filter(|(name, _)| has(name)).map(|(_, a)| need(a)));
        if acl::is_given(request) {
            all.push(need("s3:PutObjectAcl"));
        }
    }
    if operation == O::CreateBucket {
        let has = |name| request.header(name).is_some();
        if acl::is_given(request) {
            all.push(need("s3:PutBucketAcl"));
        }
        if context.said.as_ref().is_some_and(|said| !said.resource_tags.is_empty()) {
            all.push(need("s3:TagResource"));
        }
        if has("x-amz-object-ownership") {
            all.push(need("s3:PutBucketOwnershipControls"));
        }
        if has("x-amz-bucket-object-lock-enabled") {
            all.push(need("s3:PutBucketObjectLockConfiguration"));
            all.push(need("s3:PutBucketVersioning"));
        }
    }
    if matches!(operation, O::CopyObject | O::UploadPartCopy) {
        let text = request.header("x-amz-copy-source").unwrap_or_default();
        let (bucket, key, version) = parse_copy_source(text)?;
        let action = action(O::GetObject, version.is_some());
        let (bucket, key, point) = (Some(bucket), Some(key), request.source_point.clone());
        all.push(Need { action, bucket, key, version, point });
    }
    if operation == O::RenameObject {
        // What is no key is refused by the operation, of the one who may ask for it.
        let source = source_of(request).ok();
        for action in ["s3:GetObject", "s3:DeleteObject"] {
            all.push(Need { key: source.clone(), version: None, ..need(action) });
        }
    }
    if matches!(operation, O::DeleteObject | O::PutObjectRetention) && bypasses_governance(request)
    {
        all.push(need(BYPASS));
    }
    if tells_of_object(request, operation) {
        all.push(need(action(O::GetObject, version.is_some())));
    }
    Ok(all)
}

/// Other names of what an operation does: a deny of one of them denies it, and none has to be allowed.
/// Tags of buckets can be changed by their ARN as well, with a right of its own (see `control::tags`).
pub(super) fn other_names(context: &Context<'_>, operation: Operation) -> Vec<Need> {
    use Operation as O;
    let gives_tags = context.said.as_ref().is_some_and(|said| !said.resource_tags.is_empty());
    let bucket = context.request.bucket.as_deref();
    let loses_tags = || {
        let row = context.engine.find_bucket(bucket.unwrap_or_default());
        row.is_ok_and(|row| !lost_tags(context, &row).is_empty())
    };
    let names: &[&'static str] = match operation {
        O::GetBucketTagging => &["s3:ListTagsForResource"],
        // It puts the tags it names in the place of all others.
        O::PutBucketTagging if loses_tags() => &["s3:TagResource", "s3:UntagResource"],
        O::PutBucketTagging => &["s3:TagResource"],
        O::DeleteBucketTagging => &["s3:UntagResource"],
        O::CreateBucket if gives_tags => &["s3:PutBucketTagging"],
        // MinIO has names of their own for these.
        O::DeleteBucketCors => &["s3:DeleteBucketCors"],
        O::HeadBucket => &["s3:HeadBucket"],
        _ => &[],
    };
    names.iter().map(|action| Need::on(action, bucket)).collect()
}

/// Whether the outcome tells what only readers may know: the entity tag, size or time of the object that is
/// written or removed. `If-None-Match: *` of a write and `If-Match: *` of a delete tell that there is one,
/// for which AWS asks no right to read (S3 user guide, "Enforce conditional writes" and "deletes").
fn tells_of_object(request: &S3Request, operation: Operation) -> bool {
    use Operation as O;
    const OF_DELETES: [&str; 2] = ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"];
    const OF_RENAMES: [&str; 3] = ["if-match", "if-modified-since", "if-unmodified-since"];
    let any = |names: &[&str]| names.iter().any(|name| request.header(name).is_some());
    match operation {
        O::PutObject | O::CopyObject | O::CompleteMultipartUpload => any(&["if-match"]),
        O::RenameObject => any(&OF_RENAMES),
        O::DeleteObject => {
            request.header("if-match").is_some_and(|text| text.trim() != "*") || any(&OF_DELETES)
        }
        _ => false,
    }
}

/// The right to remove what is locked in governance mode.
const BYPASS: &str = "s3:BypassGovernanceRetention";

/// The rights to delete one key of a bulk delete. `tells`: on conditions that only readers may know of.
pub(crate) fn delete_needs(
    request: &S3Request,
    (key, version): (&str, Option<&str>),
    tells: bool,
) -> Vec<Need> {
    let operations = [Some(Operation::DeleteObject), tells.then_some(Operation::GetObject)];
    let need = |operation| Need {
        action: action(operation, version.is_some()),
        bucket: request.bucket.clone(),
        key: Some(key.to_owned()),
        version: version.map(str::to_owned),
        point: request.point.clone(),
    };
    let mut all: Vec<Need> = operations.into_iter().flatten().map(need).collect();
    if bypasses_governance(request) {
        all.push(Need { action: BYPASS, ..need(Operation::DeleteObject) });
    }
    all
}

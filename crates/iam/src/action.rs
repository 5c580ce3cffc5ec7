//! The names of S3's actions (Service Authorization Reference, "Actions, resources, and condition
//! keys for Amazon S3"), with those that only MinIO has.

use crate::pattern::Pattern;

const ACTIONS: &str = "AbortMultipartUpload AssociateAccessGrantsIdentityCenter \
    BypassGovernanceRetention CreateAccessGrant CreateAccessPoint CreateAccessPointForObjectLambda \
    CreateBucket CreateBucketMetadataTableConfiguration CreateJob DeleteAccessPoint \
    DeleteAccessPointForObjectLambda DeleteAccessPointPolicy DeleteBucket DeleteBucketPolicy \
    DeleteBucketWebsite DeleteJobTagging DeleteObject DeleteObjectTagging DeleteObjectVersion \
    DeleteObjectVersionTagging DescribeJob GetAccelerateConfiguration GetAccessPoint \
    GetAccessPointPolicy GetAccessPointPolicyStatus GetAccountPublicAccessBlock \
    GetAnalyticsConfiguration GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging \
    GetBucketNotification GetBucketObjectLockConfiguration GetBucketOwnershipControls \
    GetBucketPolicy GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment \
    GetBucketTagging GetBucketVersioning GetBucketWebsite GetDataAccess GetEncryptionConfiguration \
    GetIntelligentTieringConfiguration GetInventoryConfiguration GetJobTagging \
    GetLifecycleConfiguration GetMetricsConfiguration GetObject GetObjectAcl GetObjectAttributes \
    GetObjectLegalHold GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion \
    GetObjectVersionAcl GetObjectVersionAttributes GetObjectVersionForReplication \
    GetObjectVersionTagging GetObjectVersionTorrent GetReplicationConfiguration InitiateReplication \
    ListAccessPoints ListAllMyBuckets ListBucket ListBucketMultipartUploads ListBucketVersions \
    ListJobs ListMultipartUploadParts ListTagsForResource ObjectOwnerOverrideToBucketOwner \
    PauseReplication PutAccelerateConfiguration PutAccessPointPolicy PutAccountPublicAccessBlock \
    PutAnalyticsConfiguration PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification \
    PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy \
    PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging PutBucketVersioning \
    PutBucketWebsite PutEncryptionConfiguration PutIntelligentTieringConfiguration \
    PutInventoryConfiguration PutJobTagging PutLifecycleConfiguration PutMetricsConfiguration \
    PutObject PutObjectAcl PutObjectLegalHold PutObjectRetention PutObjectTagging \
    PutObjectVersionAcl PutObjectVersionTagging PutReplicationConfiguration ReplicateDelete \
    ReplicateObject ReplicateTags RestoreObject TagResource UntagResource UpdateJobPriority \
    UpdateJobStatus UpdateObjectEncryption \
    ForceDeleteBucket HeadBucket ListenNotification ListenBucketNotification DeleteBucketCors \
    GetBucketCors PutBucketCors GetBucketQOS PutBucketQOS PutObjectFanOut \
    ResetBucketReplicationState";

/// Beginnings of the names of actions on objects; every other action is on a bucket or the account.
const ON_OBJECTS: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "DeleteObject",
    "GetObject",
    "ListMultipartUploadParts",
    "ObjectOwner",
    "PutObject",
    "Replicate",
    "RestoreObject",
    "UpdateObjectEncryption",
];

/// Whether a pattern stands for any action of S3.
pub(crate) fn is_known(pattern: &Pattern) -> bool {
    ACTIONS.split(' ').any(|name| pattern.matches_ignoring_case(&format!("s3:{name}")))
}

/// Whether every action that a pattern stands for is on objects (`Some(true)`), none is
/// (`Some(false)`), or some are.
pub(crate) fn on_objects(pattern: &Pattern) -> Option<bool> {
    let meant = ACTIONS
        .split(' ')
        .filter(|name| pattern.matches_ignoring_case(&format!("s3:{name}")))
        .map(|name| ON_OBJECTS.iter().any(|start| name.starts_with(start)));
    let (on, off): (Vec<bool>, Vec<bool>) = meant.partition(|is_on_object| *is_on_object);
    match (on.is_empty(), off.is_empty()) {
        (false, true) => Some(true),
        (true, _) => Some(false),
        (false, false) => None,
    }
}

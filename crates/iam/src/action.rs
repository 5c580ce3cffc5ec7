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

/// Condition keys that a bucket policy may name. A slash stands for any name behind it.
const KEYS: &str = "aws:sourceip aws:vpcsourceip aws:sourcevpc aws:sourcevpce aws:securetransport \
    aws:currenttime aws:epochtime aws:useragent aws:referer aws:username aws:userid \
    aws:principaltype aws:principalarn aws:principalaccount aws:principalorgid aws:principalorgpaths \
    aws:principaltag/ aws:principalisawsservice aws:principalservicename aws:requesttag/ \
    aws:resourcetag/ aws:tagkeys aws:tokenissuetime aws:multifactorauthpresent \
    aws:multifactorauthage aws:requestedregion aws:resourceaccount aws:resourceorgid aws:sourcearn \
    aws:sourceaccount aws:sourceidentity aws:sourceorgid aws:sourceowner aws:viaawsservice \
    aws:calledvia aws:groups \
    s3:authtype s3:signatureversion s3:signatureage s3:x-amz-content-sha256 s3:tlsversion s3:prefix \
    s3:delimiter s3:max-keys s3:versionid s3:locationconstraint s3:if-match s3:if-none-match \
    s3:objectcreationoperation s3:existingobjecttag/ s3:requestobjecttag/ s3:requestobjecttagkeys \
    s3:x-amz-acl s3:x-amz-grant-read s3:x-amz-grant-write s3:x-amz-grant-read-acp \
    s3:x-amz-grant-write-acp s3:x-amz-grant-full-control s3:x-amz-copy-source \
    s3:x-amz-metadata-directive s3:x-amz-storage-class s3:x-amz-website-redirect-location \
    s3:x-amz-server-side-encryption s3:x-amz-server-side-encryption-aws-kms-key-id \
    s3:x-amz-server-side-encryption-customer-algorithm s3:x-amz-object-ownership \
    s3:object-lock-mode s3:object-lock-retain-until-date s3:object-lock-remaining-retention-days \
    s3:object-lock-legal-hold s3:inventoryaccessibleoptionalfields s3:buckettag/ \
    s3:dataaccesspointarn s3:dataaccesspointaccount s3:accesspointnetworkorigin \
    s3:accessgrantsinstancearn s3:resourceaccount s3:is-bucket-region-enabled";

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

/// Whether a condition key, in lower case, means something to S3.
pub(crate) fn is_known_key(key: &str) -> bool {
    let of_a_session = ["jwt:", "ldap:", "sts:", "saml:"].iter().any(|p| key.starts_with(p));
    of_a_session
        || KEYS.split(' ').any(|known| match known.strip_suffix('/') {
            Some(_) => key.len() > known.len() && key.starts_with(known),
            None => key == known,
        })
}

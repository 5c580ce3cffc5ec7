//! Reading the documents of a bucket that cannot be set yet: what S3 answers when they are unset.
//!
//! Setting them answers 501, so these answers are true.

use super::list_objects::write_owner;
use super::{Handled, OWNER_ID, OWNER_NAME, version_of};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::response::xml;
use crate::xml::Xml;

pub(crate) fn get(context: &Context<'_>, operation: Operation) -> Handled {
    use Operation as O;
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let unset = |code: S3Code| Err(S3Error::new(code).field("BucketName", name.as_str()));
    let empty = |root: &str| Ok(xml(Xml::new(root).finish(root)));
    match operation {
        O::GetBucketAcl => Ok(xml(acl())),
        O::GetBucketAccelerateConfiguration => empty("AccelerateConfiguration"),
        O::GetBucketLogging => empty("BucketLoggingStatus"),
        O::GetBucketNotificationConfiguration => empty("NotificationConfiguration"),
        O::GetBucketRequestPayment => {
            let root = "RequestPaymentConfiguration";
            let mut document = Xml::new(root);
            document.text("Payer", "BucketOwner");
            Ok(xml(document.finish(root)))
        }
        O::GetBucketTagging if !bucket.tags.is_empty() => {
            let mut document = Xml::new("Tagging");
            document.open("TagSet");
            for (key, value) in &bucket.tags {
                document.open("Tag").text("Key", key).text("Value", value).close("Tag");
            }
            document.close("TagSet");
            Ok(xml(document.finish("Tagging")))
        }
        O::GetBucketTagging => unset(S3Code::NoSuchTagSet),
        O::GetBucketCors => unset(S3Code::NoSuchCORSConfiguration),
        O::GetBucketEncryption => unset(S3Code::ServerSideEncryptionConfigurationNotFoundError),
        O::GetBucketLifecycleConfiguration => unset(S3Code::NoSuchLifecycleConfiguration),
        O::GetBucketOwnershipControls => unset(S3Code::OwnershipControlsNotFoundError),
        O::GetBucketPolicy | O::GetBucketPolicyStatus => unset(S3Code::NoSuchBucketPolicy),
        O::GetBucketReplication => unset(S3Code::ReplicationConfigurationNotFoundError),
        O::GetBucketWebsite => unset(S3Code::NoSuchWebsiteConfiguration),
        O::GetObjectLockConfiguration => unset(S3Code::ObjectLockConfigurationNotFoundError),
        O::GetPublicAccessBlock => unset(S3Code::NoSuchPublicAccessBlockConfiguration),
        O::GetBucketAnalyticsConfiguration
        | O::GetBucketIntelligentTieringConfiguration
        | O::GetBucketInventoryConfiguration
        | O::GetBucketMetricsConfiguration => unset(S3Code::NoSuchConfiguration),
        other => Err(S3Error::not_implemented(other.name())),
    }
}

/// `GetObjectAcl`: the owner may do everything.
pub(crate) fn get_object_acl(context: &Context<'_>) -> Handled {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    context.engine.locate(name.as_str(), key.as_bytes(), version)?;
    Ok(xml(acl()))
}

fn acl() -> String {
    let root = "AccessControlPolicy";
    let mut document = Xml::new(root);
    write_owner(&mut document, "Owner");
    document.open("AccessControlList").open("Grant");
    document.raw(
        "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:type=\"CanonicalUser\">",
    );
    document.text("ID", OWNER_ID).text("DisplayName", OWNER_NAME).close("Grantee");
    document.text("Permission", "FULL_CONTROL").close("Grant").close("AccessControlList");
    document.finish(root)
}

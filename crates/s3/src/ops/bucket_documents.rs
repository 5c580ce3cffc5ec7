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
    context.engine.find_bucket(name.as_str())?;
    let unset = |code: S3Code| Err(S3Error::new(code).field("BucketName", name.as_str()));
    let empty = |root: &str| Ok(xml(Xml::new(root).finish(root)));
    match operation {
        O::GetBucketAcl => Ok(xml(acl())),
        O::GetBucketLogging => empty("BucketLoggingStatus"),
        O::GetBucketEncryption => unset(S3Code::ServerSideEncryptionConfigurationNotFoundError),
        O::GetBucketWebsite => unset(S3Code::NoSuchWebsiteConfiguration),
        O::GetObjectLockConfiguration => unset(S3Code::ObjectLockConfigurationNotFoundError),
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

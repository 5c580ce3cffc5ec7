//! `GetBucketAcl`, `PutBucketAcl`, `GetObjectAcl` and `PutObjectAcl`.

use super::documents::len_max;
use super::{Handled, read_document, version_of};
use crate::acl::{self, Grant};
use crate::auth::Verified;
use crate::authorize::{Need, account_of, allow, canonical_of, check_also, remember_acl};
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::{empty, set, xml};
use crate::rules::Ownership;
use crate::xml::parse;
use drystone_engine::plan::DocumentKind;
use drystone_engine::{BucketRow, ObjectDraft, ObjectRow, Versioning};

pub(crate) fn get_bucket(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let owner = canonical_of(context, account_of(&bucket));
    let rules = context.rules_of(&bucket)?;
    let grants = rules.acl.as_deref().filter(|_| rules.ownership != Ownership::Enforced);
    Ok(xml(acl::document(context, &owner, grants)))
}

/// Canonical id of the one who owns a version.
fn owner_of(context: &Context<'_>, bucket: &BucketRow, row: &ObjectRow) -> String {
    let account = if row.owner.is_empty() { account_of(bucket) } else { &row.owner };
    canonical_of(context, account)
}

pub(crate) fn get_object(context: &Context<'_>) -> Handled {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    let located = context.engine.locate(name.as_str(), key.as_bytes(), version)?;
    let rules = context.rules_of(&located.bucket)?;
    let owner = owner_of(context, &located.bucket, &located.row);
    let stored = located.row.acl.as_deref().map(acl::decode);
    let grants = stored.as_deref().filter(|_| rules.ownership != Ownership::Enforced);
    let mut reply = xml(acl::document(context, &owner, grants));
    if let Some(version) = located.reported_version() {
        set(&mut reply, "x-amz-version-id", &version);
    }
    Ok(reply)
}

/// Refuses a list that the bucket does not take.
fn check(context: &Context<'_>, bucket: &BucketRow, grants: &[Grant]) -> Result<(), S3Error> {
    let rules = context.rules_of(bucket)?;
    let bucket_owner = canonical_of(context, account_of(bucket));
    let canned = context.request.header_or_query("x-amz-acl");
    if rules.ownership == Ownership::Enforced
        && !acl::is_bucket_owners(canned, grants, &bucket_owner)
    {
        return Err(S3Code::AccessControlListNotSupported.into());
    }
    if rules.block_public_acls && grants.iter().any(Grant::is_public) {
        return Err(S3Code::AccessDenied.into());
    }
    Ok(())
}

/// As [`check`], by what the bucket says after the body has come, and until the list is set.
fn check_taken(context: &Context<'_>, bucket: &str, grants: Vec<Grant>) -> Result<(), S3Error> {
    let bucket = bucket.to_owned();
    check_also(context, move |context| {
        check(context, &*context.engine.find_bucket(&bucket)?, &grants)
    })
}

/// The list that a request sets: by headers, or by its body, not both.
async fn given(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    owner: &str,
    bucket_owner: &str,
    of_bucket: bool,
) -> Result<Vec<Grant>, S3Error> {
    let request = &context.request;
    let headers = acl::of_headers(request, context.directory, owner, bucket_owner, of_bucket)?;
    let has_body = body.as_ref().is_some_and(|body| !body.is_empty());
    match (headers, has_body) {
        (Some(grants), false) => Ok(grants),
        (Some(_), true) => {
            let message = "This request does not support content";
            Err(S3Error::with(S3Code::UnexpectedContent, message))
        }
        (None, false) => {
            let message = "Your request was missing a required header";
            Err(S3Error::with(S3Code::MissingSecurityHeader, message)
                .field("MissingHeaderName", "x-amz-acl"))
        }
        (None, true) => {
            let document =
                read_document(context, verified, body, len_max(DocumentKind::Acl)).await?;
            let root = parse(&document, "AccessControlPolicy")?;
            acl::of_document(&root, context.directory, owner)
        }
    }
}

pub(crate) async fn put_bucket(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let owner = canonical_of(context, account_of(&bucket));
    let grants = given(context, verified, body, &owner, &owner, true).await?;
    let stored = Some(acl::encode(&grants).into_bytes());
    check_taken(context, name.as_str(), grants)?;
    context.engine.set_document(name.as_str(), DocumentKind::Acl, "", stored).await?;
    Ok(empty(200))
}

/// Gives a bucket another list, or none, by the right that the sender has to change it.
pub(super) async fn reset_bucket(
    context: &Context<'_>,
    name: &str,
    grants: Option<Vec<Grant>>,
) -> Result<(), S3Error> {
    let stored = grants.as_deref().map(|grants| acl::encode(grants).into_bytes());
    let need = Need::on("s3:PutBucketAcl", Some(name));
    check_also(context, move |context| allow(context, &need))?;
    if let Some(grants) = grants {
        check_taken(context, name, grants)?;
    }
    Ok(context.engine.set_document(name, DocumentKind::Acl, "", stored).await?)
}

pub(crate) async fn put_object(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    let located = context.engine.locate(name.as_str(), key.as_bytes(), version)?;
    let bucket = located.bucket.clone();
    let owner = owner_of(context, &bucket, &located.row);
    let bucket_owner = canonical_of(context, account_of(&bucket));
    drop(located);
    let grants = given(context, verified, body, &owner, &bucket_owner, false).await?;
    let (object, text) = (key.as_bytes().to_vec(), acl::encode(&grants));
    check_taken(context, name.as_str(), grants)?;
    let row = context.engine.put_acl(name.as_str(), object, version, text).await?;
    let mut reply = empty(200);
    if bucket.versioning != Versioning::Off {
        set(&mut reply, "x-amz-version-id", &row.version_text());
    }
    Ok(reply)
}

/// Fills in who owns a new object, and its list.
///
/// # Errors
///
/// `AccessControlListNotSupported`, `AccessDenied` for a public list where these are blocked, and those
/// of the headers.
pub(crate) fn apply(
    context: &Context<'_>,
    bucket: &BucketRow,
    draft: &mut ObjectDraft,
) -> Result<(), S3Error> {
    let of_bucket = account_of(bucket);
    let writer = context.sender.account().unwrap_or(of_bucket);
    // Most requests: there is nothing to decide on.
    if !acl::is_given(&context.request) && writer == of_bucket {
        return Ok(());
    }
    let given = of_new(context, bucket)?;
    remember_acl(context, &bucket.name, &given);
    if let Some(owner) = given.owner {
        draft.owner = owner;
    }
    draft.acl = given.acl;
    Ok(())
}

/// Whose a new object is, and its list.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// Another account than that of the bucket.
    owner: Option<String>,
    acl: Option<String>,
}

/// Whose a new object is by what its request and its bucket say now.
pub(crate) fn of_new(context: &Context<'_>, bucket: &BucketRow) -> Result<Given, S3Error> {
    let of_bucket = account_of(bucket);
    let writer = context.sender.account().unwrap_or(of_bucket);
    let (mine, bucket_owner) = (canonical_of(context, writer), canonical_of(context, of_bucket));
    let given = acl::of_headers(&context.request, context.directory, &mine, &bucket_owner, false)?;
    if let Some(grants) = &given {
        check(context, bucket, grants)?;
    }
    let gives_up =
        context.request.header_or_query("x-amz-acl") == Some("bucket-owner-full-control");
    let belongs_to_bucket = match context.rules_of(bucket)?.ownership {
        Ownership::Enforced => true,
        Ownership::Preferred => gives_up,
        Ownership::Writer => false,
    };
    if belongs_to_bucket {
        return Ok(Given { owner: None, acl: None });
    }
    let grants = given.filter(|grants| !acl::is_plain(grants, &mine, &mine));
    Ok(Given {
        owner: (writer != of_bucket).then(|| writer.to_owned()),
        acl: grants.map(|grants| acl::encode(&grants)),
    })
}

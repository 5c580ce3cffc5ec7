//! `CreateBucket`.

use super::{HEARD_LEN_MAX, Handled, acls, read_document};
use crate::access_point;
use crate::acl::{self, Grant};
use crate::auth::Verified;
use crate::authorize::{Need, canonical_of, check_also, may};
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::headers::values;
use crate::object_headers::check_tags;
use crate::request::S3Request;
use crate::response::{empty, set};
use crate::rules::{BucketDefaults, is_blocked_by_account};
use crate::xml::{Xml, parse};
use drystone_base::BucketName;
use drystone_base::limits::BUCKET_TAG_COUNT_MAX;
use drystone_engine::plan::DocumentKind;
use drystone_engine::{BucketLock, EngineError};
use drystone_identity::DEFAULT_ACCOUNT;

/// An extension: objects of the bucket can be appended to.
const APPENDS: &str = "x-drystone-appends";

/// Whether a new bucket is to take appends, as far as its header can be read.
pub(crate) fn asks_for_appends(request: &S3Request) -> bool {
    request.text(APPENDS).is_some_and(|text| !text.eq_ignore_ascii_case("false"))
}

pub(crate) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let request = &context.request;
    let name = BucketName::create(request.bucket.as_deref().unwrap_or_default())?;
    // A host of an access point could be taken for this bucket.
    let label = name.as_str().to_owned();
    check_also(context, move |context| {
        match access_point::is_label_of_one(context.directory, &label)? {
            true => Err(S3Code::BucketAlreadyExists.into()),
            false => Ok(()),
        }
    })?;
    let flag = |name| Ok::<_, S3Error>(request.read(name, values::flag)?.unwrap_or_default());
    let lock = flag("x-amz-bucket-object-lock-enabled")?.then(BucketLock::default);
    let takes_appends = flag(APPENDS)?;
    if takes_appends && lock.is_some() {
        let message = "A bucket that locks versions takes no appends.";
        return Err(S3Error::argument(APPENDS, "true", message));
    }
    let documents = documents(context)?;
    // It was read before the decision, if there is one.
    let tags = match context.said.is_some() {
        true => tags(context, &read_document(context, verified, body, HEARD_LEN_MAX).await?)?,
        false => Vec::new(),
    };
    let owner = context.sender.account().filter(|account| *account != DEFAULT_ACCOUNT);
    let owner = owner.unwrap_or_default();
    // More than a name and a list; `200` would say that a bucket that is there already has it.
    let asks_more = lock.is_some()
        || takes_appends
        || !tags.is_empty()
        || request.header("x-amz-object-ownership").is_some();
    let grants = documents.iter().find(|(kind, _)| *kind == DocumentKind::Acl);
    let grants = grants.map(|(_, text)| acl::decode(&String::from_utf8_lossy(text)));
    let engine = context.engine;
    let made = engine.create_bucket(name.as_str(), owner, tags, documents, lock, takes_appends);
    match made.await {
        Ok(_) => {}
        Err(EngineError::BucketExists { is_own: true })
            if context.config.region == "us-east-1" && !asks_more =>
        {
            make_again(context, name.as_str(), grants).await?;
        }
        Err(error) => return Err(error.into()),
    }
    let mut reply = empty(200);
    set(&mut reply, "location", &format!("/{name}"));
    Ok(reply)
}

/// The tags that a document asks for, in a place that is this one.
fn tags(context: &Context<'_>, document: &[u8]) -> Result<Vec<(String, String)>, S3Error> {
    let root = parse(document, "CreateBucketConfiguration")?;
    if let Some(constraint) = root.text_of("LocationConstraint") {
        check_location(constraint, &context.config.region)?;
    }
    if root.child("Location").is_some() || root.child("Bucket").is_some() {
        return Err(S3Error::not_implemented("directory bucket"));
    }
    let mut tags = Vec::new();
    for tag in root.child("Tags").iter().flat_map(|tags| tags.children_named("Tag")) {
        let text = |name| tag.text_of(name).unwrap_or_default().to_owned();
        tags.push((text("Key"), text("Value")));
    }
    check_tags(tags, BUCKET_TAG_COUNT_MAX)
}

/// Makes a bucket that the sender's account has already: in us-east-1 that resets its list and nothing
/// else (S3 API reference, "CreateBucket", `BucketAlreadyOwnedByYou`).
///
/// # Errors
///
/// `BucketAlreadyOwnedByYou` where the list would change and the sender may not change it; those of a
/// list that the bucket does not take.
async fn make_again(
    context: &Context<'_>,
    name: &str,
    grants: Option<Vec<Grant>>,
) -> Result<(), S3Error> {
    let bucket = context.engine.find_bucket(name)?;
    if grants.is_none() && context.rules_of(&bucket)?.acl.is_none() {
        return Ok(());
    }
    match may(context, &Need::on("s3:PutBucketAcl", Some(name))) {
        true => acls::reset_bucket(context, name, grants).await,
        false => Err(S3Code::BucketAlreadyOwnedByYou.into()),
    }
}

/// What headers and `bucket_defaults` set of a new bucket.
fn documents(context: &Context<'_>) -> Result<Vec<(DocumentKind, Vec<u8>)>, S3Error> {
    let request = &context.request;
    let is_aws = context.config.bucket_defaults == BucketDefaults::Aws;
    let mut documents = Vec::new();
    let ownership = request.header("x-amz-object-ownership");
    let ownership = ownership.or(is_aws.then_some("BucketOwnerEnforced"));
    if let Some(ownership) = ownership {
        if !["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"].contains(&ownership) {
            let message = "Invalid x-amz-object-ownership header";
            return Err(S3Error::argument("x-amz-object-ownership", ownership, message));
        }
        let root = "OwnershipControls";
        let mut document = Xml::new(root);
        document.open("Rule").text("ObjectOwnership", ownership).close("Rule");
        documents.push((DocumentKind::OwnershipControls, document.finish(root).into_bytes()));
    }
    if is_aws {
        let root = "PublicAccessBlockConfiguration";
        let mut document = Xml::new(root);
        for switch in
            ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]
        {
            document.bool(switch, true);
        }
        documents.push((DocumentKind::PublicAccessBlock, document.finish(root).into_bytes()));
    }
    let owner = canonical_of(context, context.sender.account().unwrap_or(DEFAULT_ACCOUNT));
    let grants = acl::of_headers(request, context.directory, &owner, &owner, true)?;
    if let Some(grants) = grants.filter(|grants| !acl::is_plain(grants, &owner, &owner)) {
        if ownership == Some("BucketOwnerEnforced") {
            return Err(S3Code::InvalidBucketAclWithObjectOwnership.into());
        }
        if grants.iter().any(Grant::is_public) {
            check_also(context, |context| {
                let account = context.sender.account().unwrap_or(DEFAULT_ACCOUNT);
                match is_blocked_by_account(context.directory, account, "BlockPublicAcls")? {
                    true => Err(S3Code::AccessDenied.into()),
                    false => Ok(()),
                }
            })?;
        }
        documents.push((DocumentKind::Acl, acl::encode(&grants).into_bytes()));
    }
    Ok(documents)
}

fn check_location(constraint: &str, region: &str) -> Result<(), S3Error> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if constraint.is_empty() || constraint == region {
        return Ok(());
    }
    if !constraint.chars().all(is_name) || !constraint.contains('-') {
        return Err(S3Code::InvalidLocationConstraint.into());
    }
    let message = format!(
        "The {constraint} location constraint is incompatible for the region specific endpoint \
         this request was sent to."
    );
    Err(S3Error::with(S3Code::IllegalLocationConstraintException, message))
}

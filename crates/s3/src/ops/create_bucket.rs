//! `CreateBucket`.

use super::{Handled, read_document};
use crate::auth::Verified;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::{check_tags, refuse_not_implemented};
use crate::response::{empty, set};
use crate::xml::parse;
use drystone_base::BucketName;
use drystone_base::limits::BUCKET_TAG_COUNT_MAX;
use drystone_identity::DEFAULT_ACCOUNT;

pub(crate) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let request = &context.request;
    let name = BucketName::create(request.bucket.as_deref().unwrap_or_default())?;
    refuse_not_implemented(request)?;
    if request.header("x-amz-bucket-object-lock-enabled").is_some_and(|v| v != "false") {
        return Err(S3Error::not_implemented("x-amz-bucket-object-lock-enabled"));
    }
    if request.header("x-amz-object-ownership").is_some_and(|v| v != "BucketOwnerEnforced") {
        return Err(S3Error::not_implemented("x-amz-object-ownership"));
    }
    let mut tags = Vec::new();
    if request.content_length().is_some_and(|len| len > 0) {
        let document = read_document(context, verified, body, 64 << 10).await?;
        let root = parse(&document, "CreateBucketConfiguration")?;
        if let Some(constraint) = root.text_of("LocationConstraint") {
            check_location(constraint, &context.config.region)?;
        }
        if root.child("Location").is_some() || root.child("Bucket").is_some() {
            return Err(S3Error::not_implemented("directory bucket"));
        }
        for tag in root.child("Tags").iter().flat_map(|tags| tags.children_named("Tag")) {
            let text = |name| tag.text_of(name).unwrap_or_default().to_owned();
            tags.push((text("Key"), text("Value")));
        }
        tags = check_tags(tags, BUCKET_TAG_COUNT_MAX)?;
    }
    let owner = context.sender.account().filter(|account| *account != DEFAULT_ACCOUNT);
    context.engine.create_bucket(name.as_str(), owner.unwrap_or_default(), tags).await?;
    let mut reply = empty(200);
    set(&mut reply, "location", &format!("/{name}"));
    Ok(reply)
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

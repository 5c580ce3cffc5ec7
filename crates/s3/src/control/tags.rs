//! Tags of resources by their ARN: of buckets and of access points.

use super::access_points::{change, find};
use super::document;
use crate::access_point::of_arn;
use crate::auth::Verified;
use crate::authorize::{self, Need, account_of, allow_point, refuse_denied};
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::check_tags;
use crate::ops::{HEARD_LEN_MAX, read_document};
use crate::request::S3Request;
use crate::response::{Reply, empty, xml};
use crate::uri::decode_path;
use crate::xml::parse;
use drystone_base::limits::BUCKET_TAG_COUNT_MAX;
use std::collections::BTreeMap;

type Tags = BTreeMap<String, String>;

/// What has tags.
enum Resource {
    Bucket(String),
    Point { account: String, name: String },
}

impl Resource {
    fn parse(arn: &str) -> Result<Self, S3Error> {
        if let Some((account, name)) = of_arn(arn) {
            return Ok(Self::Point { account: account.to_owned(), name: name.to_owned() });
        }
        match arn.strip_prefix("arn:aws:s3:::") {
            Some(bucket) if !bucket.contains('/') => Ok(Self::Bucket(bucket.to_owned())),
            _ => Err(S3Error::argument("resourceArn", arn, "The resource has no tags")),
        }
    }

    fn allow(&self, context: &Context<'_>, own: &str, action: &'static str) -> Result<(), S3Error> {
        match self {
            Self::Bucket(bucket) => {
                // A deny of the same effect by its other name denies it here, too.
                let same = match action {
                    "s3:ListTagsForResource" => "s3:GetBucketTagging",
                    _ => "s3:PutBucketTagging",
                };
                refuse_denied(context, &Need::on(same, Some(bucket)))?;
                authorize::allow(context, &Need::on(action, Some(bucket)))
            }
            Self::Point { account, name } if account == own => {
                allow_point(context, action, account, name)
            }
            Self::Point { .. } => Err(S3Code::AccessDenied.into()),
        }
    }

    fn tags(&self, context: &Context<'_>, own: &str) -> Result<Tags, S3Error> {
        match self {
            Self::Bucket(bucket) => {
                let row = context.engine.find_bucket(bucket)?;
                if account_of(&row) != own {
                    return Err(S3Code::AccessDenied.into());
                }
                Ok(row.tags.iter().cloned().collect())
            }
            Self::Point { account, name } => Ok(find(context, account, name)?.tags),
        }
    }

    async fn set(&self, context: &Context<'_>, tags: Tags) -> Result<(), S3Error> {
        let tags = check_tags(tags.into_iter().collect(), BUCKET_TAG_COUNT_MAX)?;
        match self {
            Self::Bucket(bucket) => Ok(context.engine.set_bucket_tags(bucket, tags).await?),
            Self::Point { account, name } => {
                let tags = tags.into_iter().collect();
                change(context, account, name, |point| point.tags = tags).await
            }
        }
    }
}

/// What a request is about.
fn named(request: &S3Request) -> Result<Resource, S3Error> {
    let arn = decode_path(super::path_of(request).strip_prefix("tags/").unwrap_or_default());
    Resource::parse(&arn.ok_or(S3Code::InvalidURI)?)
}

/// Decides on a request.
pub(super) fn allow(context: &Context<'_>, own: &str) -> Result<(), S3Error> {
    let action = match context.request.method.as_str() {
        "GET" => "s3:ListTagsForResource",
        "POST" => "s3:TagResource",
        "DELETE" => "s3:UntagResource",
        _ => return Err(S3Error::not_implemented(super::path_of(&context.request))),
    };
    named(&context.request)?.allow(context, own, action)
}

/// Carries out what was decided on.
pub(super) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    own: &str,
) -> Result<Reply, S3Error> {
    let request = &context.request;
    let resource = named(request)?;
    match request.method.as_str() {
        "GET" => {
            const ROOT: &str = "ListTagsForResourceResult";
            let mut answer = document(ROOT);
            answer.open("Tags");
            for (key, value) in resource.tags(context, own)? {
                answer.open("Tag").text("Key", &key).text("Value", &value).close("Tag");
            }
            answer.close("Tags");
            Ok(xml(answer.finish(ROOT)))
        }
        "POST" => {
            let bytes = read_document(context, verified, body, HEARD_LEN_MAX).await?;
            let root = parse(&bytes, "TagResourceRequest")?;
            let mut tags = resource.tags(context, own)?;
            for tag in root.child("Tags").iter().flat_map(|tags| tags.children_named("Tag")) {
                let text = |name| tag.text_of(name).unwrap_or_default().to_owned();
                tags.insert(text("Key"), text("Value"));
            }
            resource.set(context, tags).await?;
            Ok(empty(204))
        }
        "DELETE" => {
            let mut tags = resource.tags(context, own)?;
            for (name, value, _) in &request.query {
                if name == "tagKeys" {
                    tags.remove(value);
                }
            }
            resource.set(context, tags).await?;
            Ok(empty(204))
        }
        _ => Err(S3Error::not_implemented(super::path_of(request))),
    }
}

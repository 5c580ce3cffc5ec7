//! Tags of resources by their ARN: of buckets and of access points.

use super::access_points as points;
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
use drystone_identity::AccessPoint;
use std::collections::BTreeMap;
use std::mem;

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
            Self::Point { account, name } => Ok(points::find(context, account, name)?.tags),
        }
    }

    /// Changes the tags as they are when the plan runs: those that the request does not name stay, also where
    /// others change them meanwhile.
    async fn change(
        &self,
        context: &Context<'_>,
        own: &str,
        change: Change,
    ) -> Result<(), S3Error> {
        match self {
            Self::Bucket(bucket) => {
                self.tags(context, own)?;
                let change = |tags: Vec<_>| change.of(tags);
                context.engine.change_bucket_tags(bucket, change).await?
            }
            Self::Point { account, name } => {
                let change = move |point: &mut AccessPoint| {
                    let tags = mem::take(&mut point.tags);
                    point.tags = change.of(tags)?.into_iter().collect();
                    Ok(())
                };
                points::change(context, account, name, change).await
            }
        }
    }
}

/// What a request changes of tags.
#[derive(Clone, Default)]
struct Change {
    set: Tags,
    gone: Vec<String>,
}

impl Change {
    /// The tags after it.
    fn of(
        self,
        tags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Vec<(String, String)>, S3Error> {
        let mut tags: Tags = tags.into_iter().collect();
        tags.extend(self.set);
        tags.retain(|key, _| !self.gone.contains(key));
        check_tags(tags.into_iter().collect(), BUCKET_TAG_COUNT_MAX)
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
            let mut change = Change::default();
            for tag in root.child("Tags").iter().flat_map(|tags| tags.children_named("Tag")) {
                let text = |name| tag.text_of(name).unwrap_or_default().to_owned();
                change.set.insert(text("Key"), text("Value"));
            }
            resource.change(context, own, change).await?;
            Ok(empty(204))
        }
        "DELETE" => {
            let keys = request.query.iter().filter(|(name, ..)| name == "tagKeys");
            let gone = keys.map(|(_, key, _)| key.clone()).collect();
            resource.change(context, own, Change { gone, ..Change::default() }).await?;
            Ok(empty(204))
        }
        _ => Err(S3Error::not_implemented(super::path_of(request))),
    }
}

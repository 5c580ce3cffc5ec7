//! `ListBuckets`.

use super::Handled;
use super::list_objects::write_owner;
use crate::authorize::{Need, account_of, allow, canonical_of, may};
use crate::error::S3Error;
use crate::gateway::Context;
use crate::response::xml;
use crate::xml::Xml;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drystone_base::Timestamp;
use drystone_engine::BucketRow;
use drystone_identity::DEFAULT_ACCOUNT;

/// Buckets read at once.
const PAGE_LEN: usize = 1000;

/// Buckets of the sender's account: all of them, or those that he has rights to.
async fn visible(
    context: &Context<'_>,
    prefix: &str,
    mut after: String,
    wanted: usize,
) -> Result<Vec<BucketRow>, S3Error> {
    let need = |bucket: Option<&str>, action| Need::on(action, bucket);
    let account = context.sender.account().unwrap_or_default();
    let sees_all = may(context, &need(None, "s3:ListAllMyBuckets"));
    let is_visible = |bucket: &BucketRow| {
        let name = Some(bucket.name.as_str());
        account_of(bucket) == account
            && (sees_all
                || may(context, &need(name, "s3:ListBucket"))
                || may(context, &need(name, "s3:GetBucketLocation")))
    };
    let mut found = Vec::new();
    while found.len() < wanted {
        let page = context.engine.list_buckets(prefix, &after, PAGE_LEN)?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.name);
        let is_last = page.len() < PAGE_LEN;
        for bucket in page {
            if found.len() < wanted && is_visible(&bucket) {
                found.push(bucket);
            }
            if !sees_all {
                // A thousand decisions in one go would keep others waiting.
                tokio::task::yield_now().await;
            }
        }
        if is_last {
            break;
        }
    }
    if found.is_empty() && !sees_all {
        // With no right to any bucket there is nothing to be said; this keeps the reason.
        allow(context, &need(None, "s3:ListAllMyBuckets"))?;
    }
    Ok(found)
}

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let limit = match request.query_int("max-buckets")? {
        Some(limit) if (1..=10_000).contains(&limit) => Some(limit as usize),
        Some(limit) => {
            let message = "max-buckets must be between 1 and 10000";
            return Err(S3Error::argument("max-buckets", &limit.to_string(), message));
        }
        None => None,
    };
    let prefix = request.query("prefix").unwrap_or_default();
    let after = match request.query("continuation-token") {
        Some(token) => URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| {
                S3Error::argument("continuation-token", token, "The token is not valid")
            })?,
        None => String::new(),
    };
    let region = &context.config.region;
    let other_region = request.query("bucket-region").is_some_and(|wanted| wanted != region);
    let wanted = if other_region { 0 } else { limit.map_or(usize::MAX, |limit| limit + 1) };
    let mut buckets = visible(context, prefix, after, wanted).await?;
    let has_more = limit.is_some_and(|limit| buckets.len() > limit);
    buckets.truncate(limit.unwrap_or(usize::MAX));
    let mut xml_out = Xml::new("ListAllMyBucketsResult");
    let owner = canonical_of(context, context.sender.account().unwrap_or(DEFAULT_ACCOUNT));
    write_owner(&mut xml_out, "Owner", &owner);
    xml_out.open("Buckets");
    for bucket in &buckets {
        xml_out.open("Bucket").text("Name", &bucket.name);
        xml_out.text("CreationDate", &Timestamp(bucket.created_ms).to_iso());
        xml_out.text("BucketRegion", region);
        xml_out.text("BucketArn", &format!("arn:aws:s3:::{}", bucket.name)).close("Bucket");
    }
    xml_out.close("Buckets");
    if let (true, Some(last)) = (has_more, buckets.last()) {
        xml_out.text("ContinuationToken", &URL_SAFE_NO_PAD.encode(&last.name));
    }
    if !prefix.is_empty() {
        xml_out.text("Prefix", prefix);
    }
    Ok(xml(xml_out.finish("ListAllMyBucketsResult")))
}

//! `ListBuckets`.

use super::Handled;
use crate::authorize::{Need, allow, as_it_is_now, may};
use crate::error::S3Error;
use crate::gateway::Context;
use crate::owner::Owner;
use crate::xml::escaped_len_max;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drystone_base::Timestamp;
use drystone_base::limits::BUCKET_COUNT_MAX;
use drystone_engine::BucketsAsked;
use drystone_identity::DEFAULT_ACCOUNT;

/// The right to see all buckets of one's account.
const ALL: &str = "s3:ListAllMyBuckets";
const ROOT: &str = "ListAllMyBucketsResult";
/// Bytes of the elements before and behind the entries besides what they repeat.
const HEAD_LEN: u64 = 2 << 10;
/// Bytes that an entry takes besides its name, which stands in it twice and is held meanwhile.
const ENTRY_LEN: u64 = 256;
/// Buckets of one step where each is decided on, which may take 10 ms.
const DECIDED_COUNT_MAX: usize = 16;

/// What is known of the list while it is put together.
#[derive(Default)]
struct Found {
    /// Names, and when they were created.
    buckets: Vec<(String, u64)>,
    /// The name that was looked at last.
    after: Option<String>,
}

/// What is asked for.
struct Asked<'a> {
    prefix: &'a str,
    after: String,
    /// Entries at most.
    limit: usize,
}

impl Asked<'_> {
    /// Goes on with the list of the sender's buckets: all of them, or those that he has rights to. It is done
    /// with one more than the limit.
    fn step(&self, context: &Context<'_>, found: &mut Found) -> Result<bool, S3Error> {
        // By the rights that the sender has when it is its turn.
        let now = as_it_is_now(context)?;
        let context = &now;
        let sees_all = may(context, &Need::on(ALL, None));
        // Without an account there is no bucket of one's own.
        let Some(account) = context.sender.account() else { return Ok(true) };
        let owner = if account == DEFAULT_ACCOUNT { "" } else { account };
        let may_see = |name: &str| {
            let may_do = |action| may(context, &Need::on(action, Some(name)));
            sees_all || may_do("s3:ListBucket") || may_do("s3:GetBucketLocation")
        };
        let left = (self.limit + 1).saturating_sub(found.buckets.len());
        let most = if sees_all { left } else { DECIDED_COUNT_MAX.min(left) };
        let after = found.after.as_deref().unwrap_or(&self.after);
        let asked = BucketsAsked { prefix: self.prefix, after, owner: Some(owner), limit: most };
        let page = context.engine.list_buckets(&asked)?;
        let seen = page.buckets.into_iter().filter(|bucket| may_see(&bucket.name));
        found.buckets.extend(seen.map(|bucket| (bucket.name, bucket.created_ms)));
        found.after = page.next;
        Ok(found.after.is_none() || found.buckets.len() > self.limit)
    }
}

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let limit = match request.query_int("max-buckets")? {
        Some(limit) if (1..=BUCKET_COUNT_MAX as u64).contains(&limit) => limit as usize,
        Some(limit) => {
            let message = "max-buckets must be between 1 and 10000";
            return Err(S3Error::argument("max-buckets", &limit.to_string(), message));
        }
        None => BUCKET_COUNT_MAX,
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
    let asked = Asked { prefix, after, limit };
    let step = |found: &mut Found| match other_region {
        true => Ok(true),
        false => asked.step(context, found),
    };
    let fixed = HEAD_LEN + escaped_len_max(prefix.as_bytes());
    let of_entry = |name: &str| ENTRY_LEN + (3 * name.len() + region.len()) as u64;
    let len_of =
        |found: &Found| fixed + found.buckets.iter().map(|(name, _)| of_entry(name)).sum::<u64>();
    let listed = context.list_in_steps(step, len_of).await?;
    let buckets = &listed.page.buckets;
    if buckets.is_empty() {
        // With no right to any bucket there is nothing to be said; this keeps the reason.
        allow(&as_it_is_now(context)?, &Need::on(ALL, None))?;
    }
    let shown = &buckets[..buckets.len().min(limit)];
    let mut document = listed.document(ROOT);
    let account = context.sender.account().unwrap_or(DEFAULT_ACCOUNT);
    Owner::of_account(context, account).write(&mut document, "Owner");
    document.open("Buckets");
    for (name, created_ms) in shown {
        document.open("Bucket").text("Name", name);
        document.text("CreationDate", &Timestamp(*created_ms).to_iso());
        document.text("BucketRegion", region);
        document.text("BucketArn", &format!("arn:aws:s3:::{name}")).close("Bucket");
    }
    document.close("Buckets");
    if let (true, Some((last, _))) = (buckets.len() > limit, shown.last()) {
        document.text("ContinuationToken", &URL_SAFE_NO_PAD.encode(last));
    }
    if !prefix.is_empty() {
        document.text("Prefix", prefix);
    }
    Ok(listed.reply(document.finish(ROOT)))
}

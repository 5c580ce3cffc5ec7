//! What the log service may write: lines of access logs come as S3's own service does, so the policy of the
//! target bucket, or its list where lists count, decides on them (S3 User Guide, "Permissions for log
//! delivery"). `docs/decisions/0016-s3-authorization.md` says what holds for buckets that say nothing.

use super::{Need, account_of, allow};
use crate::acl;
use crate::bucket_log::{Source, key_of};
use crate::error::{S3Code, S3Error};
use crate::gateway::{Context, GatewayConfig};
use crate::rules::{Ownership, Rules};
use drystone_engine::{BucketRow, Engine};
use drystone_iam::{Arn, Caller, CommonFacts, Facts, PolicySet, Principal, Reason, decide};

/// The service that writes access logs, as policies name it.
const LOGGING: &str = "logging.s3.amazonaws.com";
const ACTION: &str = "s3:PutObject";

/// What a bucket says about lines of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Its policy or its list lets the log service write.
    Allows,
    /// Neither does, and no one has set who owns its objects: until then it takes what those send who may
    /// write themselves.
    SaysNothing,
    /// With the sentence that says why, and what to do.
    Refuses(&'static str),
}

const OTHER_ACCOUNT: &str = "The target bucket belongs to another account than the bucket that is \
     logged: log to a bucket of the same account.";
const DENIED: &str = "A statement denies logging.s3.amazonaws.com s3:PutObject on the target bucket: \
     take the statement out of its policy, or narrow it.";
const NOT_ALLOWED: &str = "The target bucket does not let the log service write: give \
     logging.s3.amazonaws.com s3:PutObject in its policy, or the log-delivery group WRITE in its list.";

/// The condition keys of a delivery.
fn facts_of(source: &Source, target: &BucketRow, region: &str, now_ms: u64) -> Facts {
    let mut facts = Facts::new();
    facts
        .add("aws:SourceArn", Arn::s3(&source.bucket, None))
        .add("aws:SourceAccount", source.account.clone())
        .add("aws:ResourceAccount", account_of(target))
        .add("s3:ResourceAccount", account_of(target))
        .add("s3:ObjectCreationOperation", "true");
    let common = CommonFacts {
        principal: &Principal::Service { name: LOGGING },
        mfa_age_s: None,
        address: None,
        // Nothing of it leaves the process.
        is_secure: true,
        now_ms,
        region,
        user_agent: None,
        referer: None,
    };
    common.add_to(&mut facts);
    for (name, value) in &target.tags {
        facts.add(&format!("s3:BucketTag/{name}"), value.clone());
        facts.add(&format!("aws:ResourceTag/{name}"), value.clone());
    }
    facts
}

fn ask(
    engine: &Engine,
    config: &GatewayConfig,
    source: &Source,
    target: &BucketRow,
    key: &str,
) -> Result<Answer, S3Error> {
    // Bucket and account are the owner's of the lines, whose target lies in the same account.
    if account_of(target) != source.account {
        return Ok(Answer::Refuses(OTHER_ACCOUNT));
    }
    let defaults = (config.bucket_defaults, config.encrypts_always);
    let rules = Rules::load(engine, &config.directory, target, defaults)?;
    if rules.is_broken {
        return Err(S3Code::InternalError.into());
    }
    let lists_count = rules.ownership != Ownership::Enforced;
    let acl_allows = lists_count && rules.acl.as_deref().is_some_and(acl::allows_log_delivery);
    let facts = facts_of(source, target, &config.region, engine.now_ms());
    let caller = Caller { principal: &Principal::Service { name: LOGGING }, canonical: None };
    let set = PolicySet {
        bucket: rules.policy.as_ref().map(|policy| ("bucket policy", policy)),
        resource_account: Some(account_of(target)),
        acl_allows,
        ..PolicySet::default()
    };
    let decision = decide(caller, ACTION, &Arn::s3(&target.name, Some(key)), &facts, &set);
    Ok(match decision.explanation.reason {
        _ if decision.allowed => Answer::Allows,
        Reason::ExplicitDeny => Answer::Refuses(DENIED),
        reason if reason.is_final() => Answer::Refuses(NOT_ALLOWED),
        _ if rules.has_controls => Answer::Refuses(NOT_ALLOWED),
        _ => Answer::SaysNothing,
    })
}

fn refused(target: &str, message: &str) -> S3Error {
    S3Error::with(S3Code::InvalidTargetBucketForLogging, message).field("TargetBucket", target)
}

/// Whether lines may be delivered now.
///
/// # Errors
///
/// `InvalidTargetBucketForLogging`; `InternalError` if the rules of the target cannot be read.
pub(crate) fn may_deliver(
    engine: &Engine,
    config: &GatewayConfig,
    source: &Source,
    target: &BucketRow,
    key: &str,
) -> Result<(), S3Error> {
    match ask(engine, config, source, target, key)? {
        Answer::Allows | Answer::SaysNothing => Ok(()),
        Answer::Refuses(why) => Err(refused(&target.name, why)),
    }
}

/// Whether the sender may have lines delivered: to a bucket that lets the log service write, or to one that
/// says nothing and where the sender may write.
///
/// # Errors
///
/// As [`may_deliver`].
pub(crate) fn may_log_to(
    context: &Context<'_>,
    source: &Source,
    target: &BucketRow,
) -> Result<(), S3Error> {
    let key = key_of(source, &context.config.region, context.request.now_ms);
    match ask(context.engine, context.config, source, target, &key)? {
        Answer::Allows => Ok(()),
        Answer::SaysNothing => {
            let need = Need { key: Some(key), ..Need::on(ACTION, Some(&target.name)) };
            allow(context, &need).map_err(|_| refused(&target.name, NOT_ALLOWED))
        }
        Answer::Refuses(why) => Err(refused(&target.name, why)),
    }
}

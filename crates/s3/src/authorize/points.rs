//! What an access point lets through: besides the rights on its bucket, its own policy must allow a request,
//! or the policies of the caller name it.

use super::{Need, Wanted, account_of, canonical_of_sender, facts, note_refusal};
use crate::access_point::failed;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::point_rules::PointName;
use crate::rules::{is_blocked, is_blocked_by_account};
use drystone_engine::BucketRow;
use drystone_iam::{Caller, Document, Explanation, PolicySet, decide};
use drystone_identity::{AccessPoint, AccessPointScope};

/// Whether the scope of an access point has a request.
fn is_in_scope(context: &Context<'_>, scope: &AccessPointScope, need: &Need) -> bool {
    let operation = need.action.strip_prefix("s3:").unwrap_or(need.action);
    // Versions are read and removed by the right to do that with objects.
    let plain = operation.replace("ObjectVersion", "Object").replace("BucketVersions", "Bucket");
    let permits = |name: &String| *name == operation || *name == plain;
    if !scope.permissions.is_empty() && !scope.permissions.iter().any(permits) {
        return false;
    }
    let named = need.key.as_deref().or_else(|| context.request.query("prefix"));
    scope.prefixes.is_empty()
        || scope
            .prefixes
            .iter()
            .any(|prefix| named.is_some_and(|named| named.starts_with(prefix.as_str())))
}

/// Decides on a right on an access point itself: to change it, or to read about it.
///
/// # Errors
///
/// `AccessDenied`.
pub(crate) fn allow_point(
    context: &Context<'_>,
    action: &'static str,
    account: &str,
    name: &str,
) -> Result<(), S3Error> {
    let Some(identity) = &context.sender.identity else { return Err(S3Code::AccessDenied.into()) };
    let need = Need::on(action, None);
    let wanted = Wanted::new([Some(&identity.fact_keys), None]);
    let mut facts = facts::of(context, None, &need, &wanted);
    let region = &context.config.region;
    let resource = format!("arn:aws:s3:{region}:{account}:accesspoint/{name}");
    for key in ["aws:ResourceAccount", "s3:ResourceAccount", "s3:DataAccessPointAccount"] {
        facts.set(key, account);
    }
    facts.set("s3:DataAccessPointArn", &resource);
    facts.set("s3:AccessPointNetworkOrigin", "Internet");
    let caller = Caller { principal: context.sender.principal(), canonical: None };
    let named = identity.named_policies();
    let set = PolicySet { resource_account: Some(account), ..identity.policy_set(&named) };
    let decision = decide(caller, action, &resource, &facts, &set);
    if decision.allowed { Ok(()) } else { Err(S3Code::AccessDenied.into()) }
}

/// Whether a public policy of the point admits only its own account: the most restrictive of the point, its
/// account, the bucket and the bucket's account counts (S3 User Guide, "Managing public access to access
/// points").
fn is_restricted(
    context: &Context<'_>,
    point: &AccessPoint,
    bucket: &BucketRow,
) -> Result<bool, S3Error> {
    const SWITCH: &str = "RestrictPublicBuckets";
    let Context { engine, directory, .. } = *context;
    Ok(point.block.restrict_public_buckets
        || is_blocked_by_account(directory, &point.account, SWITCH)?
        || is_blocked(engine, directory, bucket, SWITCH)?)
}

/// Decides whether a right may be used through an access point, as it is by now.
///
/// # Errors
///
/// `AccessDenied`. To who may read about it: `NoSuchAccessPoint` if it is not there, is gone, or is one of
/// another bucket, since the request named it; `NoSuchBucket` if its bucket is gone; `InternalError` if its
/// policy cannot be read.
pub(crate) fn pass(context: &Context<'_>, named: &PointName, need: &Need) -> Result<(), S3Error> {
    let Err((resource, explanation)) = decide_to_pass(context, named, need)? else {
        return Ok(());
    };
    note_refusal(context, need.action, resource, explanation);
    Err(S3Code::AccessDenied.into())
}

/// As [`pass`]; a refusal says on what it was decided, and why.
pub(super) fn decide_to_pass(
    context: &Context<'_>,
    named: &PointName,
    need: &Need,
) -> Result<Result<(), (String, Explanation)>, S3Error> {
    let sender = &context.sender;
    let found = context.rules.points.get(context.directory, &named.account, &named.name);
    let found = found.map_err(|error| failed(&error))?;
    let told = |error: S3Error| {
        let may_know = allow_point(context, "s3:GetAccessPoint", &named.account, &named.name);
        may_know.map_or_else(|refusal| refusal, |()| error)
    };
    let missing = || S3Error::new(S3Code::NoSuchAccessPoint).field("AccessPointName", &named.name);
    let rules = found.filter(|rules| rules.point.bucket == named.bucket);
    let rules = rules.ok_or_else(|| told(missing()))?;
    if rules.is_broken {
        return Err(told(S3Code::InternalError.into()));
    }
    let (point, policy) = (&rules.point, rules.policy.as_ref());
    let arn = point.arn(&context.config.region);
    let resource = match &need.key {
        Some(key) => format!("{arn}/object/{key}"),
        None => arn,
    };
    let wanted = Wanted::new([
        sender.identity.as_ref().map(|identity| &identity.fact_keys),
        policy.map(Document::fact_keys),
    ]);
    let bucket = context.engine.find_bucket(&point.bucket).map_err(|error| told(error.into()))?;
    // Another account, or the same one, may have made a bucket of the name since.
    let is_same = point.bucket_id.is_none_or(|id| id == bucket.id.0);
    if account_of(&bucket) != point.bucket_account || !is_same {
        return Err(S3Code::AccessDenied.into());
    }
    let mut facts = facts::of(context, Some(&bucket), need, &wanted);
    for key in ["aws:ResourceAccount", "s3:ResourceAccount"] {
        facts.set(key, &point.account);
    }
    let canonical = canonical_of_sender(context);
    let caller = Caller { principal: sender.principal(), canonical: canonical.as_deref() };
    let named = sender.identity.as_ref().map(|identity| identity.named_policies());
    let set = match (&sender.identity, &named) {
        (Some(identity), Some(named)) => identity.policy_set(named),
        _ => PolicySet::default(),
    };
    let own = policy.map(|policy| ("access point policy", policy));
    let set = PolicySet { bucket: own, resource_account: Some(&point.account), ..set };
    let decision = decide(caller, need.action, &resource, &facts, &set);
    let is_stranger = sender.account() != Some(point.account.as_str());
    let is_public = policy.is_some_and(Document::is_public);
    let is_cut_off = is_stranger && is_public && is_restricted(context, point, &bucket)?;
    let in_scope = point.scope.as_ref().is_none_or(|scope| is_in_scope(context, scope, need));
    Ok(match decision.allowed && in_scope && !is_cut_off {
        true => Ok(()),
        false => Err((resource, decision.explanation)),
    })
}

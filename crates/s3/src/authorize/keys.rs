//! Who may use a key of SSE-KMS.

use super::{Need, Wanted, facts, note_refusal};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use drystone_iam::{Caller, DocumentKind, PolicySet, StoredPolicy, decide_key, is_named};
use drystone_identity::DEFAULT_ACCOUNT;
use drystone_kms::{KeyRules, KmsError};
use std::collections::BTreeMap;

/// Decides whether the sender may seal (`kms:GenerateDataKey`) or open (`kms:Decrypt`) with a key. The
/// default key is for everybody with an identity whom no policy stops; any other must be allowed: by policies
/// of the caller, as far as the policy of the key lets them decide, by the policy of the key, or by a grant.
/// Policies name keys as AWS does, or as `arn:minio:kms:::ID`.
///
/// # Errors
///
/// `AccessDenied`.
pub(super) fn may_use_key(
    context: &Context<'_>,
    action: &'static str,
    id: &str,
) -> Result<(), S3Error> {
    let sender = &context.sender;
    let Some(identity) = &sender.identity else { return Err(S3Code::AccessDenied.into()) };
    let kms = &context.config.kms;
    let rules = match kms.rules(id) {
        // The default key is made when it is first used; any other is missed when it is opened.
        Err(KmsError::NotFound(_)) => KeyRules::default(),
        rules => rules?,
    };
    let owner = rules.account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
    let is_own = sender.account() == Some(owner);
    let stored = rules.policy.as_deref().map(StoredPolicy::of_row);
    let policy = stored.map(|policy| policy.document(DocumentKind::Key)).transpose();
    let policy = policy.map_err(|_| S3Error::from(S3Code::InternalError))?;
    if identity.is_unrestricted_root() && is_own && policy.is_none() {
        return Ok(());
    }
    let of_policy = policy.as_ref().map(|policy| policy.fact_keys());
    let wanted = Wanted::new([Some(&identity.fact_keys), of_policy]);
    let need = Need::on(action, None);
    let mut facts = facts::of(context, None, &need, &wanted);
    if owner != DEFAULT_ACCOUNT {
        facts.set("aws:ResourceAccount", owner);
    }
    let caller = Caller { principal: sender.principal(), canonical: None };
    let named = identity.named_policies();
    let bucket = policy.as_ref().map(|policy| ("key policy", policy));
    let set = PolicySet { resource_account: Some(owner), bucket, ..identity.policy_set(&named) };
    let arn = kms.arn(id);
    // Objects bind contexts of their own; a grant that wants one is no grant here.
    let (operation, none) = (action.trim_start_matches("kms:"), BTreeMap::new());
    let is_granted = rules.grants.iter().any(|grant| {
        let grantee = StoredPolicy::of_row(&grant.grantee).document(DocumentKind::Key);
        grant.covers(operation, &none) && grantee.is_ok_and(|grantee| is_named(caller, &grantee))
    });
    let decisions = [arn.clone(), format!("arn:minio:kms:::{id}")]
        .map(|resource| decide_key(caller, action, &resource, &facts, (&set, is_granted)));
    let denied = decisions.iter().find(|decision| decision.explanation.reason.is_final());
    let is_default = id == kms.default_id() && policy.is_none();
    let allowed = decisions.iter().any(|decision| decision.allowed);
    if denied.is_none() && (allowed || is_default) {
        return Ok(());
    }
    let explanation = denied.unwrap_or(&decisions[0]).explanation.clone();
    note_refusal(context, action, arn.clone(), explanation);
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {arn}",
        sender.principal().arn().unwrap_or_default()
    );
    Err(S3Error::with(S3Code::AccessDenied, message))
}

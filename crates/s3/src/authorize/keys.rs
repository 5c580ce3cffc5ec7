//! Who may use a key of SSE-KMS.

use super::{Need, Wanted, facts, note_refusal};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use drystone_iam::{Caller, PolicySet, decide};
use drystone_identity::DEFAULT_ACCOUNT;

/// Decides whether the sender may seal (`kms:GenerateDataKey`) or open (`kms:Decrypt`) with a key. The
/// default key is for everybody with an identity whom no policy stops; any other must be allowed. Policies
/// name keys as AWS does, or as `arn:minio:kms:::ID`.
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
    let is_own = sender.account() == Some(DEFAULT_ACCOUNT);
    if identity.is_unrestricted_root() && is_own {
        return Ok(());
    }
    let wanted = Wanted::new([Some(&identity.fact_keys), None]);
    let need = Need::on(action, None);
    let facts = facts::of(context, None, &need, &wanted);
    let caller = Caller { principal: sender.principal(), canonical: None };
    let named = identity.named_policies();
    let resource_account = Some(DEFAULT_ACCOUNT);
    let set = PolicySet { resource_account, ..identity.policy_set(&named) };
    let arn = context.config.kms.arn(id);
    let decisions = [arn.clone(), format!("arn:minio:kms:::{id}")]
        .map(|resource| decide(caller, action, &resource, &facts, &set));
    let denied = decisions.iter().find(|decision| decision.explanation.reason.is_final());
    let is_default = id == context.config.kms.default_id();
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

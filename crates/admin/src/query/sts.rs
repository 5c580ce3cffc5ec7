//! Sessions.

use super::keys::owner_arn;
use super::write::Xml;
use super::{Answer, Call, Parameters, QueryError};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_iam::Principal;
use drystone_identity::{
    AssumeRequest, DEFAULT_ACCOUNT, IdentityError, Role, SessionCredentials, SessionRequest,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

pub(super) const DURATION_DEFAULT_S: u64 = 3600;
pub(super) const ROLE_RANGE_S: RangeInclusive<u64> = 900..=43_200;
const SESSION_RANGE_S: RangeInclusive<u64> = 900..=129_600;

/// Whether an action is of STS and not of IAM.
pub(super) fn is_of_sts(action: &str) -> bool {
    matches!(
        action,
        "AssumeRole"
            | "AssumeRoleWithWebIdentity"
            | "AssumeRoleWithLDAPIdentity"
            | "AssumeRoleWithSAML"
            | "AssumeRoleWithCertificate"
            | "AssumeRoleWithClientGrants"
            | "AssumeRoleWithCustomToken"
            | "GetCallerIdentity"
            | "GetSessionToken"
            | "GetFederationToken"
            | "GetAccessKeyInfo"
            | "DecodeAuthorizationMessage"
    )
}

pub(super) async fn run(call: &Call<'_>, action: &str) -> Answer {
    match action {
        "AssumeRole" => assume_role(call).await,
        "GetCallerIdentity" => Ok(caller_identity(call)),
        "GetSessionToken" => session_token(call).await,
        "GetAccessKeyInfo" => access_key_info(call),
        _ => {
            let message = format!("{action} is not implemented.");
            Err(QueryError::not_implemented(message))
        }
    }
}

/// How long the session is to last, in seconds.
pub(super) fn duration(
    parameters: &Parameters,
    range: RangeInclusive<u64>,
    default: u64,
) -> Result<u64, QueryError> {
    match parameters.number("DurationSeconds")? {
        None => Ok(default),
        Some(seconds) if range.contains(&seconds) => Ok(seconds),
        Some(seconds) => Err(QueryError::validation(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy \
             constraint: Member must be from {} to {}",
            range.start(),
            range.end()
        ))),
    }
}

pub(super) fn write_credentials(xml: &mut Xml, credentials: &SessionCredentials) {
    xml.open("Credentials").text("AccessKeyId", &credentials.access_key);
    xml.text("SecretAccessKey", credentials.secret_key.reveal());
    xml.text("SessionToken", &credentials.token);
    xml.text("Expiration", &Timestamp(credentials.expires_ms).to_iso()).close("Credentials");
}

/// What narrows a session: a policy, and managed policies by their resource names.
pub(super) fn narrowed(parameters: &Parameters) -> SessionRequest {
    SessionRequest {
        policy: parameters.get("Policy").map(str::to_owned),
        policy_arns: parameters.members("PolicyArns", ".arn"),
        ..SessionRequest::default()
    }
}

/// A policy that is not there is a document that cannot be read, in the words of STS.
pub(super) fn session_error(error: IdentityError) -> QueryError {
    match &error {
        IdentityError::NotFound { kind: "policy", .. } => {
            QueryError::new("MalformedPolicyDocument", 400, error.to_string())
        }
        _ => error.into(),
    }
}

/// Tags of a session become condition keys of its requests.
fn session_facts(call: &Call<'_>) -> Result<BTreeMap<String, Vec<String>>, QueryError> {
    let tags = call.parameters.tags()?.into_iter();
    Ok(tags.map(|(key, value)| (format!("aws:PrincipalTag/{key}"), vec![value])).collect())
}

async fn assume_role(call: &Call<'_>) -> Answer {
    let arn = call.parameters.need("RoleArn")?;
    let session = call.parameters.need("RoleSessionName")?;
    let seconds = duration(&call.parameters, ROLE_RANGE_S, DURATION_DEFAULT_S)?;
    // The name of a class of sessions, by which MinIO ends some of them: here all of a name end.
    call.parameters.get("TokenRevokeType");
    let identity = call.actor.identity;
    let denied = || {
        let who = identity.principal.arn().unwrap_or_default();
        let message =
            format!("User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}");
        QueryError::denied(message)
    };
    if !identity.may_make_keys() {
        return Err(denied());
    }
    let mut facts = call.actor.facts.clone();
    facts.add_if("sts:ExternalId", call.parameters.get("ExternalId"));
    facts.add("sts:RoleSessionName", session);
    facts.add("sts:DurationSeconds", seconds.to_string());
    for (key, value) in call.parameters.tags()? {
        facts.add(&format!("aws:RequestTag/{key}"), value).add("aws:TagKeys", key);
    }
    let canonical = call.actor.directory.canonical_of(call.account());
    let named = identity.named_policies();
    let request = AssumeRequest {
        principal: &identity.principal,
        canonical: canonical.as_deref(),
        own: identity.policy_set(&named),
        action: "sts:AssumeRole",
        facts: &facts,
    };
    let role = match call.actor.directory.assume(arn, &request) {
        Ok(Ok(role)) => role,
        // Which roles there are is not said to those who may not take them on.
        Ok(Err(_)) | Err(IdentityError::NotFound { .. }) => return Err(denied()),
        Err(error) => return Err(error.into()),
    };
    check_role_duration(&role, seconds)?;
    // Tags become condition keys of the session: whoever sets them must be trusted to.
    if !call.parameters.tags()?.is_empty() {
        let tagging = AssumeRequest { action: "sts:TagSession", ..request };
        if !matches!(call.actor.directory.assume(arn, &tagging), Ok(Ok(_))) {
            return Err(denied());
        }
    }
    let request = SessionRequest {
        duration_s: seconds,
        facts: session_facts(call)?,
        ..narrowed(&call.parameters)
    };
    let made = call.changes()?.session_of_role(&role, session, request).await;
    let credentials = made.map_err(session_error)?;
    let principal = Principal::RoleSession {
        account: role.account.clone(),
        role: format!("{}{}", role.path, role.name),
        session: session.to_owned(),
        id: role.id.clone(),
    };
    let mut xml = Xml::new();
    write_credentials(&mut xml, &credentials);
    xml.open("AssumedRoleUser").text("AssumedRoleId", &format!("{}:{session}", role.id));
    xml.text("Arn", &principal.arn().unwrap_or_default()).close("AssumedRoleUser");
    Ok(xml)
}

fn check_role_duration(role: &Role, seconds: u64) -> Result<(), QueryError> {
    if seconds <= role.session_max_s {
        return Ok(());
    }
    let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    Err(QueryError::validation(message))
}

async fn session_token(call: &Call<'_>) -> Answer {
    let seconds = duration(&call.parameters, SESSION_RANGE_S, 43_200)?;
    call.actor.refuse_denied(Right::GetSessionToken, &call.caller_arn()?)?;
    let request = SessionRequest { duration_s: seconds, ..SessionRequest::default() };
    let credentials = call.changes()?.session_of(call.actor.identity, request).await?;
    let mut xml = Xml::new();
    write_credentials(&mut xml, &credentials);
    Ok(xml)
}

/// Everybody may ask who he is.
fn caller_identity(call: &Call<'_>) -> Xml {
    let principal = &call.actor.identity.principal;
    let mut xml = Xml::new();
    xml.text("Arn", &principal.arn().unwrap_or_default());
    xml.text("UserId", &principal.user_id().unwrap_or_default());
    xml.text("Account", principal.account().unwrap_or(DEFAULT_ACCOUNT));
    xml
}

fn access_key_info(call: &Call<'_>) -> Answer {
    let id = call.parameters.need("AccessKeyId")?;
    let found = call.actor.directory.key(id);
    let own = found.as_ref().ok().filter(|key| key.parent.account() == call.account());
    call.require("GetAccessKeyInfo", &owner_arn(call, own)?)?;
    let account = match id == call.actor.identity.access_key {
        true => call.account().to_owned(),
        false => found?.parent.account().to_owned(),
    };
    let mut xml = Xml::new();
    xml.text("Account", &account);
    Ok(xml)
}

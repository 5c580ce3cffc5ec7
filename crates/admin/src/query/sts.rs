//! Sessions.

use super::keys::owner_arn;
use super::write::Xml;
use super::{Answer, Call, Parameters, QueryError, TAG_COUNT_MAX, is_other_case};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_iam::{Facts, Principal};
use drystone_identity::{
    AssumeRequest, CodeOf, DEFAULT_ACCOUNT, IdentityError, Role, SessionCredentials,
    SessionRequest, mfa_serial,
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

/// What the maker of a session says about it. It becomes condition keys of its requests, so anyone who says
/// it must be trusted to.
struct Said<'a> {
    tags: BTreeMap<String, String>,
    /// Keys of tags that the sessions made by this one keep. A session makes none here.
    transitive: Vec<String>,
    source: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn read(parameters: &'a Parameters) -> Result<Self, QueryError> {
        let (tags, transitive) = (parameters.tags()?, parameters.list("TransitiveTagKeys"));
        let invalid = |message: &str| Err(QueryError::validation(message));
        let fits = |(key, value): (&String, &String)| {
            let is_reserved = key.to_ascii_lowercase().starts_with("aws:");
            let key_fits = (1..=128).contains(&key.chars().count()) && !is_reserved;
            key_fits && value.chars().count() <= 256
        };
        if tags.len() > TAG_COUNT_MAX || !tags.iter().all(fits) {
            let message = "A session has at most 50 tags, with keys of 1 to 128 and values of up to \
                           256 characters.";
            return invalid(message);
        }
        if transitive.len() > TAG_COUNT_MAX || !transitive.iter().all(|key| tags.contains_key(key))
        {
            let message =
                "The specified transitive tag keys must be included in the requested tags.";
            return invalid(message);
        }
        let source = parameters.get("SourceIdentity");
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        let source_fits =
            |text: &str| (2..=64).contains(&text.len()) && text.chars().all(is_allowed);
        if !source.is_none_or(source_fits) {
            return invalid("A source identity has 2 to 64 letters, digits and _+=,.@-");
        }
        Ok(Self { tags, transitive, source })
    }

    /// Condition keys of the call itself, beside its tags, which all calls have in common.
    fn add_to_call(&self, facts: &mut Facts) {
        for key in &self.transitive {
            facts.add("sts:TransitiveTagKeys", key.clone());
        }
        facts.add_if("sts:SourceIdentity", self.source);
    }

    /// Condition keys of the requests of the session.
    fn of_session(&self) -> BTreeMap<String, Vec<String>> {
        let tags = self.tags.iter();
        let mut facts: BTreeMap<_, _> = tags
            .map(|(key, value)| (format!("aws:PrincipalTag/{key}"), vec![value.clone()]))
            .collect();
        if let Some(source) = self.source {
            facts.insert("aws:SourceIdentity".to_owned(), vec![source.to_owned()]);
        }
        facts
    }

    /// Rights that must be given beside that of the session itself.
    fn rights(&self) -> impl Iterator<Item = &'static str> {
        let tags = (!self.tags.is_empty()).then_some("sts:TagSession");
        tags.into_iter().chain(self.source.map(|_| "sts:SetSourceIdentity"))
    }
}

/// Whether a call names a second factor.
fn names_factor(call: &Call<'_>) -> bool {
    let parameters = call.parameters;
    parameters.get("SerialNumber").is_some() && parameters.get("TokenCode").is_some()
}

/// Checks the second factor that a call names, and uses its code up. Whether there was one.
async fn check_factor(call: &Call<'_>) -> Result<bool, QueryError> {
    let parameters = call.parameters;
    let (serial, code) = match (parameters.get("SerialNumber"), parameters.get("TokenCode")) {
        (None, None) => return Ok(false),
        (Some(serial), Some(code)) => (serial, code),
        _ => {
            let message = "MultiFactorAuthentication failed, must provide both MFA serial number \
                           and one time pass code.";
            return Err(QueryError::denied(message));
        }
    };
    // A code must not be used up by a call that is refused for its form.
    let directory = call.changes()?;
    // Only owners of accounts have devices.
    let identity = call.actor.identity;
    let is_owner = identity.is_unrestricted_root() && identity.may_make_keys();
    if !is_owner || serial != mfa_serial(call.account()) {
        let message = "MultiFactorAuthentication failed, unable to validate MFA code.  Please \
                       verify your MFA serial number is valid and associated with this user.";
        return Err(QueryError::denied(message));
    }
    let header = format!("{serial} {code}");
    match directory.check_mfa(call.account(), &header, CodeOf::Owner).await {
        Ok(()) => {
            call.actor.look_again()?;
            Ok(true)
        }
        Err(IdentityError::Forbidden(reason)) => {
            let start = "MultiFactorAuthentication failed with invalid MFA one time pass code.";
            Err(QueryError::denied(format!("{start} {reason}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The account that the resource name of a role is in.
pub(super) fn account_of_role(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

/// Condition key of calls and sessions with a second factor.
const MFA_PRESENT: &str = "aws:MultiFactorAuthPresent";

/// What is known of a call for a role. The resource is the role, which may be of another account than its
/// caller; a second factor counts as right, and is looked at when all else was decided.
fn facts_of_call(call: &Call<'_>, arn: &str) -> Facts {
    let mut facts = call.actor.facts.clone();
    if let Some(account) = account_of_role(arn) {
        facts.set("aws:ResourceAccount", account);
    }
    if names_factor(call) {
        facts.add(MFA_PRESENT, "true").add("aws:MultiFactorAuthAge", "0");
    }
    facts
}

fn denied(call: &Call<'_>, action: &str, arn: &str) -> QueryError {
    let who = call.actor.identity.principal.arn().unwrap_or_default();
    let message = format!("User: {who} is not authorized to perform: {action} on resource: {arn}");
    QueryError::denied(message)
}

/// Decides whether the caller may take a role on, with what is said of the session.
fn take_on(
    call: &Call<'_>,
    (arn, said): (&str, &Said<'_>),
    request: &AssumeRequest<'_>,
) -> Result<Role, QueryError> {
    let mut taken = None;
    for action in ["sts:AssumeRole"].into_iter().chain(said.rights()) {
        match call.actor.directory.assume(arn, &AssumeRequest { action, ..*request }) {
            Ok(Ok(role)) => taken = Some(role),
            Ok(Err(why)) => {
                call.actor.keep_reason(action, arn, why);
                return Err(denied(call, action, arn));
            }
            // Which roles there are is not said to those who may not take them on.
            Err(IdentityError::NotFound { .. }) => return Err(denied(call, action, arn)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(taken.expect("there is one action at least"))
}

async fn assume_role(call: &Call<'_>) -> Answer {
    let arn = call.parameters.need("RoleArn")?;
    let session = call.parameters.need("RoleSessionName")?;
    let seconds = duration(call.parameters, ROLE_RANGE_S, DURATION_DEFAULT_S)?;
    // The name of a class of sessions, by which MinIO ends some of them: here all of a name end.
    call.parameters.get("TokenRevokeType");
    let identity = call.actor.identity;
    if !identity.may_make_keys() {
        return Err(denied(call, "sts:AssumeRole", arn));
    }
    let said = Said::read(call.parameters)?;
    let (external, narrowed) = (call.parameters.get("ExternalId"), narrowed(call.parameters));
    let mut facts = facts_of_call(call, arn);
    facts.add_if("sts:ExternalId", external);
    facts.add("sts:RoleSessionName", session).add("sts:DurationSeconds", seconds.to_string());
    said.add_to_call(&mut facts);
    let canonical = call.actor.directory.canonical_of(call.account());
    let named = identity.named_policies();
    let request = AssumeRequest {
        principal: &identity.principal,
        canonical: canonical.as_deref(),
        own: identity.policy_set(&named),
        action: "sts:AssumeRole",
        facts: &facts,
    };
    let role = take_on(call, (arn, &said), &request)?;
    check_role_duration(&role, seconds)?;
    let is_twin = |key: &&String| role.tags.keys().any(|known| is_other_case(known, key));
    if let Some(key) = said.tags.keys().find(is_twin) {
        let message = format!("The role has a tag whose key differs from {key} in case only.");
        return Err(QueryError::validation(message));
    }
    let mut session_facts = said.of_session();
    // Only now, since a wrong code is counted: all was decided as if the code was right.
    if check_factor(call).await? {
        session_facts.insert(MFA_PRESENT.to_owned(), vec!["true".to_owned()]);
        // The code is used up, and nothing begins again: the role may be another one by now, or trust others.
        if take_on(call, (arn, &said), &request)?.id != role.id {
            return Err(denied(call, "sts:AssumeRole", arn));
        }
    }
    let request = SessionRequest { duration_s: seconds, facts: session_facts, ..narrowed };
    let made = call.changes()?.session_of_role(&role, session, request).await;
    let credentials = made.map_err(session_error)?;
    let mut xml = assumed(&role, session, &credentials);
    if let Some(source) = said.source {
        xml.text("SourceIdentity", source);
    }
    Ok(xml)
}

fn assumed(role: &Role, session: &str, credentials: &SessionCredentials) -> Xml {
    let principal = Principal::RoleSession {
        account: role.account.clone(),
        role: format!("{}{}", role.path, role.name),
        session: session.to_owned(),
        id: role.id.clone(),
    };
    let mut xml = Xml::new();
    write_credentials(&mut xml, credentials);
    xml.open("AssumedRoleUser").text("AssumedRoleId", &format!("{}:{session}", role.id));
    xml.text("Arn", &principal.arn().unwrap_or_default()).close("AssumedRoleUser");
    xml
}

fn check_role_duration(role: &Role, seconds: u64) -> Result<(), QueryError> {
    if seconds <= role.session_max_s {
        return Ok(());
    }
    let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    Err(QueryError::validation(message))
}

async fn session_token(call: &Call<'_>) -> Answer {
    let seconds = duration(call.parameters, SESSION_RANGE_S, 43_200)?;
    call.actor.refuse_denied(Right::GetSessionToken, &call.caller_arn()?)?;
    let mut request = SessionRequest { duration_s: seconds, ..SessionRequest::default() };
    if check_factor(call).await? {
        request.facts.insert(MFA_PRESENT.to_owned(), vec!["true".to_owned()]);
    }
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

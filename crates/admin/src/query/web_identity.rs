//! `AssumeRoleWithWebIdentity`: a session for anyone who has a token of an OpenID provider. The call itself
//! is not signed.

use super::sts::{
    DURATION_DEFAULT_S, ROLE_RANGE_S, account_of_role, duration, narrowed, session_error,
    write_credentials,
};
use super::write::Xml;
use super::{Answer, Parameters, QueryError};
use crate::door::{AdminRequest, common_facts};
use crate::federation::oidc::{TokenError, Vouched, claimed_issuer};
use crate::federation::{Federation, OpenId, OpenIdConfig, Source};
use drystone_base::warn_limited;
use drystone_iam::{Facts, PolicySet, Principal, canned_policy};
use drystone_identity::{
    AssumeRequest, DEFAULT_ACCOUNT, Directory, IdentityError, OpenIdProvider, OutsideName, Role,
    SessionRequest,
};
use std::collections::BTreeMap;

/// Claims that become condition keys `jwt:...`.
const CLAIMS: &[&str] = &[
    "sub",
    "iss",
    "aud",
    "jti",
    "upn",
    "name",
    "groups",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "email",
    "gender",
    "birthdate",
    "phone_number",
    "address",
    "scope",
    "client_id",
];

impl From<TokenError> for QueryError {
    fn from(error: TokenError) -> Self {
        let message = error.to_string();
        match error {
            TokenError::Expired => Self::expired_token(message),
            TokenError::Invalid(_) => Self::new("InvalidIdentityToken", 400, message),
            TokenError::Unavailable(_) => {
                warn_limited!("an identity provider is not available"; message);
                Self::new("IDPCommunicationError", 400, message)
            }
        }
    }
}

fn facts_of(vouched: &Vouched) -> BTreeMap<String, Vec<String>> {
    let mut facts = BTreeMap::new();
    for name in CLAIMS {
        if let Some(value) = vouched.claims.get(*name) {
            facts.insert(format!("jwt:{name}"), value.texts());
        }
    }
    for name in ["sub", "aud"] {
        if let Some(value) = vouched.claims.get(name) {
            facts.insert(format!("{}:{name}", vouched.provider), value.texts());
        }
    }
    facts
}

/// A token that came with a call.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    now_s: u64,
    source: Source,
}

/// The provider that vouches for a token, or why none does: one of the settings, else the one that the
/// account of the role has for the issuer. Only those are asked whose token it says it is: one that does
/// not answer holds up its own users.
async fn vouch<'f>(
    directory: &Directory,
    federation: &'f Federation,
    token: Token<'_>,
    account: Option<&str>,
) -> Result<(&'f OpenId, Vouched, Option<OpenIdProvider>), QueryError> {
    let issuer = claimed_issuer(token.text)?;
    let of_account = match account {
        Some(account) => directory.openid_provider_of_issuer(account, &issuer)?,
        None => None,
    };
    let refused = match vouch_of_settings(federation, token, &issuer).await {
        Ok((provider, vouched)) => return Ok((provider, vouched, None)),
        Err(refused) => refused,
    };
    let Some(own) = of_account else { return Err(refused.into()) };
    let Some(provider) = federation.issuer(&own.name) else {
        let message = format!(
            "this server does not ask {} for its keys, so that tokens of it mean nothing here: whoever \
             runs the server can allow it (--openid-issuers)",
            own.name
        );
        return Err(TokenError::Unavailable(message).into());
    };
    let clients: Vec<&str> = own.clients.iter().map(String::as_str).collect();
    let mut vouched = provider.verify(token.text, token.now_s, token.source, &clients).await?;
    vouched.provider.clone_from(&own.name);
    Ok((provider, vouched, Some(own)))
}

async fn vouch_of_settings<'f>(
    federation: &'f Federation,
    token: Token<'_>,
    issuer: &str,
) -> Result<(&'f OpenId, Vouched), TokenError> {
    if federation.openid.is_empty() {
        return Err(TokenError::Invalid("No identity provider is configured.".to_owned()));
    }
    let message = "the token is of another issuer than any provider here; if one calls itself so, set \
                   IDENTITY_OPENID_ISSUER";
    let mut refused = TokenError::Invalid(message.to_owned());
    for provider in federation.openid.iter().filter(|provider| provider.may_issue(issuer)) {
        let clients = [&*provider.config.client_id];
        match provider.verify(token.text, token.now_s, token.source, &clients).await {
            Ok(vouched) => return Ok((provider, vouched)),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

pub(super) async fn run(
    directory: &Directory,
    federation: &Federation,
    request: &AdminRequest,
    parameters: &Parameters,
) -> Answer {
    let token = parameters.need("WebIdentityToken")?;
    // What clients of MinIO send along: a token that is looked at only where user info is asked for, one
    // to get others with, and the name of a class of sessions, all of which end together here.
    for name in ["WebIdentityAccessToken", "WebIdentityRefreshToken", "TokenRevokeType"] {
        parameters.get(name);
    }
    let checked_ms = directory.now_ms();
    let now_s = checked_ms / 1000;
    let source = Source::of(request.address);
    let arn = parameters.get("RoleArn").filter(|arn| !arn.is_empty());
    let token = Token { text: token, now_s, source };
    let account = arn.and_then(account_of_role);
    let (provider, mut vouched, own) = vouch(directory, federation, token, account).await?;
    // What settings say of a provider is of their own clients.
    let of_account = OpenIdConfig::default();
    let config = if own.is_some() { &of_account } else { &provider.config };
    if config.claim_userinfo {
        let access_token = parameters.need("WebIdentityAccessToken")?;
        provider.add_userinfo(&mut vouched, access_token, source).await?;
    }
    let seconds = duration(parameters, ROLE_RANGE_S, DURATION_DEFAULT_S)?;
    // A session does not outlive what it was made from.
    let left_s = vouched.expires_s.saturating_sub(now_s).max(1);
    let session = SessionRequest {
        duration_s: seconds.min(left_s),
        facts: facts_of(&vouched),
        checked_ms: Some(checked_ms),
        ..narrowed(parameters)
    };
    let subject = vouched.subject(config).unwrap_or_default();
    if subject.is_empty() || subject.len() > 256 || subject.chars().any(char::is_control) {
        return Err(TokenError::Invalid("the token does not say who it is for".to_owned()).into());
    }
    let user = OutsideName { provider: Some(vouched.provider_name(config)), name: subject.clone() };
    let name = parameters.get("RoleSessionName").unwrap_or(&subject);
    parameters.refuse_unread()?;
    let is_own_role = own.is_none() && (arn.is_none() || arn == Some(&*provider.role_arn()));
    let mut xml = Xml::new();
    if is_own_role {
        let policies = known_policies(directory, vouched.policies(&provider.config));
        if policies.is_empty() {
            return Err(QueryError::denied("The token names no policy of this server."));
        }
        let account = DEFAULT_ACCOUNT;
        let is_only = federation.openid.iter().all(|other| other.names_the_same(provider));
        directory.note_provider(user.provider.as_deref().unwrap_or_default(), is_only).await?;
        let assumed = directory.outside_principal(account, &user)?;
        let made = directory.session_of_external(account, user, policies, session).await;
        let made = made.map_err(session_error)?;
        write_credentials(&mut xml, &made);
        write_assumed(&mut xml, &assumed.arn().unwrap_or_default(), &subject);
    } else {
        let arn = arn.unwrap_or_default();
        let mut facts = Facts::new();
        facts.add("sts:RoleSessionName", name).add("sts:DurationSeconds", seconds.to_string());
        let of = own.map(|own| own.account);
        let role = assume(directory, request, (&vouched, of), arn, (&session.facts, facts))?;
        if seconds > role.session_max_s {
            let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for \
                           this role.";
            return Err(QueryError::validation(message));
        }
        let session = SessionRequest { vouched: Some(user), ..session };
        let made = directory.session_of_role(&role, name, session).await;
        let made = made.map_err(session_error)?;
        write_credentials(&mut xml, &made);
        let assumed = Principal::RoleSession {
            account: role.account.clone(),
            role: format!("{}{}", role.path, role.name),
            session: name.to_owned(),
            id: role.id.clone(),
        };
        write_assumed(&mut xml, &assumed.arn().unwrap_or_default(), &format!("{}:{name}", role.id));
    }
    xml.text("SubjectFromWebIdentityToken", &subject);
    xml.text("Audience", &vouched.audience).text("Provider", &vouched.provider);
    Ok(xml)
}

fn write_assumed(xml: &mut Xml, arn: &str, id: &str) {
    xml.open("AssumedRoleUser").text("Arn", arn).text("AssumedRoleId", id);
    xml.close("AssumedRoleUser");
}

/// Names that are policies here; others are left out.
fn known_policies(directory: &Directory, named: Vec<String>) -> Vec<String> {
    let is_known = |name: &String| {
        canned_policy(name).is_some() || directory.policy(DEFAULT_ACCOUNT, name).is_ok()
    };
    named.into_iter().filter(is_known).collect()
}

fn assume(
    directory: &Directory,
    request: &AdminRequest,
    (vouched, account): (&Vouched, Option<String>),
    arn: &str,
    (claims, mut facts): (&BTreeMap<String, Vec<String>>, Facts),
) -> Result<Role, QueryError> {
    let denied = || QueryError::denied("Not authorized to perform sts:AssumeRoleWithWebIdentity");
    for (key, values) in claims {
        for value in values {
            facts.add(key, value.clone());
        }
    }
    if let Some(account) = account_of_role(arn) {
        facts.set("aws:ResourceAccount", account);
    }
    let principal = Principal::Federated { provider: vouched.provider.clone(), account };
    common_facts(&principal, request, directory.now_ms()).add_to(&mut facts);
    let request = AssumeRequest {
        principal: &principal,
        canonical: None,
        own: PolicySet::default(),
        action: "sts:AssumeRoleWithWebIdentity",
        facts: &facts,
    };
    match directory.assume(arn, &request) {
        Ok(Ok(role)) => Ok(role),
        Ok(Err(_)) | Err(IdentityError::NotFound { .. }) => Err(denied()),
        Err(error) => Err(error.into()),
    }
}

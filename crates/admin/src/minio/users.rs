//! Users. A user of MinIO is a user with one key of the same name.

use super::spoken::Fields;
use super::{Answer, Call, MinioError, Reply};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_identity::{EntityKind, Holder, HolderKind, IdentityError, NamedUser, User};
use drystone_keyring::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct AddUser {
    #[serde(rename = "secretKey")]
    secret_key: String,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    status: String,
}

impl Fields for AddUser {
    const NAMES: &'static [&'static str] = &["secretKey", "policy", "status"];
}

/// Names in a list that is separated by commas.
pub(super) fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

pub(super) fn is_enabled(status: &str) -> Result<bool, MinioError> {
    match status {
        "enabled" | "" => Ok(true),
        "disabled" => Ok(false),
        _ => Err(MinioError::invalid("The status must be enabled or disabled.")),
    }
}

pub(super) async fn add(call: &Call<'_>) -> Answer {
    let name = call.need("accessKey")?.to_owned();
    let (actor, account) = (&call.actor, call.actor.account());
    let found = match actor.directory.user(account, &name) {
        Err(IdentityError::NotFound { .. }) => None,
        found => Some(found?),
    };
    let is_own = found.is_some() && actor.identity.user_name() == Some(name.as_str());
    decide_add(call, &name, found.as_ref(), is_own).await?;
    let new: AddUser = call.body()?;
    let enabled = is_enabled(&new.status)?;
    let mut named = NamedUser {
        name: name.clone(),
        seen: found.as_ref().map(|user| user.id.clone()),
        secret: Secret::new(new.secret_key),
        is_enabled: None,
        policies: None,
    };
    // Everybody may change their own password, and not their own state.
    if !is_own {
        let arn = actor.arn(EntityKind::User, &name)?;
        match found.as_ref().is_none_or(|user| user.is_enabled) {
            true if !enabled => actor.refuse_denied(Right::DisableUser, &arn)?,
            false if enabled => actor.refuse_denied(Right::EnableUser, &arn)?,
            _ => {}
        }
        named.is_enabled = Some(enabled);
    }
    if !new.policy.is_empty() {
        let policies = names(&new.policy);
        let holder = Holder::new(HolderKind::User, account, &name);
        actor.require_set_all(&holder, &policies).await?;
        named.policies = Some(policies);
    }
    actor.directory.put_named_user(account, named).await?;
    Ok(Reply::Empty)
}

/// A user is made with a key, or its key gets another secret: denies of any of these stop it. Anyone who sets
/// the secret of another user has all of that user's rights.
async fn decide_add(
    call: &Call<'_>,
    name: &str,
    found: Option<&User>,
    is_own: bool,
) -> Result<(), MinioError> {
    let actor = &call.actor;
    let arn = actor.arn(EntityKind::User, name)?;
    actor.require_lasting()?;
    match is_own {
        true => actor.refuse_denied(Right::CreateUser, &arn)?,
        false => actor.require(Right::CreateUser, &arn)?,
    }
    let has_key = found.is_some() && actor.directory.key(name).is_ok();
    let of_key = if has_key { Right::UpdateAccessKey } else { Right::CreateAccessKey };
    actor.refuse_denied(of_key, &arn)?;
    Ok(actor.require_not_above(name).await?)
}

pub(super) async fn set_status(call: &Call<'_>) -> Answer {
    let name = call.need("accessKey")?;
    let enabled = is_enabled(call.need("status")?)?;
    call.actor.set_user_enabled(name, enabled).await?;
    Ok(Reply::Empty)
}

pub(super) async fn remove(call: &Call<'_>) -> Answer {
    let name = call.need("accessKey")?;
    call.actor.remove_user(name).await?;
    Ok(Reply::Empty)
}

fn shown(user: &User) -> Value {
    let policies: Vec<_> = user.grants.attached.iter().cloned().collect();
    json!({
        "policyName": policies.join(","),
        "status": if user.is_enabled { "enabled" } else { "disabled" },
        "memberOf": user.groups,
        "updatedAt": Timestamp(user.updated_ms).to_iso(),
    })
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    call.require_all(Right::ListUsers, EntityKind::User)?;
    let named = |user: User| (user.name.clone(), shown(&user));
    let users = call.actor.directory.users(call.actor.account(), &call.actor.room, named)?;
    Ok(Reply::Sealed(Value::Object(users.into_iter().collect())))
}

pub(super) fn info(call: &Call<'_>) -> Answer {
    let name = call.need("accessKey")?;
    call.actor.require_user_info(name)?;
    Ok(Reply::Plain(shown(&call.actor.directory.user(call.actor.account(), name)?)))
}

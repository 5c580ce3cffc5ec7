//! Users. A user of MinIO is a user with one key of the same name.

use super::{Answer, Call, MinioError, Reply};
use drystone_base::Timestamp;
use drystone_identity::{Holder, HolderKind, IdentityError, KeyChange, NewKey, NewUser, User};
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
    let is_own = call.actor.identity.user_name() == Some(name.as_str())
        && call.actor.identity.may_make_keys()
        && !call.actor.is_denied("admin:CreateUser", "arn:aws:s3:::*");
    // Everybody may change his own password, and nothing else by this.
    if !is_own {
        call.require("CreateUser")?;
    }
    let new: AddUser = call.body().await?;
    let enabled = is_enabled(&new.status)?;
    let (directory, account) = (call.actor.directory, call.actor.account());
    let secret = Secret::new(new.secret_key);
    match directory.user(account, &name) {
        Ok(user) => {
            let change = KeyChange { secret_key: Some(secret.clone()), ..KeyChange::default() };
            match directory.change_key(&name, change).await {
                Err(IdentityError::NotFound { .. }) => {
                    add_key(call, &user.name, secret).await?;
                }
                changed => changed?,
            }
        }
        Err(IdentityError::NotFound { .. }) if !is_own => {
            // The secret is checked before the user is made: half of it would be of no use.
            let key = NewKey { access_key: Some(name.clone()), ..NewKey::of_root(account) };
            directory.check_new_key(NewKey { secret_key: Some(secret.clone()), ..key })?;
            directory
                .create_user(account, NewUser { name: name.clone(), ..NewUser::default() })
                .await?;
            add_key(call, &name, secret).await?;
        }
        Err(error) => return Err(error.into()),
    }
    if !is_own {
        set_enabled(call, &name, enabled).await?;
        if !new.policy.is_empty() {
            let holder = Holder::new(HolderKind::User, account, &name);
            directory.set_attached(holder, names(&new.policy)).await?;
        }
    }
    Ok(Reply::Empty)
}

async fn add_key(call: &Call<'_>, name: &str, secret: Secret) -> Result<(), MinioError> {
    let key = NewKey {
        access_key: Some(name.to_owned()),
        secret_key: Some(secret),
        ..NewKey::of_user(call.actor.account(), name)
    };
    call.actor.directory.create_key(key).await?;
    Ok(())
}

async fn set_enabled(call: &Call<'_>, name: &str, enabled: bool) -> Result<(), MinioError> {
    let change = move |user: &mut User| {
        user.is_enabled = enabled;
        Ok(())
    };
    Ok(call.actor.directory.change_user(call.actor.account(), name, change).await?)
}

pub(super) async fn set_status(call: &Call<'_>) -> Answer {
    let name = call.need("accessKey")?;
    let enabled = is_enabled(call.need("status")?)?;
    call.require(if enabled { "EnableUser" } else { "DisableUser" })?;
    set_enabled(call, name, enabled).await?;
    Ok(Reply::Empty)
}

pub(super) async fn remove(call: &Call<'_>) -> Answer {
    let name = call.need("accessKey")?;
    call.require("DeleteUser")?;
    call.actor.directory.delete_user(call.actor.account(), name, true).await?;
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
    call.require("ListUsers")?;
    let users = call.actor.directory.users(call.actor.account())?;
    let map: serde_json::Map<_, _> =
        users.iter().map(|user| (user.name.clone(), shown(user))).collect();
    Ok(Reply::Sealed(Value::Object(map)))
}

pub(super) fn info(call: &Call<'_>) -> Answer {
    let name = call.need("accessKey")?;
    if call.actor.identity.user_name() != Some(name) {
        call.require("GetUser")?;
    }
    Ok(Reply::Plain(shown(&call.actor.directory.user(call.actor.account(), name)?)))
}

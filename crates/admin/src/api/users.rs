//! Users and their keys.

use super::Outcome;
use crate::door::Actor;
use drystone_admin_api::{Answer, Key, Request, User};
use drystone_base::Timestamp;
use drystone_identity::{AccessKey, IdentityError, KeyChange, KeyKind, NewKey, NewUser};
use drystone_keyring::Secret;

/// Runs a request about users and keys; gives back any other.
pub(super) async fn run(actor: &Actor<'_>, request: Request) -> Result<Outcome, Request> {
    Ok(match request {
        Request::UserAdd { name } => add(actor, name).await,
        Request::UserList => list(actor),
        Request::UserInfo { name } => info(actor, &name),
        Request::UserRemove { name } => remove(actor, &name).await,
        Request::UserEnable { name, enabled } => enable(actor, &name, enabled).await,
        Request::UserEndSessions { name } => end_sessions(actor, &name).await,
        request @ Request::KeyAdd { .. } => add_key(actor, request).await,
        Request::KeyList { user } => list_keys(actor, user.as_deref()),
        Request::KeyEnable { access_key, enabled } => {
            let is_enabled = Some(enabled);
            change_key(actor, &access_key, KeyChange { is_enabled, ..KeyChange::default() }).await
        }
        Request::KeyRemove { access_key } => remove_key(actor, &access_key).await,
        request => return Err(request),
    })
}

fn shown(user: drystone_identity::User) -> User {
    User {
        name: user.name,
        enabled: user.is_enabled,
        policies: user.grants.attached.into_iter().collect(),
        inline_policies: user.grants.inline.into_keys().collect(),
        groups: user.groups.into_iter().collect(),
        created: Timestamp(user.created_ms).to_iso(),
    }
}

async fn add(actor: &Actor<'_>, name: String) -> Outcome {
    actor.need("CreateUser", "user", &name)?;
    let new = NewUser { name, ..NewUser::default() };
    let user = actor.directory.create_user(actor.account(), new).await?;
    Ok(Answer::Users(vec![shown(user)]))
}

fn list(actor: &Actor<'_>) -> Outcome {
    actor.need("ListUsers", "user", "*")?;
    let users = actor.directory.users(actor.account())?;
    Ok(Answer::Users(users.into_iter().map(shown).collect()))
}

fn info(actor: &Actor<'_>, name: &str) -> Outcome {
    if actor.identity.user_name() != Some(name) {
        actor.need("GetUser", "user", name)?;
    }
    Ok(Answer::Users(vec![shown(actor.directory.user(actor.account(), name)?)]))
}

async fn remove(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need("DeleteUser", "user", name)?;
    actor.directory.delete_user(actor.account(), name, true).await?;
    Ok(Answer::Done)
}

async fn enable(actor: &Actor<'_>, name: &str, enabled: bool) -> Outcome {
    actor.need(if enabled { "EnableUser" } else { "DisableUser" }, "user", name)?;
    let change = move |user: &mut drystone_identity::User| {
        user.is_enabled = enabled;
        Ok(())
    };
    actor.directory.change_user(actor.account(), name, change).await?;
    Ok(Answer::Done)
}

async fn end_sessions(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need("DisableUser", "user", name)?;
    // Sessions count in whole seconds: those of this second end too.
    let after_ms = actor.directory.now_ms() / 1000 * 1000 + 1000;
    let change = move |user: &mut drystone_identity::User| {
        user.sessions_after_ms = after_ms;
        Ok(())
    };
    actor.directory.change_user(actor.account(), name, change).await?;
    Ok(Answer::Done)
}

/// Whose key it is, if the caller may do this to it: everybody may to his own.
fn check_owner(actor: &Actor<'_>, action: &str, user: Option<&str>) -> Result<(), super::Failed> {
    let is_own = match user {
        Some(user) => actor.identity.user_name() == Some(user),
        None => actor.identity.is_unrestricted_root(),
    };
    let denied = actor.is_denied(&format!("iam:{action}"), &actor.entity("user", "*"));
    if is_own && !denied {
        return Ok(());
    }
    if user.is_none() {
        let message = "Only the owner of the account has his keys changed.".to_owned();
        return Err(IdentityError::Forbidden(message).into());
    }
    actor.need(action, "user", user.unwrap_or_default())
}

fn shown_key(key: AccessKey) -> Key {
    Key {
        user: key.parent.user().map(str::to_owned),
        access_key: key.id,
        enabled: key.is_enabled,
        has_policy: key.policy.is_some(),
        created: Timestamp(key.created_ms).to_iso(),
        expires: key.expires_ms.map(|end| Timestamp(end).to_iso()),
        description: key.description,
    }
}

async fn add_key(actor: &Actor<'_>, request: Request) -> Outcome {
    let Request::KeyAdd { user, access_key, secret_key, policy, expires_ms, description } = request
    else {
        return Ok(Answer::Done);
    };
    check_owner(actor, "CreateAccessKey", user.as_deref())?;
    if !actor.identity.may_make_keys() {
        let message = "A session, or a key with a policy, cannot make keys.".to_owned();
        return Err(IdentityError::Forbidden(message).into());
    }
    let is_service = policy.is_some() || expires_ms.is_some();
    let new = NewKey {
        user,
        kind: if is_service { KeyKind::Service } else { KeyKind::Own },
        access_key,
        secret_key: secret_key.map(Secret::new),
        policy,
        expires_ms,
        description,
        ..NewKey::of_root(actor.account())
    };
    let (key, secret) = actor.directory.create_key(new).await?;
    Ok(Answer::Secret { access_key: key.id, secret_key: secret.reveal().to_owned() })
}

fn list_keys(actor: &Actor<'_>, user: Option<&str>) -> Outcome {
    check_owner(actor, "ListAccessKeys", user)?;
    if let Some(user) = user {
        actor.directory.user(actor.account(), user)?;
    }
    let keys = actor.directory.keys_of(actor.account(), user)?;
    Ok(Answer::Keys(keys.into_iter().map(shown_key).collect()))
}

/// A key of the caller's account.
fn own_key(actor: &Actor<'_>, action: &str, id: &str) -> Result<AccessKey, super::Failed> {
    let missing = || IdentityError::NotFound { kind: "access key", name: id.to_owned() };
    let key = actor.directory.key(id)?;
    if key.parent.account() != actor.account() {
        return Err(missing().into());
    }
    check_owner(actor, action, key.parent.user())?;
    Ok(key)
}

async fn change_key(actor: &Actor<'_>, id: &str, change: KeyChange) -> Outcome {
    let key = own_key(actor, "UpdateAccessKey", id)?;
    actor.directory.change_key(&key.id, change).await?;
    Ok(Answer::Done)
}

async fn remove_key(actor: &Actor<'_>, id: &str) -> Outcome {
    let key = own_key(actor, "DeleteAccessKey", id)?;
    actor.directory.delete_key(&key.id).await?;
    Ok(Answer::Done)
}

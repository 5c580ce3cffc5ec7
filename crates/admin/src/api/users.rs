//! Users and their keys.

use super::Outcome;
use crate::door::Actor;
use crate::rights::Right;
use drystone_admin_api::{Answer, Key, Request, User};
use drystone_base::Timestamp;
use drystone_identity::{AccessKey, EntityKind, KeyChange, KeyKind, NewKey, NewUser};
use drystone_keyring::Secret;

/// Runs a request about users and keys; gives back any other.
pub(super) async fn run(actor: &Actor<'_>, request: Request) -> Result<Outcome, Request> {
    Ok(match request {
        Request::UserAdd { name } => add(actor, name).await,
        Request::UserList => actor.list(|| list(actor)).await,
        Request::UserInfo { name } => info(actor, &name),
        Request::UserRemove { name } => remove(actor, &name).await,
        Request::UserEnable { name, enabled } => enable(actor, &name, enabled).await,
        request @ Request::KeyAdd { .. } => add_key(actor, request).await,
        Request::KeyList { user } => actor.list(|| list_keys(actor, user.as_deref())).await,
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
        boundary: user.boundary,
        groups: user.groups.into_iter().collect(),
        created: Timestamp(user.created_ms).to_iso(),
    }
}

async fn add(actor: &Actor<'_>, name: String) -> Outcome {
    actor.need(Right::CreateUser, EntityKind::User, &name)?;
    let new = NewUser { name, ..NewUser::default() };
    let user = actor.directory.create_user(actor.account(), new).await?;
    Ok(Answer::Users(vec![shown(user)]))
}

fn list(actor: &Actor<'_>) -> Outcome {
    actor.need_all(Right::ListUsers, EntityKind::User)?;
    Ok(Answer::Users(actor.directory.users(actor.account(), &actor.room, shown)?))
}

fn info(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.require_user_info(name)?;
    Ok(Answer::Users(vec![shown(actor.directory.user(actor.account(), name)?)]))
}

async fn remove(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.remove_user(name).await?;
    Ok(Answer::Done)
}

async fn enable(actor: &Actor<'_>, name: &str, enabled: bool) -> Outcome {
    actor.set_user_enabled(name, enabled).await?;
    Ok(Answer::Done)
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
    actor.require_keys(Right::CreateAccessKey, user.as_deref())?;
    if let Some(name) = &user {
        actor.require_not_above(name).await?;
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
    actor.require_key_list(user)?;
    if let Some(user) = user {
        actor.directory.user(actor.account(), user)?;
    }
    let shown = |key| Some(shown_key(key));
    Ok(Answer::Keys(actor.directory.keys_of(actor.account(), user, &actor.room, shown)?))
}

async fn change_key(actor: &Actor<'_>, id: &str, change: KeyChange) -> Outcome {
    let key = actor.find_key(Right::UpdateAccessKey, id)?;
    if change.is_enabled != Some(false) {
        actor.require_not_above_owner(&key).await?;
    }
    actor.directory.change_key(&key, change).await?;
    Ok(Answer::Done)
}

async fn remove_key(actor: &Actor<'_>, id: &str) -> Outcome {
    let key = actor.find_key(Right::DeleteAccessKey, id)?;
    actor.directory.delete_key(&key).await?;
    Ok(Answer::Done)
}

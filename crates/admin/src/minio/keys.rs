//! Service accounts, which MinIO also calls access keys.

use super::spoken::Fields;
use super::{Answer, Call, MinioError, Reply};
use crate::rights::Right;
use drystone_base::{Room, Timestamp};
use drystone_identity::{
    AccessKey, DEFAULT_ACCOUNT, EntityKind, IdentityError, KeyChange, KeyKind, NewKey,
};
use drystone_keyring::Secret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AddKey {
    policy: Option<Value>,
    target_user: Option<String>,
    access_key: Option<String>,
    secret_key: Option<String>,
    name: Option<String>,
    description: Option<String>,
    comment: Option<String>,
    expiration: Option<String>,
    status: String,
}

impl Fields for AddKey {
    const NAMES: &'static [&'static str] = &[
        "policy",
        "targetUser",
        "accessKey",
        "secretKey",
        "name",
        "description",
        "comment",
        "expiration",
        "status",
    ];
}

/// A policy may come as JSON, or as text that holds JSON; an empty one is none.
fn policy_text(policy: Option<Value>) -> Option<String> {
    match policy? {
        Value::Null => None,
        Value::String(text) => Some(text).filter(|text| !text.trim().is_empty()),
        Value::Object(map) if map.is_empty() => None,
        value => Some(value.to_string()),
    }
}

/// MinIO's way to say that a key does not end.
const NEVER: [&str; 2] = ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"];

fn end_of(expiration: Option<String>) -> Result<Option<u64>, MinioError> {
    match expiration.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) if NEVER.contains(&text.as_str()) => Ok(Some(0)),
        Some(text) => {
            let end = Timestamp::parse_iso(&text);
            let invalid = || MinioError::invalid("The expiration is not an ISO 8601 date.");
            end.map(|end| Some(end.0)).ok_or_else(invalid)
        }
    }
}

/// The key that the call names, if the caller may do this to it.
fn find(call: &Call<'_>, right: Right) -> Result<AccessKey, MinioError> {
    Ok(call.actor.find_key(right, call.need("accessKey")?)?)
}

pub(super) async fn add(call: &Call<'_>) -> Answer {
    let new: AddKey = call.body()?;
    if !matches!(new.status.as_str(), "" | "on" | "enabled") {
        return Err(MinioError::invalid(
            "A new key is on; update-service-account switches it off.",
        ));
    }
    let identity = call.actor.identity;
    let root = call.actor.directory.root_access_key();
    let user = match new.target_user.filter(|name| !name.is_empty()) {
        None => identity.user_name().map(str::to_owned),
        Some(name) if name == root => None,
        Some(name) => Some(name),
    };
    call.actor.require_keys(Right::CreateAccessKey, user.as_deref())?;
    if let Some(name) = &user {
        call.actor.require_not_above(name).await?;
    }
    let key = NewKey {
        user,
        kind: KeyKind::Service,
        access_key: new.access_key.filter(|id| !id.is_empty()),
        secret_key: new.secret_key.filter(|secret| !secret.is_empty()).map(Secret::new),
        policy: policy_text(new.policy),
        expires_ms: end_of(new.expiration)?.filter(|end| *end > 0),
        name: new.name.unwrap_or_default(),
        description: new.description.or(new.comment).unwrap_or_default(),
        ..NewKey::of_root(call.actor.account())
    };
    let (key, secret) = call.actor.directory.create_key(key).await?;
    Ok(Reply::Sealed(json!({ "credentials": {
        "accessKey": key.id,
        "secretKey": secret.reveal(),
        "expiration": expiration(&key),
    }})))
}

fn expiration(key: &AccessKey) -> String {
    key.expires_ms.map_or(NEVER[0].to_owned(), |end| Timestamp(end).to_iso())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct UpdateKey {
    new_policy: Option<Value>,
    new_secret_key: String,
    new_status: String,
    new_name: Option<String>,
    new_description: Option<String>,
    new_expiration: Option<String>,
}

impl Fields for UpdateKey {
    const NAMES: &'static [&'static str] =
        &["newPolicy", "newSecretKey", "newStatus", "newName", "newDescription", "newExpiration"];
}

/// Whether a change does nothing but switch a key off, which gives it nothing.
fn only_disables(change: &KeyChange) -> bool {
    let KeyChange { is_enabled, secret_key, policy, expires_ms, name, description } = change;
    *is_enabled == Some(false)
        && secret_key.is_none()
        && policy.is_none()
        && expires_ms.is_none()
        && name.is_none()
        && description.is_none()
}

pub(super) async fn update(call: &Call<'_>) -> Answer {
    let key = find(call, Right::UpdateAccessKey)?;
    let new: UpdateKey = call.body()?;
    let is_enabled = match new.new_status.as_str() {
        "" => None,
        "on" | "enabled" => Some(true),
        "off" | "disabled" => Some(false),
        _ => return Err(MinioError::invalid("The status must be on or off.")),
    };
    let change = KeyChange {
        is_enabled,
        secret_key: Some(new.new_secret_key).filter(|s| !s.is_empty()).map(Secret::new),
        policy: policy_text(new.new_policy),
        expires_ms: end_of(new.new_expiration)?,
        name: new.new_name.filter(|name| !name.is_empty()),
        description: new.new_description.filter(|text| !text.is_empty()),
    };
    if !only_disables(&change) {
        call.actor.require_not_above_owner(&key).await?;
    }
    call.actor.directory.change_key(&key, change).await?;
    Ok(Reply::NoContent)
}

fn parent_of(call: &Call<'_>, key: &AccessKey) -> String {
    match key.parent.user() {
        Some(user) => user.to_owned(),
        None if key.parent.account() == DEFAULT_ACCOUNT => {
            call.actor.directory.root_access_key().to_owned()
        }
        None => key.parent.account().to_owned(),
    }
}

fn shown(call: &Call<'_>, key: &AccessKey) -> Value {
    json!({
        "parentUser": parent_of(call, key),
        "accountStatus": if key.is_enabled { "on" } else { "off" },
        "impliedPolicy": key.policy.is_none(),
        "accessKey": key.id,
        "name": key.name,
        "description": key.description,
        "expiration": expiration(key),
    })
}

pub(super) fn info(call: &Call<'_>) -> Answer {
    let key = find(call, Right::ListAccessKeys)?;
    let mut shown = shown(call, &key);
    shown["policy"] = key.policy.clone().unwrap_or_default().into();
    shown["userType"] = "Service Account".into();
    shown["userProvider"] = "builtin".into();
    Ok(Reply::Sealed(shown))
}

/// Bytes that a list of the keys of many users takes for each user.
const SHOWN_LEN: u64 = 1 << 10;

fn services_of(call: &Call<'_>, user: Option<&str>) -> Result<Vec<Value>, MinioError> {
    let service = |key: AccessKey| (key.key_kind == KeyKind::Service).then(|| shown(call, &key));
    Ok(call.actor.directory.keys_of(call.actor.account(), user, &call.actor.room, service)?)
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let root = call.actor.directory.root_access_key();
    let asked = call.request.query("user").filter(|user| !user.is_empty());
    let user = match asked {
        None => call.actor.identity.user_name(),
        Some(user) if user == root => None,
        Some(user) => Some(user),
    };
    call.actor.require_key_list(user)?;
    if let Some(user) = user {
        call.actor.directory.user(call.actor.account(), user)?;
    }
    Ok(Reply::Sealed(json!({ "accounts": services_of(call, user)? })))
}

pub(super) async fn list_bulk(call: &Call<'_>) -> Answer {
    let kind = call.request.query("listType").unwrap_or("all");
    if !matches!(kind, "all" | "users-only" | "svcacc-only" | "") {
        // Sessions are not stored, so there is nothing to list them from.
        return Err(MinioError::not_supported("the list of sessions"));
    }
    let room = &call.actor.room;
    let users: Vec<String> = match call.request.query("all") {
        Some("true") => {
            call.actor.require_lasting()?;
            call.require_all(Right::ListAccessKeys, EntityKind::User)?;
            let (directory, account) = (call.actor.directory, call.actor.account());
            call.actor.list(|| directory.users(account, room, |user| user.name)).await?
        }
        _ => {
            let asked = call.request.query.iter().filter(|(name, _)| name == "users");
            let asked: Vec<_> = asked.map(|(_, user)| user.clone()).collect();
            match (asked.is_empty(), call.actor.identity.user_name()) {
                (true, Some(own)) => vec![own.to_owned()],
                _ => asked,
            }
        }
    };
    let names_none = call.request.query("all") == Some("true");
    let mut all = Map::new();
    // Any number of users may be named, each with hundreds of keys.
    room.begin_list().await?;
    for user in users {
        match call.actor.one_of_many(|| call.actor.require_key_list(Some(&user))).await {
            // A list of all leaves out those whose keys the caller may not see.
            Err(IdentityError::Forbidden(_)) if names_none => continue,
            decided => decided?,
        }
        call.actor.directory.user(call.actor.account(), &user)?;
        let services = match kind {
            "users-only" => Vec::new(),
            _ => call.actor.scan(|| services_of(call, Some(&user))).await?,
        };
        if !room.take(SHOWN_LEN) {
            return Err(MinioError::busy());
        }
        all.insert(user, json!({ "serviceAccounts": services, "stsKeys": [] }));
    }
    call.actor.look_again()?;
    Ok(Reply::Sealed(Value::Object(all)))
}

pub(super) async fn remove(call: &Call<'_>) -> Answer {
    let key = find(call, Right::DeleteAccessKey)?;
    call.actor.directory.delete_key(&key).await?;
    Ok(Reply::NoContent)
}

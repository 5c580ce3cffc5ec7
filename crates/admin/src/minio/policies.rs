//! Policies, and to whom they are attached.

use super::spoken::Fields;
use super::users::names;
use super::{Answer, Call, MinioError, Reply};
use crate::federation::{NOT_DISTINGUISHED, is_distinguished, normalise};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_iam::{canned_names, canned_policy};
use drystone_identity::{EntityKind, Holder, HolderKind, ManagedPolicy, PolicyUse};
use serde::Deserialize;
use serde_json::{Value, json};

/// A document as JSON, as it was written: taken apart it holds many times as many bytes.
fn document(text: &str) -> &str {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_or("null", |_| text)
}

/// A policy as a member of an object, with a comma.
fn member(name: &str, text: &str) -> String {
    format!("{}:{},", Value::from(name), document(text))
}

pub(super) async fn add(call: &Call<'_>) -> Answer {
    let name = call.need("name")?;
    let malformed = || MinioError::invalid("The policy is not text.");
    let text = std::str::from_utf8(&call.request.body).map_err(|_| malformed())?;
    call.actor.set_policy(name, text).await?;
    Ok(Reply::Empty)
}

pub(super) async fn remove(call: &Call<'_>) -> Answer {
    let name = call.need("name")?;
    call.require(Right::DeletePolicy, EntityKind::Policy, name)?;
    call.actor.directory.delete_policy(call.actor.account(), name, true).await?;
    Ok(Reply::Empty)
}

pub(super) async fn list(call: &Call<'_>) -> Answer {
    call.require_all(Right::ListPolicies, EntityKind::Policy)?;
    // The list has the documents.
    call.actor.refuse_denied(Right::GetPolicyVersion, &call.actor.all(EntityKind::Policy))?;
    let (directory, account, room) = (call.actor.directory, call.actor.account(), &call.actor.room);
    let canned = canned_names().map(|name| member(name, canned_policy(name).unwrap_or_default()));
    let mut text = format!("{{{}", canned.collect::<String>());
    // Once for the length, and again with a share of that.
    let mut len = text.len();
    let sum = |policy: ManagedPolicy| len += member(&policy.name, policy.document()).len();
    call.actor.scan(|| directory.policies(account, room, sum)).await?;
    // It is measured as a text, twice.
    room.reserve(2 * len as u64 + 512).await?;
    text.reserve_exact(len - text.len());
    let mut fits = true;
    let write = |policy: ManagedPolicy| {
        let next = member(&policy.name, policy.document());
        fits &= text.len() + next.len() <= len;
        if fits {
            text.push_str(&next);
        }
    };
    call.actor.scan(|| directory.policies(account, room, write)).await?;
    if !fits {
        // There are more of them meanwhile.
        return Err(MinioError::busy());
    }
    // The place of the last comma.
    text.pop();
    text.push('}');
    Ok(Reply::Written(text))
}

pub(super) async fn info(call: &Call<'_>) -> Answer {
    let name = call.need("name")?;
    call.require(Right::GetPolicyVersion, EntityKind::Policy, name)?;
    let (directory, account) = (call.actor.directory, call.actor.account());
    let text = directory.policy_text(account, name)?;
    call.actor.room.reserve(4 * text.len() as u64).await?;
    let text = document(&text);
    if call.request.query("v") != Some("2") {
        return Ok(Reply::Written(text.to_owned()));
    }
    let (created, updated) = match directory.policy(account, name) {
        Ok(policy) => (policy.created_ms, policy.updated_ms),
        Err(_) => (0, 0),
    };
    let (created, updated) = (Timestamp(created).to_iso(), Timestamp(updated).to_iso());
    let shown = format!(
        r#"{{"PolicyName":{},"Policy":{text},"CreateDate":"{created}","UpdateDate":"{updated}"}}"#,
        Value::from(name)
    );
    Ok(Reply::Written(shown))
}

#[derive(Deserialize)]
struct Association {
    policies: Vec<String>,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
}

impl Fields for Association {
    const NAMES: &'static [&'static str] = &["policies", "user", "group"];
}

fn holder(call: &Call<'_>, user: &str, group: &str) -> Result<Holder, MinioError> {
    let account = call.actor.account();
    match (user, group) {
        ("", "") => Err(MinioError::invalid("A user or a group must be named.")),
        (user, "") => Ok(Holder::new(HolderKind::User, account, user)),
        ("", group) => Ok(Holder::new(HolderKind::Group, account, group)),
        _ => Err(MinioError::invalid("Either a user or a group must be named, not both.")),
    }
}

pub(super) async fn attach(call: &Call<'_>, attach: bool) -> Answer {
    let association: Association = call.body()?;
    let holder = holder(call, &association.user, &association.group)?;
    call.actor.require_attach_all(&holder, &association.policies, attach).await?;
    let changed = call.actor.directory.attach(holder, association.policies, attach).await?;
    if changed.is_empty() {
        return Err(MinioError::unchanged());
    }
    let field = if attach { "policiesAttached" } else { "policiesDetached" };
    let now = Timestamp(call.actor.directory.now_ms()).to_iso();
    Ok(Reply::Sealed(json!({ field: changed, "updatedAt": now })))
}

/// As [`attach`], to a distinguished name of the LDAP server.
pub(super) async fn attach_name(call: &Call<'_>, attach: bool) -> Answer {
    let association: Association = call.body()?;
    call.actor.require_attach_name(&association.policies, attach).await?;
    let name = match (association.user.as_str(), association.group.as_str()) {
        (name, "") | ("", name) if !name.is_empty() => normalise(name),
        _ => return Err(MinioError::invalid("Either a user or a group must be named.")),
    };
    if attach && !is_distinguished(&name) {
        return Err(MinioError::invalid(NOT_DISTINGUISHED));
    }
    let changed = call.actor.directory.attach_to_name(&name, association.policies, attach).await?;
    if changed.is_empty() {
        return Err(MinioError::unchanged());
    }
    let field = if attach { "policiesAttached" } else { "policiesDetached" };
    let now = Timestamp(call.actor.directory.now_ms()).to_iso();
    Ok(Reply::Sealed(json!({ field: changed, "updatedAt": now })))
}

pub(super) async fn set(call: &Call<'_>) -> Answer {
    let name = call.need("userOrGroup")?;
    let policies = names(call.request.query("policyName").unwrap_or_default());
    let holder = match call.request.query("isGroup") {
        Some("true") => holder(call, "", name)?,
        None | Some("false" | "") => holder(call, name, "")?,
        Some(_) => return Err(MinioError::invalid("The parameter isGroup must be true or false.")),
    };
    call.actor.require_set_all(&holder, &policies).await?;
    call.actor.directory.set_attached(holder, policies).await?;
    Ok(Reply::Empty)
}

/// Who holds a policy, as a mapping.
pub(super) fn mapping(policy: &str, held: &PolicyUse) -> Value {
    json!({ "policy": policy, "users": held.users, "groups": held.groups })
}

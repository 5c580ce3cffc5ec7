//! Access keys.

use super::write::Xml;
use super::{Answer, Call, QueryError};
use drystone_base::Timestamp;
use drystone_identity::{AccessKey, KeyChange, KeyKind, NewKey};

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    Some(match action {
        "CreateAccessKey" => create(call).await,
        "ListAccessKeys" => list(call),
        "UpdateAccessKey" => update(call).await,
        "DeleteAccessKey" => delete(call).await,
        "GetAccessKeyLastUsed" => last_used(call),
        _ => return None,
    })
}

fn status(key: &AccessKey) -> &'static str {
    if key.is_enabled { "Active" } else { "Inactive" }
}

/// The key that the call names, if it belongs to the user that the call is about.
fn named_key(call: &Call<'_>, action: &str) -> Result<AccessKey, QueryError> {
    let id = call.parameters.need("AccessKeyId")?;
    let owner = call.own_or_named(action)?;
    let missing = || {
        let message = format!("The Access Key with id {id} cannot be found.");
        QueryError::new("NoSuchEntity", 404, message)
    };
    let key = call.actor.directory.key(id).map_err(|_| missing())?;
    let is_his = key.parent.account() == call.account()
        && key.parent.user() == owner.as_deref()
        && key.key_kind == KeyKind::Own;
    if is_his { Ok(key) } else { Err(missing()) }
}

async fn create(call: &Call<'_>) -> Answer {
    let owner = call.own_or_named("CreateAccessKey")?;
    let identity = call.actor.identity;
    if !identity.may_make_keys() && owner.as_deref() == identity.user_name() {
        let message = "A session, or a key with a policy, cannot make keys for itself.";
        return Err(QueryError::denied(message));
    }
    let new = match &owner {
        Some(name) => NewKey::of_user(call.account(), name),
        None => NewKey::of_root(call.account()),
    };
    let (key, secret) = call.changes()?.create_key(new).await?;
    let mut xml = Xml::new();
    xml.open("AccessKey");
    xml.text("UserName", owner.as_deref().unwrap_or_default()).text("AccessKeyId", &key.id);
    xml.text("Status", status(&key)).text("SecretAccessKey", secret.reveal());
    xml.text("CreateDate", &Timestamp(key.created_ms).to_iso()).close("AccessKey");
    Ok(xml)
}

fn list(call: &Call<'_>) -> Answer {
    let owner = call.own_or_named("ListAccessKeys")?;
    if let Some(name) = &owner {
        call.actor.directory.user(call.account(), name)?;
    }
    let mut keys = call.actor.directory.keys_of(call.account(), owner.as_deref())?;
    keys.retain(|key| key.key_kind == KeyKind::Own);
    let (page, marker) = call.page(&keys, |key| &key.id)?;
    let mut xml = Xml::new();
    xml.members("AccessKeyMetadata", page, |xml, key| {
        xml.text("UserName", owner.as_deref().unwrap_or_default());
        xml.text("AccessKeyId", &key.id).text("Status", status(key));
        xml.text("CreateDate", &Timestamp(key.created_ms).to_iso());
    });
    xml.page_end(marker.as_deref());
    Ok(xml)
}

async fn update(call: &Call<'_>) -> Answer {
    let is_enabled = match call.parameters.need("Status")? {
        "Active" => true,
        "Inactive" => false,
        _ => return Err(QueryError::validation("Status must be Active or Inactive")),
    };
    let key = named_key(call, "UpdateAccessKey")?;
    let change = KeyChange { is_enabled: Some(is_enabled), ..KeyChange::default() };
    call.changes()?.change_key(&key.id, change).await?;
    Ok(Xml::new())
}

async fn delete(call: &Call<'_>) -> Answer {
    let key = named_key(call, "DeleteAccessKey")?;
    call.changes()?.delete_key(&key.id).await?;
    Ok(Xml::new())
}

/// Use of keys is in the access log, not here.
fn last_used(call: &Call<'_>) -> Answer {
    let id = call.parameters.need("AccessKeyId")?;
    call.require("GetAccessKeyLastUsed", &call.arn("user", "/", "*"))?;
    let key = call.actor.directory.key(id)?;
    let mut xml = Xml::new();
    xml.text("UserName", key.parent.user().unwrap_or_default());
    xml.open("AccessKeyLastUsed").text("Region", "N/A").text("ServiceName", "N/A");
    xml.close("AccessKeyLastUsed");
    Ok(xml)
}

//! Access keys.

use super::write::Xml;
use super::{Answer, Call, QueryError};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_identity::{AccessKey, EntityArn, EntityKind, KeyChange, KeyKind, NewKey};

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    Some(match action {
        "CreateAccessKey" => create(call).await,
        "ListAccessKeys" => call.actor.scan(|| list(call)).await,
        "UpdateAccessKey" => update(call).await,
        "DeleteAccessKey" => delete(call).await,
        "GetAccessKeyLastUsed" => last_used(call),
        _ => return None,
    })
}

fn status(key: &AccessKey) -> &'static str {
    if key.is_enabled { "Active" } else { "Inactive" }
}

fn missing_key(id: &str) -> QueryError {
    let message = format!("The Access Key with id {id} cannot be found.");
    QueryError::new("NoSuchEntity", 404, message)
}

/// The key that the call names, if it belongs to the user that the call is about.
fn named_key(call: &Call<'_>, right: Right) -> Result<AccessKey, QueryError> {
    let id = call.parameters.need("AccessKeyId")?;
    let owner = call.named_or_own()?;
    call.actor.require_keys(right, owner.as_deref())?;
    let key = call.actor.directory.key(id).map_err(|_| missing_key(id))?;
    let is_his = key.parent.account() == call.account()
        && key.parent.user() == owner.as_deref()
        && key.key_kind == KeyKind::Own;
    if is_his { Ok(key) } else { Err(missing_key(id)) }
}

async fn create(call: &Call<'_>) -> Answer {
    let owner = call.named_or_own()?;
    call.actor.require_keys(Right::CreateAccessKey, owner.as_deref())?;
    if let Some(name) = &owner {
        call.actor.require_not_above(name).await?;
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
    let owner = call.named_or_own()?;
    call.actor.require_key_list(owner.as_deref())?;
    if let Some(name) = &owner {
        call.actor.directory.user(call.account(), name)?;
    }
    let (asked, directory) = (call.page_asked()?, call.actor.directory);
    let page = directory.keys_page(call.account(), owner.as_deref(), asked, KeyKind::Own)?;
    let mut xml = Xml::new();
    xml.members("AccessKeyMetadata", &page.entities, |xml, key| {
        xml.text("UserName", owner.as_deref().unwrap_or_default());
        xml.text("AccessKeyId", &key.id).text("Status", status(key));
        xml.text("CreateDate", &Timestamp(key.created_ms).to_iso());
    });
    xml.page_end(page.next.as_deref());
    Ok(xml)
}

async fn update(call: &Call<'_>) -> Answer {
    let is_enabled = match call.parameters.need("Status")? {
        "Active" => true,
        "Inactive" => false,
        _ => return Err(QueryError::validation("Status must be Active or Inactive")),
    };
    let key = named_key(call, Right::UpdateAccessKey)?;
    if is_enabled {
        call.actor.require_not_above_owner(&key).await?;
    }
    let change = KeyChange { is_enabled: Some(is_enabled), ..KeyChange::default() };
    call.changes()?.change_key(&key, change).await?;
    Ok(Xml::new())
}

async fn delete(call: &Call<'_>) -> Answer {
    let key = named_key(call, Right::DeleteAccessKey)?;
    call.changes()?.delete_key(&key).await?;
    Ok(Xml::new())
}

/// The resource name of the owner of a key of the account; of all users if there is no such key.
pub(super) fn owner_arn(call: &Call<'_>, key: Option<&AccessKey>) -> Result<EntityArn, QueryError> {
    match key.map(|key| key.parent.user()) {
        Some(Some(name)) => call.arn(EntityKind::User, name),
        Some(None) => Ok(EntityArn::of_owner(call.account())),
        None => Ok(call.actor.all(EntityKind::User)),
    }
}

/// Use of keys is in the access log, not here. Keys of other accounts do not exist for the caller.
fn last_used(call: &Call<'_>) -> Answer {
    let id = call.parameters.need("AccessKeyId")?;
    let found = call.actor.directory.key(id);
    let key = found.ok().filter(|key| key.parent.account() == call.account());
    call.require("GetAccessKeyLastUsed", &owner_arn(call, key.as_ref())?)?;
    let key = key.ok_or_else(|| missing_key(id))?;
    let mut xml = Xml::new();
    xml.text("UserName", key.parent.user().unwrap_or_default());
    xml.open("AccessKeyLastUsed").text("Region", "N/A").text("ServiceName", "N/A");
    xml.close("AccessKeyLastUsed");
    Ok(xml)
}

//! Other names of keys.

use super::{Answer, Call};
use crate::rights::Right;
use drystone_kms::{AliasInfo, KmsError};
use serde_json::{Value, json};

pub(super) async fn run(call: &Call<'_>, operation: &str) -> Option<Answer> {
    Some(match operation {
        "CreateAlias" => create(call).await,
        "UpdateAlias" => update(call).await,
        "DeleteAlias" => delete(call).await,
        "ListAliases" => call.actor.list(|| list(call)).await,
        _ => return None,
    })
}

/// The rights to an alias and to a key are both needed.
fn require(call: &Call<'_>, right: Right, alias: &str, id: &str) -> Result<(), super::ApiError> {
    call.require_on(right, "", alias)?;
    call.require(right, id, &super::Context::new())
}

async fn create(call: &Call<'_>) -> Answer {
    let (alias, id) = (call.fields.need("AliasName")?, target(call)?);
    require(call, call.right, &alias, &id)?;
    if call.kms.key_of_alias(call.account(), &alias)?.is_some() {
        return Err(KmsError::Exists(alias).into());
    }
    call.changes()?.set_alias((call.account(), &alias), None, Some(&id)).await?;
    Ok(Value::Null)
}

fn target(call: &Call<'_>) -> Result<String, super::ApiError> {
    let text = call.fields.need("TargetKeyId")?;
    // An alias of an alias is none.
    match text.contains("alias/") {
        true => Err(super::ApiError::validation("TargetKeyId must be the id or ARN of a key.")),
        false => call.resolve(&text),
    }
}

async fn update(call: &Call<'_>) -> Answer {
    let (alias, id) = (call.fields.need("AliasName")?, target(call)?);
    require(call, call.right, &alias, &id)?;
    let seen = call.kms.key_of_alias(call.account(), &alias)?;
    let old = seen.clone().ok_or_else(|| KmsError::NotFound(alias.clone()))?;
    call.require(call.right, &old, &super::Context::new())?;
    call.changes()?.set_alias((call.account(), &alias), seen, Some(&id)).await?;
    Ok(Value::Null)
}

async fn delete(call: &Call<'_>) -> Answer {
    let alias = call.fields.need("AliasName")?;
    call.require_on(call.right, "", &alias)?;
    let seen = call.kms.key_of_alias(call.account(), &alias)?;
    let id = seen.clone().ok_or_else(|| KmsError::NotFound(alias.clone()))?;
    // The alias of a key that is gone can go too.
    match call.require(call.right, &id, &super::Context::new()) {
        Err(super::ApiError::Coded { code: "NotFoundException", .. }) => {}
        decided => decided?,
    }
    call.changes()?.set_alias((call.account(), &alias), seen, None).await?;
    Ok(Value::Null)
}

fn list(call: &Call<'_>) -> Answer {
    call.require_on(call.right, "key/", "*")?;
    let of = call.fields.text("KeyId")?.map(|text| call.resolve(&text)).transpose()?;
    let mut aliases = call.kms.aliases(&call.actor.room, Some(call.account()))?;
    let default = call.kms.default_id().to_owned();
    let is_there = call.kms.describe(&default).is_ok();
    if is_there && call.kms.owner(call.account()).is_none() {
        let name = "alias/aws/s3".to_owned();
        aliases.push(AliasInfo { name, account: None, key: default });
        aliases.sort_by(|a, b| a.name.cmp(&b.name));
    }
    aliases.retain(|alias| of.as_ref().is_none_or(|id| *id == alias.key));
    let page = call.page(aliases, |alias| &alias.name)?;
    Ok(page.answer("Aliases", |AliasInfo { name, account, key }| {
        let arn = call.kms.arn_in(account.as_deref(), "", &name);
        json!({ "AliasName": name, "AliasArn": arn, "TargetKeyId": key })
    }))
}

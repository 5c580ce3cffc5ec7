//! Grants of keys.

use super::error::ApiError;
use super::keys::seconds;
use super::{Answer, Call, Context};
use drystone_base::hex;
use drystone_iam::{Caller, Document, DocumentKind, StoredPolicy, is_named};
use drystone_identity::IdentityError;
use drystone_kms::{GRANT_OPERATIONS, Grant, KmsError};
use serde_json::{Value, json};

pub(super) async fn run(call: &Call<'_>, operation: &str) -> Option<Answer> {
    Some(match operation {
        "CreateGrant" => create(call).await,
        "ListGrants" => list(call),
        "RevokeGrant" => revoke(call).await,
        "RetireGrant" => retire(call).await,
        "ListRetirableGrants" => call.actor.list(|| list_retirable(call)).await,
        _ => return None,
    })
}

/// A principal as it is kept: a policy that names it, with ids.
fn principal(call: &Call<'_>, field: &str) -> Result<Option<String>, ApiError> {
    let Some(arn) = call.fields.text(field)?.filter(|arn| !arn.is_empty()) else { return Ok(None) };
    let invalid = || ApiError::new("InvalidArnException", format!("{arn} is no principal."));
    // An account as a whole, or everyone, is for the policy of the key.
    if arn == "*" || arn.ends_with(":root") || !arn.starts_with("arn:") {
        return Err(invalid());
    }
    let document = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": arn }, "Action": "kms:*", "Resource": "*" }] });
    let names = call.actor.directory.principal_names();
    let stored = StoredPolicy::resolve(&document.to_string(), DocumentKind::Key, &names);
    match stored {
        Ok((stored, _)) => Ok(String::from_utf8(stored.to_row()).ok()),
        Err(IdentityError::Policy(_)) => Err(invalid()),
        Err(error) => Err(error.into()),
    }
}

/// The resource name in such a policy, as a client reads it.
fn shown(call: &Call<'_>, stored: &str) -> Value {
    let text = call.actor.directory.shown_policy(&StoredPolicy::of_row(stored));
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    document["Statement"][0]["Principal"]["AWS"].clone()
}

fn document_of(stored: &str) -> Option<Document> {
    StoredPolicy::of_row(stored).document(DocumentKind::Key).ok()
}

/// Whether such a policy names the caller.
fn names_caller(call: &Call<'_>, stored: Option<&str>) -> bool {
    let caller = Caller { principal: &call.actor.identity.principal, canonical: None };
    stored.and_then(document_of).is_some_and(|document| is_named(caller, &document))
}

#[derive(serde::Deserialize, Default)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Constraints {
    encryption_context_subset: Context,
    encryption_context_equals: Option<Context>,
}

async fn create(call: &Call<'_>) -> Answer {
    let id = call.key()?;
    call.fields.texts("GrantTokens")?;
    let missing = || ApiError::validation("GranteePrincipal must not be null.");
    let grantee = principal(call, "GranteePrincipal")?.ok_or_else(missing)?;
    let retiring = principal(call, "RetiringPrincipal")?;
    let mut operations = call.fields.texts("Operations")?;
    operations.sort();
    operations.dedup();
    if operations.is_empty() || !operations.iter().all(|name| GRANT_OPERATIONS.contains(&&**name)) {
        let message = format!("Operations are some of: {}.", GRANT_OPERATIONS.join(", "));
        return Err(ApiError::validation(message));
    }
    let constraints = match call.fields.take("Constraints") {
        None => Constraints::default(),
        Some(value) => serde_json::from_value(value).map_err(|_| {
            let message = "Only constraints on the encryption context are implemented.";
            ApiError::new("UnsupportedOperationException", message)
        })?,
    };
    let name = call.fields.text("Name")?.unwrap_or_default();
    if name.len() > 256 {
        return Err(ApiError::validation("Name has 256 characters at most."));
    }
    let grant = Grant {
        id: hex(&call.kms.random(32)),
        name,
        grantee,
        retiring,
        issuer: call.actor.identity.principal.arn().unwrap_or_default(),
        operations,
        context_subset: constraints.encryption_context_subset,
        context_equals: constraints.encryption_context_equals,
        created_ms: call.actor.directory.now_ms(),
    };
    let grant_id = grant.id.clone();
    // The same grant again is the one that there is.
    let known = call.kms.rules(&id)?.grants.into_iter().find(|known| {
        let mut known = known.clone();
        (known.id, known.created_ms) = (grant.id.clone(), grant.created_ms);
        !grant.name.is_empty() && known == grant
    });
    let kms = call.changes()?;
    let grant_id = match known {
        Some(known) => known.id,
        None => {
            kms.add_grant(&id, grant).await?;
            grant_id
        }
    };
    Ok(json!({ "GrantId": grant_id, "GrantToken": grant_id }))
}

fn entry(call: &Call<'_>, id: &str, grant: &Grant) -> Value {
    let mut entry = json!({
        "KeyId": call.kms.arn(id), "GrantId": grant.id, "Name": grant.name,
        "CreationDate": seconds(grant.created_ms), "GranteePrincipal": shown(call, &grant.grantee),
        "IssuingAccount": grant.issuer, "Operations": grant.operations,
    });
    if let Some(retiring) = &grant.retiring {
        entry["RetiringPrincipal"] = shown(call, retiring);
    }
    if let Some(equals) = &grant.context_equals {
        entry["Constraints"]["EncryptionContextEquals"] = json!(equals);
    }
    if !grant.context_subset.is_empty() {
        entry["Constraints"]["EncryptionContextSubset"] = json!(grant.context_subset);
    }
    entry
}

fn list(call: &Call<'_>) -> Answer {
    let id = call.key()?;
    let grant_id = call.fields.text("GrantId")?;
    let grantee = call.fields.text("GranteePrincipal")?;
    let mut grants = call.kms.rules(&id)?.grants;
    grants.retain(|grant| {
        grant_id.as_ref().is_none_or(|id| *id == grant.id)
            && grantee.as_ref().is_none_or(|arn| shown(call, &grant.grantee) == **arn)
    });
    grants.sort_by(|a, b| a.id.cmp(&b.id));
    let page = call.page(grants, |grant| &grant.id)?;
    Ok(page.answer("Grants", |grant| entry(call, &id, &grant)))
}

async fn revoke(call: &Call<'_>) -> Answer {
    let id = call.key()?;
    let grant = call.fields.need("GrantId")?;
    call.changes()?.remove_grant(&id, &grant).await?;
    Ok(Value::Null)
}

/// Ends a grant: for whom it says may, for its grantee if it lets them, and for those who have the right.
async fn retire(call: &Call<'_>) -> Answer {
    let token = call.fields.text("GrantToken")?;
    let (id, grant_id) = match (call.fields.text("KeyId")?, call.fields.text("GrantId")?, token) {
        (Some(key), Some(grant), None) => (call.resolve(&key)?, grant),
        (_, _, None) => {
            return Err(ApiError::validation("KeyId and GrantId are needed."));
        }
        _ => {
            let message = "Tokens of grants are not implemented here: give KeyId and GrantId.";
            return Err(ApiError::new("UnsupportedOperationException", message));
        }
    };
    let grants = call.kms.rules(&id)?.grants;
    let grant = grants.iter().find(|grant| grant.id == grant_id);
    let may = grant.is_some_and(|grant| {
        names_caller(call, grant.retiring.as_deref())
            || (grant.covers("RetireGrant", &Context::new())
                && names_caller(call, Some(&grant.grantee)))
    });
    if !may {
        call.require(call.right, &id, &Context::new())?;
    } else {
        call.actor.refuse_denied_kms(call.right, &call.kms.arn(&id))?;
    }
    if grant.is_none() {
        return Err(KmsError::NotFound(grant_id).into());
    }
    call.changes()?.remove_grant(&id, &grant_id).await?;
    Ok(Value::Null)
}

/// Grants of keys of the account that a principal may retire.
fn list_retirable(call: &Call<'_>) -> Answer {
    call.require_on(call.right, "key/", "*")?;
    let retiring = call.fields.need("RetiringPrincipal")?;
    let mut found = Vec::new();
    for key in call.kms.list(&call.actor.room, Some(call.account()))? {
        for grant in call.kms.rules(&key.id)?.grants {
            let is_his = |stored: &String| shown(call, stored) == *retiring;
            if grant.retiring.as_ref().is_some_and(is_his) {
                call.actor.room.cover(&grant)?;
                found.push((key.id.clone(), grant));
            }
        }
    }
    found.sort_by(|a, b| a.1.id.cmp(&b.1.id));
    let page = call.page(found, |(_, grant)| &grant.id)?;
    Ok(page.answer("Grants", |(id, grant)| entry(call, &id, &grant)))
}

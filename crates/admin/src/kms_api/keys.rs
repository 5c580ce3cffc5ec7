//! Keys: making, describing, switching, rotating and deleting them, their policies and tags.

use super::error::ApiError;
use super::{Answer, Call};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_engine::KeyNeed;
use drystone_iam::{DocumentKind, StoredPolicy};
use drystone_identity::{DEFAULT_ACCOUNT, IdentityError};
use drystone_kms::{KeyInfo, KeyState, Kms, NewKey};
use serde_json::{Value, json};

/// The only name of a policy of a key.
const POLICY: &str = "default";
/// Days that a deletion waits.
const WINDOW_DAYS: std::ops::RangeInclusive<u64> = 7..=30;
/// Days between two rotations.
const PERIOD_DAYS: std::ops::RangeInclusive<u64> = 90..=2560;

pub(super) async fn run(call: &Call<'_>, operation: &str) -> Option<Answer> {
    Some(match operation {
        "CreateKey" => create(call).await,
        "DescribeKey" => describe(call),
        "ListKeys" => call.actor.list(|| list(call)).await,
        "UpdateKeyDescription" => update_description(call).await,
        "EnableKey" => set_state(call, KeyState::Enabled).await,
        "DisableKey" => set_state(call, KeyState::Disabled).await,
        "GetKeyPolicy" => get_policy(call),
        "PutKeyPolicy" => put_policy(call).await,
        "ListKeyPolicies" => list_policies(call),
        "TagResource" | "UntagResource" => tag(call, operation).await,
        "ListResourceTags" => list_tags(call),
        "EnableKeyRotation" | "DisableKeyRotation" => set_rotation(call, operation).await,
        "GetKeyRotationStatus" => rotation_status(call),
        "RotateKeyOnDemand" => rotate(call).await,
        "ListKeyRotations" => list_rotations(call),
        "ScheduleKeyDeletion" => schedule_deletion(call).await,
        "CancelKeyDeletion" => cancel_deletion(call).await,
        _ => return None,
    })
}

/// A time as JSON of AWS has it: seconds since 1970.
pub(super) fn seconds(ms: u64) -> Value {
    json!(ms as f64 / 1000.0)
}

fn metadata(kms: &Kms, key: &KeyInfo) -> Value {
    let is_default = key.id == kms.default_id();
    let state = match key.state {
        KeyState::Enabled => "Enabled",
        KeyState::Disabled => "Disabled",
        KeyState::PendingDeletion => "PendingDeletion",
    };
    let mut found = json!({
        "AWSAccountId": key.account.as_deref().unwrap_or(DEFAULT_ACCOUNT),
        "KeyId": key.id, "Arn": kms.arn_in(key.account.as_deref(), "key/", &key.id),
        "CreationDate": seconds(key.created_ms), "Enabled": key.state == KeyState::Enabled,
        "Description": key.description, "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": state,
        "Origin": "AWS_KMS", "KeyManager": if is_default { "AWS" } else { "CUSTOMER" },
        "KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "MultiRegion": false,
    });
    if let Some(end) = key.deletion_ms {
        found["DeletionDate"] = seconds(end);
    }
    found
}

/// The policy of a call, with principals by id.
fn policy_of(call: &Call<'_>, text: &str) -> Result<String, ApiError> {
    Kms::check_policy_len(text)?;
    let names = call.actor.directory.principal_names();
    let (stored, _) = StoredPolicy::resolve(text, DocumentKind::Key, &names)
        .map_err(|error: IdentityError| ApiError::from(error))?;
    String::from_utf8(stored.to_row()).map_err(|_| ApiError::validation("Policy is no text."))
}

async fn create(call: &Call<'_>) -> Answer {
    call.require_on(call.right, "key/", "*")?;
    let fields = call.fields;
    fields.only("KeyUsage", &["ENCRYPT_DECRYPT"])?;
    fields.only("KeySpec", &["SYMMETRIC_DEFAULT"])?;
    fields.only("CustomerMasterKeySpec", &["SYMMETRIC_DEFAULT"])?;
    fields.only("Origin", &["AWS_KMS"])?;
    // The owner of the account is let in whatever a policy allows: none locks out for good.
    fields.bool("BypassPolicyLockoutSafetyCheck")?;
    let tags = fields.tags()?;
    if !tags.is_empty() {
        let arn = call.kms.arn_in(call.kms.owner(call.account()), "key/", "*");
        call.actor.refuse_denied_kms(Right::KmsTagResource, &arn)?;
    }
    let policy = fields.text("Policy")?.filter(|text| !text.is_empty());
    let new = NewKey {
        id: String::new(),
        description: fields.text("Description")?.unwrap_or_default(),
        account: Some(call.account().to_owned()),
        policy: policy.map(|text| policy_of(call, &text)).transpose()?,
        tags,
    };
    let key = call.changes()?.create(new).await?;
    Ok(json!({ "KeyMetadata": metadata(&call.kms, &key) }))
}

fn describe(call: &Call<'_>) -> Answer {
    call.fields.texts("GrantTokens")?;
    let id = call.key()?;
    Ok(json!({ "KeyMetadata": metadata(&call.kms, &call.kms.describe(&id)?) }))
}

fn list(call: &Call<'_>) -> Answer {
    call.require_on(call.right, "key/", "*")?;
    let keys = call.kms.list(&call.actor.room, Some(call.account()))?;
    let page = call.page(keys, |key| &key.id)?;
    Ok(page.answer("Keys", |key| {
        let arn = call.kms.arn_in(key.account.as_deref(), "key/", &key.id);
        json!({ "KeyId": key.id, "KeyArn": arn })
    }))
}

async fn update_description(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    let description = call.fields.text("Description")?.unwrap_or_default();
    call.changes()?.describe_as(&id, description).await?;
    Ok(Value::Null)
}

async fn set_state(call: &Call<'_>, state: KeyState) -> Answer {
    let id = call.own_key()?;
    call.changes()?.set_state(&id, state).await?;
    Ok(Value::Null)
}

fn check_policy_name(call: &Call<'_>) -> Result<(), ApiError> {
    match call.fields.text("PolicyName")?.as_deref() {
        None | Some("" | POLICY) => Ok(()),
        Some(name) => {
            Err(ApiError::new("NotFoundException", format!("No such policy exists: {name}")))
        }
    }
}

fn get_policy(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    check_policy_name(call)?;
    let rules = call.kms.rules(&id)?;
    let policy = match &rules.policy {
        Some(text) => call.actor.directory.shown_policy(&StoredPolicy::of_row(text)),
        None => {
            let account = rules.account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
            let owner = drystone_identity::EntityArn::of_owner(account);
            json!({ "Version": "2012-10-17", "Id": "key-default-1", "Statement": [{
                "Sid": "Enable IAM User Permissions", "Effect": "Allow",
                "Principal": { "AWS": &*owner }, "Action": "kms:*", "Resource": "*" }] })
            .to_string()
        }
    };
    Ok(json!({ "Policy": policy, "PolicyName": POLICY }))
}

async fn put_policy(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    check_policy_name(call)?;
    call.fields.bool("BypassPolicyLockoutSafetyCheck")?;
    let policy = policy_of(call, &call.fields.need("Policy")?)?;
    call.changes()?.set_policy(&id, policy).await?;
    Ok(Value::Null)
}

fn list_policies(call: &Call<'_>) -> Answer {
    call.own_key()?;
    let page = call.page(vec![POLICY], |name| name)?;
    Ok(page.answer("PolicyNames", |name| json!(name)))
}

async fn tag(call: &Call<'_>, operation: &str) -> Answer {
    let id = call.own_key()?;
    let (set, gone) = match operation {
        "TagResource" => (call.fields.tags()?, Vec::new()),
        _ => (Default::default(), call.fields.texts("TagKeys")?),
    };
    call.changes()?.set_tags(&id, set, gone).await?;
    Ok(Value::Null)
}

fn list_tags(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    let tags: Vec<_> = call.kms.describe(&id)?.tags.into_iter().collect();
    let page = call.page(tags, |(key, _)| key)?;
    Ok(page.answer("Tags", |(key, value)| json!({ "TagKey": key, "TagValue": value })))
}

async fn set_rotation(call: &Call<'_>, operation: &str) -> Answer {
    let id = call.own_key()?;
    let days = match operation {
        "EnableKeyRotation" => match call.fields.number("RotationPeriodInDays")? {
            None => Some(365),
            Some(days) if PERIOD_DAYS.contains(&days) => Some(days as u32),
            Some(_) => {
                let message = "RotationPeriodInDays must be from 90 to 2560.";
                return Err(ApiError::validation(message));
            }
        },
        _ => None,
    };
    call.changes()?.set_rotation(&id, days).await?;
    Ok(Value::Null)
}

fn rotation_status(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    let mut answer = json!({ "KeyId": call.kms.arn(&id), "KeyRotationEnabled": false });
    if let Some(rotation) = call.kms.describe(&id)?.rotation {
        answer["KeyRotationEnabled"] = json!(true);
        answer["RotationPeriodInDays"] = json!(rotation.days);
        answer["NextRotationDate"] = seconds(rotation.next_ms);
    }
    Ok(answer)
}

async fn rotate(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    call.changes()?.rotate(&id).await?;
    Ok(json!({ "KeyId": call.kms.arn(&id) }))
}

fn list_rotations(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    call.fields.only("IncludeKeyMaterial", &["ROTATIONS_ONLY"])?;
    // The first material is no rotation.
    let times = call.kms.rotations(&id)?.into_iter().skip(1);
    let times: Vec<_> = times.map(|ms| (Timestamp(ms).to_iso(), ms)).collect();
    let page = call.page(times, |(text, _)| text)?;
    let arn = call.kms.arn(&id);
    Ok(page.answer("Rotations", |(_, ms)| json!({ "KeyId": arn, "RotationDate": seconds(ms) })))
}

async fn schedule_deletion(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    let days = match call.fields.number("PendingWindowInDays")? {
        None => *WINDOW_DAYS.end(),
        Some(days) if WINDOW_DAYS.contains(&days) => days,
        Some(_) => return Err(ApiError::validation("PendingWindowInDays must be from 7 to 30.")),
    };
    let kms = call.changes()?;
    let was = kms.describe(&id)?;
    // Nothing is sealed under it from now on, so that what is counted stays so.
    let end_ms = kms.schedule_deletion(&id, days as u32).await?;
    let engine = &call.admin.engine;
    let need = call
        .actor
        .scan(|| {
            engine.key_need(&id).map_err(|error| {
                tracing::error!(%error, "whether objects need a key cannot be told");
                ApiError::new("KMSInternalException", "The request could not be carried out.")
            })
        })
        .await;
    let refused = match need {
        Ok(KeyNeed::None) => {
            return Ok(json!({
                "KeyId": kms.arn(&id), "DeletionDate": seconds(end_ms),
                "KeyState": "PendingDeletion", "PendingWindowInDays": days,
            }));
        }
        Ok(KeyNeed::Needed) => {
            let arn = kms.arn(&id);
            let message = format!(
                "{arn} cannot be deleted: versions of objects, or uploads, are encrypted under it. \
                 Delete them, or copy them under another key, or disable the key."
            );
            ApiError::new("KMSInvalidStateException", message)
        }
        Ok(KeyNeed::NotKnown) => {
            let message = "There are more versions of objects than can be looked at for whether \
                           they are encrypted under the key. Disable it instead.";
            ApiError::new("KMSInvalidStateException", message)
        }
        Err(error) => error,
    };
    // As it was before.
    call.admin.kms.cancel_deletion(&id).await?;
    call.admin.kms.set_state(&id, was.state).await?;
    Err(refused)
}

async fn cancel_deletion(call: &Call<'_>) -> Answer {
    let id = call.own_key()?;
    call.changes()?.cancel_deletion(&id).await?;
    Ok(json!({ "KeyId": call.kms.arn(&id) }))
}

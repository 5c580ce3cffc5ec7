//! Keys that data keys of objects are sealed under, as `mc admin kms key` asks for them.

use super::{Answer, Call, MinioError, Reply};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_identity::DEFAULT_ACCOUNT;
use drystone_kms::{KmsError, NewKey};
use serde_json::json;

impl From<KmsError> for MinioError {
    fn from(error: KmsError) -> Self {
        if let Some(message) = error.takes_no_changes() {
            return Self::unavailable(message);
        }
        let message = error.to_string();
        match error {
            _ if error.is_full() => Self::full(),
            KmsError::NotFound(_) => Self::new("XMinioKMSKeyNotFound", 404, message),
            KmsError::Exists(_) => Self::new("XMinioKMSKeyExists", 409, message),
            KmsError::Disabled(_)
            | KmsError::Pending(_)
            | KmsError::Needed(_)
            | KmsError::Invalid(_)
            | KmsError::Limit(_) => Self::invalid(message),
            KmsError::NoRoom | KmsError::Changed => Self::busy(),
            KmsError::Provider { .. } => Self::new("XMinioKMSError", 503, message),
            KmsError::Damaged(_) | KmsError::Keyring(_) | KmsError::Catalog(_) => {
                tracing::error!(error = message, "the administration of keys failed");
                Self::failed()
            }
        }
    }
}

pub(super) async fn run(call: &Call<'_>, name: &str) -> Answer {
    if Right::of_minio(&format!("kms:{name}")).is_none() {
        return Err(MinioError::not_supported(&call.request.path));
    }
    match (call.request.method.as_str(), name) {
        ("POST" | "GET", "status") => call.actor.scan(|| status(call)).await,
        ("GET", "version") => {
            call.actor.require_kms(Right::KmsVersion, call.kms, "")?;
            Ok(Reply::Plain(json!({ "version": env!("CARGO_PKG_VERSION") })))
        }
        ("POST", "key/create") => create(call).await,
        ("GET", "key/list") => call.actor.list(|| list(call)).await,
        ("GET", "key/status") => key_status(call).await,
        _ => Err(MinioError::not_supported(&call.request.path)),
    }
}

fn status(call: &Call<'_>) -> Answer {
    call.actor.require_kms(Right::KmsStatus, call.kms, "")?;
    let is_online = call.kms.are_all_enabled()?;
    let state = if is_online { "online" } else { "degraded" };
    let (name, default) = ("Drystone", call.kms.default_id());
    Ok(Reply::Plain(json!({
        "name": name, "default-key-id": default, "endpoints": { "local": state },
        "state": { "keyStoreReachable": true, "keystoreAvailable": true },
    })))
}

async fn create(call: &Call<'_>) -> Answer {
    let id = call.need("key-id")?;
    call.actor.require_kms(Right::KmsCreateKey, call.kms, id)?;
    call.kms.create(NewKey { id: id.to_owned(), ..NewKey::default() }).await?;
    Ok(Reply::Empty)
}

/// Lists keys whose ids fit a pattern that may end in an asterisk.
fn list(call: &Call<'_>) -> Answer {
    call.actor.require_kms(Right::KmsListKeys, call.kms, "")?;
    let pattern = call.request.query("pattern").unwrap_or("*");
    let fits = |id: &str| match pattern.strip_suffix('*') {
        Some(prefix) => id.starts_with(prefix),
        None => id == pattern,
    };
    let keys = call
        .kms
        .list(&call.actor.room, Some(DEFAULT_ACCOUNT))?
        .into_iter()
        .filter(|key| fits(&key.id))
        .map(|key| {
            let created = Timestamp(key.created_ms).to_iso();
            json!({ "name": key.id, "createdAt": created, "createdBy": "" })
        });
    Ok(Reply::Plain(keys.collect()))
}

/// Tries a key: seals something with it and opens it again.
async fn key_status(call: &Call<'_>) -> Answer {
    let named = call.request.query("key-id").filter(|id| !id.is_empty());
    let id = call.kms.resolve(named.unwrap_or(call.kms.default_id()), Some(DEFAULT_ACCOUNT))?;
    call.actor.require_kms(Right::KmsKeyStatus, call.kms, &id)?;
    let mut status = json!({ "key-id": id });
    match call.kms.try_key(&id).await {
        Ok(()) => {}
        Err(error @ KmsError::NotFound(_)) => return Err(error.into()),
        Err(error) => status["encryption-error"] = json!(error.to_string()),
    }
    Ok(Reply::Plain(status))
}

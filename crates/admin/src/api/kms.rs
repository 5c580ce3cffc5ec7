//! Keys that data keys of objects are sealed under, and the keyring.

use super::{Failed, Outcome};
use crate::door::Actor;
use crate::rights::Right;
use crate::{Admin, DRIVE_FULL};
use drystone_admin_api::{Answer, Failure, FailureCode, KmsKey, Request};
use drystone_base::Timestamp;
use drystone_identity::DEFAULT_ACCOUNT;
use drystone_kms::{KeyInfo, KeyState, Kms, KmsError, NewKey};
use std::collections::BTreeMap;

impl From<KmsError> for Failed {
    fn from(error: KmsError) -> Self {
        let code = match &error {
            _ if error.is_full() => FailureCode::Limit,
            _ if error.takes_no_changes().is_some() => FailureCode::Unavailable,
            KmsError::NoRoom | KmsError::Changed => FailureCode::Unavailable,
            KmsError::Limit(_) => FailureCode::Limit,
            KmsError::NotFound(_) => FailureCode::NotFound,
            KmsError::Exists(_) => FailureCode::Exists,
            KmsError::Needed(_) => FailureCode::InUse,
            KmsError::Disabled(_) | KmsError::Pending(_) | KmsError::Invalid(_) => {
                FailureCode::Invalid
            }
            KmsError::Damaged(_)
            | KmsError::Provider { .. }
            | KmsError::Keyring(_)
            | KmsError::Catalog(_) => {
                tracing::error!(%error, "the administration of keys failed");
                FailureCode::Failed
            }
        };
        let refused = error.takes_no_changes().or(error.is_full().then(|| DRIVE_FULL.to_owned()));
        let message = refused.unwrap_or_else(|| error.to_string());
        Self(Failure { code, message })
    }
}

/// Runs a request about keys; gives back any other.
pub(super) async fn run(
    actor: &Actor<'_>,
    admin: &Admin,
    request: Request,
) -> Result<Outcome, Request> {
    let kms = &admin.kms.guarded(actor.directory.decision_guard());
    Ok(match request {
        Request::KmsAdd { key, description, account } => {
            let account = Some(account).filter(|account| !account.is_empty());
            let new = NewKey { id: key, description, account, ..NewKey::default() };
            add(actor, kms, new).await
        }
        Request::KmsList => actor.list(|| list(actor, kms)).await,
        Request::KmsEnable { key, enabled } => enable(actor, kms, &key, enabled).await,
        Request::KmsRotate { key } => rotate(actor, kms, &key).await,
        Request::KmsAlias { name, key } => alias(actor, kms, &name, key.as_deref()).await,
        Request::KeyringExport => export(actor, kms),
        request => return Err(request),
    })
}

/// Names of keys, by key.
type Aliases = BTreeMap<String, Vec<String>>;

/// The other names of a key, or of all for `None`.
fn aliases(actor: &Actor<'_>, kms: &Kms, key: Option<&str>) -> Result<Aliases, Failed> {
    let mut aliases = Aliases::new();
    for alias in kms.aliases(&actor.room, None)? {
        if key.is_none_or(|key| key == alias.key) {
            aliases.entry(alias.key).or_default().push(alias.name);
        }
    }
    Ok(aliases)
}

fn shown(kms: &Kms, keys: Vec<KeyInfo>, mut aliases: Aliases) -> Outcome {
    let shown = keys.into_iter().map(|key| KmsKey {
        arn: kms.arn(&key.id),
        aliases: aliases.remove(&key.id).unwrap_or_default(),
        provider: key.provider.to_owned(),
        enabled: key.state == KeyState::Enabled,
        is_default: key.id == kms.default_id(),
        versions: key.version_count,
        created: Timestamp(key.created_ms).to_iso(),
        description: key.description,
        id: key.id,
    });
    Ok(Answer::KmsKeys(shown.collect()))
}

async fn add(actor: &Actor<'_>, kms: &Kms, new: NewKey) -> Outcome {
    actor.require_kms(Right::KmsCreateKey, kms, &new.id)?;
    if let Some(account) = &new.account {
        actor.directory.account(account)?;
    }
    // Another service may be asked: others of the account do not wait for it.
    actor.directory.end_decision();
    let key = kms.create(new).await?;
    shown(kms, vec![key], Aliases::new())
}

fn list(actor: &Actor<'_>, kms: &Kms) -> Outcome {
    actor.require_kms(Right::KmsListKeys, kms, "")?;
    let keys = kms.list(&actor.room, None)?;
    shown(kms, keys, aliases(actor, kms, None)?)
}

async fn enable(actor: &Actor<'_>, kms: &Kms, name: &str, enabled: bool) -> Outcome {
    let id = kms.resolve(name, None)?;
    let right = if enabled { Right::KmsEnableKey } else { Right::KmsDisableKey };
    actor.require_kms(right, kms, &id)?;
    let state = if enabled { KeyState::Enabled } else { KeyState::Disabled };
    kms.set_state(&id, state).await?;
    Ok(Answer::Done)
}

async fn rotate(actor: &Actor<'_>, kms: &Kms, name: &str) -> Outcome {
    let id = kms.resolve(name, None)?;
    actor.require_kms(Right::KmsRotateKey, kms, &id)?;
    actor.directory.end_decision();
    // There must be room for the answer before the key is changed.
    let aliases = actor.list(|| aliases(actor, kms, Some(&id))).await?;
    let key = kms.rotate(&id).await?;
    shown(kms, vec![key], aliases)
}

async fn alias(actor: &Actor<'_>, kms: &Kms, name: &str, key: Option<&str>) -> Outcome {
    let id = key.map(|key| kms.resolve(key, Some(DEFAULT_ACCOUNT))).transpose()?;
    if let Some(id) = &id {
        actor.require_kms(Right::KmsCreateAlias, kms, id)?;
    }
    // Who may not do even that is not told whether there is such a name.
    let seen = kms.key_of_alias(DEFAULT_ACCOUNT, name)?;
    if id.is_none() || seen.as_ref().is_some_and(|key| id.as_ref() != Some(key)) {
        actor.require_kms(Right::KmsDeleteAlias, kms, seen.as_deref().unwrap_or_default())?;
    }
    match kms.set_alias((DEFAULT_ACCOUNT, name), seen, id.as_deref()).await {
        // Another key has the name by now: it is decided on that one.
        Err(KmsError::Changed) => Ok(actor.directory.refuse_decision()?),
        outcome => Ok(outcome.map(|()| Answer::Done)?),
    }
}

/// The keyring opens everything: who asks must be at the machine itself.
fn export(actor: &Actor<'_>, kms: &Kms) -> Outcome {
    actor.require_socket()?;
    Ok(Answer::Keyring { text: kms.export_keyring().reveal().to_owned() })
}

//! Policies of buckets and access points: what a client gives becomes what is stored, with the unique ids of
//! those whom it names.

use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use drystone_engine::plan::DocumentKind;
use drystone_engine::{BucketsAsked, Engine, EngineError};
use drystone_iam::{Document, DocumentKind as PolicyKind, StoredPolicy};
use drystone_identity::{Directory, IdentityError};

/// Checks a policy that a client gives.
///
/// # Errors
///
/// `MalformedPolicy`; `InternalError` if who there is cannot be known.
pub(crate) fn resolve(
    context: &Context<'_>,
    text: &str,
    kind: PolicyKind<'_>,
) -> Result<(StoredPolicy, Document), S3Error> {
    let resolved = StoredPolicy::resolve(text, kind, &context.directory.principal_names());
    resolved.map_err(|error| match error {
        IdentityError::Policy(error) => S3Error::with(S3Code::MalformedPolicy, error.to_string()),
        error => {
            tracing::error!(%error, "whom a policy names cannot be read");
            S3Code::InternalError.into()
        }
    })
}

/// Why policies of an older version were not brought to this one.
#[derive(Debug, thiserror::Error)]
enum UpgradeError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Buckets that are looked at at a time.
const BUCKETS_AT_ONCE: usize = 1000;

/// Puts the unique ids of those who are named into all policies of a deployment of an older version. To be
/// called before anything is served. Where it fails, what is left to be done gives nothing to users and roles
/// that it names, and the next start goes on with it.
pub async fn name_principals_by_id(engine: &Engine, directory: &Directory) {
    if let Err(error) = upgrade(engine, directory).await {
        tracing::error!(%error, "policies of an older version did not get the ids of those whom they name");
    }
}

async fn upgrade(engine: &Engine, directory: &Directory) -> Result<(), UpgradeError> {
    if directory.names_principals_by_id()? {
        return Ok(());
    }
    let mut after = String::new();
    loop {
        let asked = BucketsAsked { prefix: "", after: &after, owner: None, limit: BUCKETS_AT_ONCE };
        let page = engine.list_buckets(&asked)?;
        for bucket in page.buckets {
            let text = match engine.document(&bucket, DocumentKind::Policy, "") {
                Err(error) if error.is_unreadable_row() => None,
                text => text?,
            };
            let Some(text) = text else { continue };
            let stored = StoredPolicy::of_row(&String::from_utf8_lossy(&text));
            if let Some(new) = stored.with_ids(&directory.principal_names())? {
                engine.rewrite_document(&bucket.name, DocumentKind::Policy, new.to_row()).await?;
            }
        }
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(directory.name_principals_by_id().await?)
}

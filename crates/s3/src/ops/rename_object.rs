//! `RenameObject`.

use super::Handled;
use crate::authorize::{Need, ReadFrom, decide_on_renamed};
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::headers::values;
use crate::object_headers::{is_for_new, parse_write_date};
use crate::request::S3Request;
use crate::response::empty;
use crate::uri::decode_path;
use drystone_base::ObjectKey;
use drystone_engine::plan::{RenameRequest, SideConditions};
use drystone_engine::{Encryption, EngineError};

pub(crate) const SOURCE: &str = "x-amz-rename-source";
const TOKEN: &str = "x-amz-client-token";
/// Characters of a token at most.
/// How often the key of an encrypted object is sealed again before its client is told to try again.
const RESEAL_COUNT: usize = 3;

/// The key that a renaming is of.
///
/// # Errors
///
/// `InvalidArgument` for what is no key.
pub(crate) fn source_of(request: &S3Request) -> Result<String, S3Error> {
    let text = request.header_or_query(SOURCE).unwrap_or_default();
    let bad = || {
        let message = "The rename source must be the URL-encoded key of an object of the bucket";
        S3Error::argument(SOURCE, text, message)
    };
    decode_path(text).filter(|key| !key.is_empty()).ok_or_else(bad)
}

fn conditions(request: &S3Request, prefix: &str) -> Result<SideConditions, S3Error> {
    let tags = |name: &str| request.read(&format!("{prefix}{name}"), values::entity_tags);
    let date = |name: &str| {
        let time = parse_write_date(request, &format!("{prefix}{name}"))?;
        Ok::<_, S3Error>(time.map(|time| time.0))
    };
    Ok(SideConditions {
        if_match: tags("if-match")?,
        if_none_match: tags("if-none-match")?,
        if_modified_since_ms: date("if-modified-since")?,
        if_unmodified_since_ms: date("if-unmodified-since")?,
    })
}

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let (name, target) = (request.bucket_name()?, request.object_key()?);
    let source = source_of(request)?;
    let source = ObjectKey::new(&source)?;
    if source.as_bytes() == target.as_bytes() {
        let message = "An object cannot be renamed to the name that it has";
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    // Of the target, only `*` is defined, as for the other writes.
    is_for_new(request)?;
    let token = request.read(TOKEN, values::token)?;
    let rename = RenameRequest {
        source: source.as_bytes().to_vec(),
        target: target.as_bytes().to_vec(),
        source_conditions: conditions(request, "x-amz-rename-source-")?,
        target_conditions: conditions(request, "")?,
        token,
        resealed: None,
    };
    let need_of = |action, key: &str| Need {
        key: Some(key.to_owned()),
        point: request.point.clone(),
        ..Need::on(action, Some(name.as_str()))
    };
    let read = ReadFrom { need: need_of("s3:GetObject", source.as_str()), version: None };
    decide_on_renamed(context, read, need_of("s3:PutObjectAcl", target.as_str()))?;
    for _ in 0..RESEAL_COUNT {
        let encryption = resealed(context, name.as_str(), &rename).await?;
        match context.engine.rename(name.as_str(), rename.clone(), encryption).await {
            // It was written meanwhile.
            Err(EngineError::Conflict) => {}
            // An If-Match of the target may lack its object, too.
            Err(error @ EngineError::ObjectNotFound { .. }) => {
                let found = context.engine.locate(name.as_str(), source.as_bytes(), None);
                let is_source = matches!(found, Err(EngineError::ObjectNotFound { .. }));
                return Err(if is_source { no_source(&source) } else { error.into() });
            }
            outcome => return Ok(outcome.map(|()| empty(200))?),
        }
    }
    Err(EngineError::Conflict.into())
}

fn no_source(source: &ObjectKey) -> S3Error {
    S3Error::new(S3Code::NoSuchKey).field("Key", source.as_str())
}

/// The encryption of the source, if it is encrypted, and the one that the target gets.
async fn resealed(
    context: &Context<'_>,
    bucket: &str,
    rename: &RenameRequest,
) -> Result<Option<(Encryption, Encryption)>, S3Error> {
    let located = match context.engine.locate(bucket, &rename.source, None) {
        Ok(located) => located,
        // The same request may have been carried out before.
        Err(EngineError::ObjectNotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(old) = &located.row.encryption else { return Ok(None) };
    let keys = (&rename.source[..], &rename.target[..]);
    let new = encryption::of_rename(context, &located.bucket, keys, old).await?;
    Ok(Some((old.clone(), new)))
}

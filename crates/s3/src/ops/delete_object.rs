//! `DeleteObject`.

use super::{Handled, version_of};
use crate::gateway::Context;
use crate::mfa;
use crate::object_headers::parse_delete_conditions;
use crate::response::{empty, set};

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let version = version_of(context)?;
    let mut conditions = parse_delete_conditions(request)?;
    if version.is_some() {
        let bucket = context.engine.find_bucket(name.as_str())?;
        conditions.has_mfa = mfa::check(context, &bucket).await?;
    }
    let object = key.as_bytes().to_vec();
    let outcome = context.engine.delete_object(name.as_str(), object, version, conditions).await?;
    let mut reply = empty(204);
    if outcome.is_marker {
        set(&mut reply, "x-amz-delete-marker", "true");
    }
    if let Some(version) = &outcome.version {
        set(&mut reply, "x-amz-version-id", version);
    }
    Ok(reply)
}

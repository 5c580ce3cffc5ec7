//! `DeleteBucket`.

use super::Handled;
use crate::authorize::account_of;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::empty;

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    // Those of other accounts hold no bucket: its owner could not remove them.
    let bucket = context.engine.find_bucket(name.as_str())?;
    let attached = context.directory.has_access_points(account_of(&bucket), name.as_str());
    let attached = attached.map_err(|error| {
        tracing::error!(%error, "access points cannot be read");
        S3Error::new(S3Code::InternalError)
    })?;
    if attached {
        return Err(S3Code::BucketHasAccessPointsAttached.into());
    }
    context.engine.delete_bucket(name.as_str()).await?;
    Ok(empty(204))
}

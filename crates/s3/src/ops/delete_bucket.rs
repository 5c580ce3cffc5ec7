//! `DeleteBucket`.

use super::Handled;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::empty;

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    let attached = context.directory.has_access_points(name.as_str()).map_err(|error| {
        tracing::error!(%error, "access points cannot be read");
        S3Error::new(S3Code::InternalError)
    })?;
    if attached {
        return Err(S3Code::BucketHasAccessPointsAttached.into());
    }
    context.engine.delete_bucket(name.as_str()).await?;
    Ok(empty(204))
}

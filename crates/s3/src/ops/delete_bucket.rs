//! `DeleteBucket`.

use super::Handled;
use crate::authorize::{account_of, check_also};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::empty;

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    let bucket = name.as_str().to_owned();
    check_also(context, move |context| refuse_attached(context, &bucket))?;
    context.engine.delete_bucket(name.as_str()).await?;
    Ok(empty(204))
}

/// Refuses a bucket that has access points.
fn refuse_attached(context: &Context<'_>, bucket: &str) -> Result<(), S3Error> {
    // Those of other accounts hold no bucket: its owner could not remove them.
    let row = context.engine.find_bucket(bucket)?;
    let attached = context.directory.has_access_points(account_of(&row), bucket);
    let attached = attached.map_err(|error| {
        tracing::error!(%error, "access points cannot be read");
        S3Error::new(S3Code::InternalError)
    })?;
    if attached { Err(S3Code::BucketHasAccessPointsAttached.into()) } else { Ok(()) }
}

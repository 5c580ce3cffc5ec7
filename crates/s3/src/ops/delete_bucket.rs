//! `DeleteBucket`.

use super::Handled;
use crate::gateway::Context;
use crate::object_headers::refuse_not_implemented;
use crate::response::empty;

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    refuse_not_implemented(&context.request)?;
    let name = context.request.bucket_name()?;
    context.engine.delete_bucket(name.as_str()).await?;
    Ok(empty(204))
}

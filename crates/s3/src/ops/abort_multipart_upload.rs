//! `AbortMultipartUpload`.

use super::Handled;
use super::upload_part::upload_of;
use crate::gateway::Context;
use crate::response::empty;

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let upload = upload_of(context)?;
    context.engine.abort_upload(name.as_str(), key.as_bytes().to_vec(), upload).await?;
    Ok(empty(204))
}

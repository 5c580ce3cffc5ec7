//! `HeadBucket`.

use super::Handled;
use crate::gateway::Context;
use crate::response::{empty, set};

pub(crate) fn run(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    let region = &context.config.region;
    if let Err(error) = context.engine.find_bucket(name.as_str()) {
        let error = crate::error::S3Error::from(error);
        return Err(error.header("x-amz-bucket-region", region.clone()));
    }
    let mut reply = empty(200);
    set(&mut reply, "x-amz-bucket-region", region);
    set(&mut reply, "x-amz-bucket-arn", &format!("arn:aws:s3:::{name}"));
    let is_alias = context.request.point.is_some().to_string();
    set(&mut reply, "x-amz-access-point-alias", &is_alias);
    set(&mut reply, "content-type", "application/xml");
    Ok(reply)
}

//! Reading the documents of a bucket that cannot be set yet: what S3 answers when they are unset.
//!
//! Setting them answers 501, so these answers are true.

use super::Handled;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;

pub(crate) fn get(context: &Context<'_>, operation: Operation) -> Handled {
    use Operation as O;
    let name = context.request.bucket_name()?;
    context.engine.find_bucket(name.as_str())?;
    let unset = |code: S3Code| Err(S3Error::new(code).field("BucketName", name.as_str()));
    match operation {
        O::GetBucketEncryption => unset(S3Code::ServerSideEncryptionConfigurationNotFoundError),
        other => Err(S3Error::not_implemented(other.name())),
    }
}

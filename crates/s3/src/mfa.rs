//! `x-amz-mfa`: a second factor, for what removes versions where a bucket asks for one.

use crate::authorize::{account_of, authorize_again};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use drystone_engine::BucketRow;
use drystone_identity::{CodeOf, IdentityError};

/// Uses up the code of a request, if it has one: whether it counts. A request has one code for everything
/// that it does. Wrong ones are counted and then stop right ones, so that this is asked only for those who
/// may do it.
///
/// # Errors
///
/// `AccessDenied` for a code that does not count; as [`authorize_again`].
pub(crate) async fn check(context: &Context<'_>, bucket: &BucketRow) -> Result<bool, S3Error> {
    let Some(header) = context.request.header("x-amz-mfa") else { return Ok(false) };
    let account = account_of(bucket);
    // Wrong codes of a key or a session that is less than the owner must not stop the owner's right ones.
    let is_whole = context.sender.identity.as_ref().is_some_and(|it| it.may_make_keys());
    let by = match is_whole && context.sender.is_owner_of(account) {
        true => CodeOf::Owner,
        false => CodeOf::Other,
    };
    match context.directory.check_mfa(account, header, by).await {
        // It was waited for: the request is decided on again.
        Ok(()) => authorize_again(context).map(|()| true),
        Err(IdentityError::Forbidden(message)) => Err(S3Error::with(S3Code::AccessDenied, message)),
        Err(error) => {
            if let Some(message) = error.takes_no_changes() {
                return Err(S3Error::with(S3Code::ServiceUnavailable, message));
            }
            tracing::error!(%error, "an MFA device cannot be asked");
            Err(S3Code::InternalError.into())
        }
    }
}

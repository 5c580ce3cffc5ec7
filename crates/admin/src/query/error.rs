//! Errors in the words of IAM and STS ("Common errors" of both references).

use super::{IAM_NAMESPACE, refuse};
use crate::door::Denied;
use crate::{AdminResponse, DRIVE_FULL};
use drystone_identity::IdentityError;

/// An error in the words of IAM.
#[derive(Clone, Debug)]
pub(crate) struct QueryError {
    pub(super) code: &'static str,
    pub(super) status: u16,
    pub(super) message: String,
}

impl QueryError {
    pub(crate) fn new(code: &'static str, status: u16, message: impl Into<String>) -> Self {
        Self { code, status, message: message.into() }
    }
    /// The caller may not.
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new("AccessDenied", 403, message)
    }
    /// What the caller has has ended.
    pub(super) fn expired_token(message: impl Into<String>) -> Self {
        Self::new("ExpiredTokenException", 400, message)
    }
    /// The server cannot, before any effect.
    pub(super) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new("NotImplemented", 501, message)
    }
    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", 400, message)
    }
}

impl From<Denied> for QueryError {
    fn from(denied: Denied) -> Self {
        Self::denied(denied.message)
    }
}

impl From<IdentityError> for QueryError {
    fn from(error: IdentityError) -> Self {
        if let Some(message) = error.takes_no_changes() {
            return Self::new("ServiceUnavailable", 503, message);
        }
        let message = error.to_string();
        match error {
            _ if error.is_full() => Self::new("ServiceFailure", 507, DRIVE_FULL),
            IdentityError::NotFound { .. } => Self::new("NoSuchEntity", 404, message),
            IdentityError::Exists { .. } => Self::new("EntityAlreadyExists", 409, message),
            IdentityError::BuiltIn(_) => Self::new("EntityAlreadyExists", 409, message),
            IdentityError::InUse(_) => Self::new("DeleteConflict", 409, message),
            IdentityError::Limit(_) => Self::new("LimitExceeded", 409, message),
            IdentityError::Invalid { .. } => Self::validation(message),
            IdentityError::Policy(_) => Self::new("MalformedPolicyDocument", 400, message),
            IdentityError::NoRoom => Self::new("ServiceUnavailable", 503, message),
            IdentityError::Changed => Self::new("ConcurrentModification", 409, message),
            IdentityError::Forbidden(_) => Self::denied(message),
            IdentityError::Keyring(_)
            | IdentityError::Damaged { .. }
            | IdentityError::Catalog(_) => {
                tracing::error!(%error, "the administration failed");
                Self::new("ServiceFailure", 500, "The request could not be carried out.")
            }
        }
    }
}

/// A refusal that was made before the call was looked at.
pub(crate) fn refuse_early(code: &str, status: u16, message: &str, id: &str) -> AdminResponse {
    // IAM's names for what S3 calls otherwise.
    let (code, status) = match code {
        "InvalidAccessKeyId" | "InvalidToken" => ("InvalidClientTokenId", 403),
        "ExpiredToken" => ("ExpiredToken", 403),
        "AuthorizationHeaderMalformed" | "InvalidArgument" => ("IncompleteSignature", 400),
        "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => ("SignatureDoesNotMatch", 403),
        "AccessDenied" => ("AccessDenied", 403),
        "InternalError" => ("ServiceFailure", 500),
        _ => ("ValidationError", status),
    };
    refuse(IAM_NAMESPACE, &QueryError::new(code, status, message), id)
}

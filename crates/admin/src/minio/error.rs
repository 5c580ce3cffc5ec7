//! Errors in the words of MinIO's admin API.

use crate::door::Denied;
use crate::{AdminResponse, DRIVE_FULL, cut, respond};
use drystone_identity::IdentityError;
use http::StatusCode;

/// An error of the admin API.
#[derive(Clone, Debug)]
pub(crate) struct MinioError {
    pub(super) code: String,
    status: u16,
    message: String,
}

impl MinioError {
    pub(super) fn new(code: &str, status: u16, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), status, message: message.into() }
    }
    /// A parameter or a body that is not right.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("XMinioAdminInvalidArgument", 400, message)
    }
    /// A body that cannot be read.
    pub(super) fn body() -> Self {
        Self::new(
            "XMinioAdminConfigBadJSON",
            400,
            "The body cannot be decrypted or is not valid JSON.",
        )
    }
    /// Attaching what is attached.
    pub(super) fn unchanged() -> Self {
        let message = "The specified policy change is already in effect.";
        Self::new("XMinioAdminPolicyChangeAlreadyApplied", 400, message)
    }
    /// What this server does not have.
    pub(super) fn not_supported(path: &str) -> Self {
        let message = format!("This server does not support {path}.");
        Self::new("XMinioAdminVersionMismatch", 426, message)
    }
    /// The caller may not.
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new("AccessDenied", 403, message)
    }
    /// The server failed.
    pub(super) fn failed() -> Self {
        Self::new("InternalError", 500, "The request could not be carried out.")
    }

    /// There is no memory for the answer at present.
    pub(super) fn busy() -> Self {
        Self::new("SlowDown", 503, "Reduce your request rate.")
    }

    /// A full drive has no room for the change.
    pub(super) fn full() -> Self {
        Self { status: 507, message: DRIVE_FULL.to_owned(), ..Self::failed() }
    }

    /// The store takes no changes at present.
    pub(super) fn unavailable(message: String) -> Self {
        Self::new("ServiceUnavailable", 503, message)
    }

    pub(crate) fn render(&self, path: &str, request_id: &str) -> AdminResponse {
        let body = serde_json::json!({
            "Code": self.code,
            "Message": cut(&self.message),
            "Resource": cut(path),
            "RequestId": request_id,
            "HostId": "",
        });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        respond(status, "application/json", body.to_string())
    }
}

impl From<Denied> for MinioError {
    fn from(denied: Denied) -> Self {
        Self::denied(denied.message)
    }
}

impl From<IdentityError> for MinioError {
    fn from(error: IdentityError) -> Self {
        if let Some(message) = error.takes_no_changes() {
            return Self::unavailable(message);
        }
        let message = error.to_string();
        match error {
            _ if error.is_full() => Self::full(),
            IdentityError::NotFound { kind, .. } => {
                let code = match kind {
                    "user" => "XMinioAdminNoSuchUser",
                    "group" => "XMinioAdminNoSuchGroup",
                    "policy" => "XMinioAdminNoSuchPolicy",
                    _ => "XMinioAdminNoSuchAccessKey",
                };
                Self::new(code, 404, message)
            }
            IdentityError::InUse(_) if message.contains("users from group") => {
                Self::new("XMinioAdminGroupNotEmpty", 400, message)
            }
            IdentityError::InUse(_) => Self::new("XMinioAdminPolicyInUse", 400, message),
            IdentityError::Policy(_) => Self::new("XMinioMalformedIAMPolicy", 400, message),
            IdentityError::Exists { .. }
            | IdentityError::BuiltIn(_)
            | IdentityError::Limit(_)
            | IdentityError::Invalid { .. } => Self::invalid(message),
            IdentityError::NoRoom | IdentityError::Changed => Self::busy(),
            IdentityError::Forbidden(_) => Self::denied(message),
            IdentityError::Keyring(_)
            | IdentityError::Damaged { .. }
            | IdentityError::Catalog(_) => {
                tracing::error!(%error, "the administration failed");
                Self::failed()
            }
        }
    }
}

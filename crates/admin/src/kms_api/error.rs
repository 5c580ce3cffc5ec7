//! Errors in the words of AWS KMS.

use super::KIND;
use crate::door::Denied;
use crate::{AdminResponse, cut, respond};
use http::StatusCode;
use serde_json::json;

/// Why a call was refused.
#[derive(Clone, Debug)]
pub(super) enum ApiError {
    /// What it was decided on changed: it is decided again.
    Changed,
    /// An error with a code.
    Coded { code: &'static str, message: String },
}

impl ApiError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self::Coded { code, message: message.into() }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    pub(super) fn respond(&self) -> AdminResponse {
        let (code, message) = match self {
            Self::Changed => {
                let message = "What the request was decided on changed; it may be sent again.";
                ("ThrottlingException", message)
            }
            Self::Coded { code, message } => (*code, &**message),
        };
        let status = match code {
            "KMSInternalException" => StatusCode::INTERNAL_SERVER_ERROR,
            "DependencyTimeoutException" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        refusal(status, code, message)
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::new("AccessDeniedException", denied.message)
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> AdminResponse {
    let body = json!({ "__type": code, "message": cut(message) }).to_string();
    respond(status, KIND, body)
}

/// A refusal that was made before the call was looked at.
pub(crate) fn refuse_early(code: &str, status: u16, message: &str) -> AdminResponse {
    // Names of KMS for what S3 calls otherwise.
    let (code, status) = match code {
        "InvalidAccessKeyId" | "InvalidToken" => ("UnrecognizedClientException", 400),
        "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => ("InvalidSignatureException", 400),
        "AccessDenied" => ("AccessDeniedException", 400),
        "ExpiredToken" => ("ExpiredTokenException", 400),
        "EntityTooLarge" => ("RequestEntityTooLargeException", 413),
        "SlowDown" => ("ThrottlingException", 400),
        code if status >= 500 => (code, status),
        code => (code, 400),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    refusal(status, code, message)
}

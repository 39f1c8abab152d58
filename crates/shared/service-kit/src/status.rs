//! gRPC errors that name the field, the value and what to do, with `google.rpc` details.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const DOMAIN: &str = "carillon";

/// A field of the request is wrong. `description` says what was given, the rule, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {description}")]
pub struct FieldError {
    pub field: String,
    pub description: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

impl From<FieldError> for Status {
    fn from(error: FieldError) -> Self {
        invalid(error.field, error.description)
    }
}

pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Status {
    let (field, description) = (field.into(), description.into());
    let message = format!("{field}: {description}");
    let details = ErrorDetails::with_bad_request_violation(field, description);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// Every wrong field at once.
pub fn invalid_fields(errors: Vec<FieldError>) -> Status {
    let message: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let mut details = ErrorDetails::new();
    for error in errors {
        details.add_bad_request_violation(error.field, error.description);
    }
    Status::with_error_details(Code::InvalidArgument, message.join("\n"), details)
}

/// The request is right but the state of things refuses it. `reason` is a stable UPPER_SNAKE code.
pub fn refused(reason: &str, message: impl Into<String>) -> Status {
    with_reason(Code::FailedPrecondition, reason, message)
}

pub fn not_found(message: impl Into<String>) -> Status {
    with_reason(Code::NotFound, "NOT_FOUND", message)
}

pub fn already_exists(reason: &str, message: impl Into<String>) -> Status {
    with_reason(Code::AlreadyExists, reason, message)
}

pub fn unauthenticated(reason: &str, message: impl Into<String>) -> Status {
    with_reason(Code::Unauthenticated, reason, message)
}

pub fn permission_denied(reason: &str, message: impl Into<String>) -> Status {
    with_reason(Code::PermissionDenied, reason, message)
}

/// Something to try again after a while.
pub fn unavailable(message: impl Into<String>, retry: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(retry));
    Status::with_error_details(Code::Unavailable, message, details)
}

/// An error of ours: logged here, once, and answered without its inside.
pub fn internal(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "request failed");
    Status::internal("internal error: the request was not carried out; the service's log says why")
}

fn with_reason(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, [] as [(String, String); 0]);
    Status::with_error_details(code, message, details)
}

//! gRPC errors that name the field, the value and what to do, with `google.rpc` details.

use std::{error::Error, time::Duration};

use sea_orm::DbErr;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::database::{is_full, is_transient};

const DOMAIN: &str = "carillon";
/// After which a database may be there again.
const RETRY: Duration = Duration::from_secs(1);

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

/// An error of ours: logged here, once, and answered without its inside. What a database that is out
/// of reach for a while caused is the caller's to try again.
pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Status {
    let error = error.into();
    tracing::error!(%error, "request failed");
    let of_database = error.downcast_ref::<DbErr>();
    if of_database.is_some_and(is_full) {
        return unavailable(
            "the database's disk is full, so the request was not carried out; make room there, and \
             send it again",
            RETRY,
        );
    }
    if of_database.is_some_and(is_transient) {
        return unavailable(
            "the database did not answer, so it is not known whether the request was carried out; \
             send it again",
            RETRY,
        );
    }
    Status::internal("internal error: the request was not carried out; the service's log says why")
}

fn with_reason(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, [] as [(String, String); 0]);
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use sea_orm::RuntimeErr;

    use super::*;

    #[test]
    fn a_database_that_does_not_answer_is_the_callers_to_try_again() {
        let away = DbErr::Conn(RuntimeErr::Internal("connection reset".into()));
        let told = internal(away);
        assert_eq!(told.code(), Code::Unavailable);
        assert!(told.get_details_retry_info().is_some());
        assert!(!told.message().contains("reset"), "{told}");
        let full = DbErr::Exec(RuntimeErr::Internal("database or disk is full".into()));
        let told = internal(full);
        assert_eq!(told.code(), Code::Unavailable);
        assert!(told.message().starts_with("the database's disk is full"), "{told}");
        assert_eq!(internal(DbErr::Type("damaged".into())).code(), Code::Internal);
        assert_eq!(internal("a fault of ours").code(), Code::Internal);
    }
}

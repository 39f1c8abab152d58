//! What is wrong with us.

use std::time::Duration;

use carillon_contracts::ids::OrganisationId;
use carillon_sealing::SealError;
use carillon_service_kit::status::{internal, not_found, unavailable};
use sea_orm::DbErr;
use tonic::Status;

const RETRY: Duration = Duration::from_secs(1);

/// What goes wrong inside the service; nothing that a caller did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error("personal data: {0}")]
    Sealing(#[from] SealError),
    #[error("a stored value cannot be read: {0}")]
    Stored(String),
    /// Others changed the same customers each time they were about to be written.
    #[error("too many write the same customers at once")]
    Contended,
    #[error("organisation {0} is not known here")]
    OrganisationUnknown(OrganisationId),
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Contended => unavailable(
                "customers: others write the same ones at the same time; send the request again",
                RETRY,
            ),
            Failure::OrganisationUnknown(id) => {
                not_found(format!("organisation_id: there is no organisation {id}; check the id"))
            }
            Failure::Database(error) => internal(error),
            failure => internal(failure),
        }
    }
}

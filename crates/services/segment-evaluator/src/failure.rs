use carillon_sealing::SealError;
use carillon_service_kit::status::internal;
use sea_orm::DbErr;
use tonic::Status;

/// What goes wrong inside the service; nothing that a caller did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error("personal data: {0}")]
    Sealing(#[from] SealError),
    #[error("a stored value cannot be read: {0}")]
    Stored(String),
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        internal(failure)
    }
}

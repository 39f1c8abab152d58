//! Repeatable calls (AIP-155): the same id with the same body answers the same.

use carillon_service_kit::{request_id, status::already_exists};
use sha2::{Digest as _, Sha256};
use tonic::Status;

/// An id that the caller chose, and what it was sent with.
pub(crate) struct Request {
    pub id: String,
    pub body_hash: [u8; 32],
}

impl Request {
    /// `None` where no id was given: the call is not repeatable.
    pub(crate) fn new(id: String, body: &impl prost::Message) -> Result<Option<Self>, Status> {
        request_id::check(&id)?;
        let body_hash = Sha256::digest(body.encode_to_vec()).into();
        Ok((!id.is_empty()).then_some(Self { id, body_hash }))
    }

    /// Whether a repeated call has the body of the first.
    pub(crate) fn check_same(&self, first: &[u8], made: &str) -> Result<(), Status> {
        if first == self.body_hash {
            return Ok(());
        }
        let id = &self.id;
        Err(already_exists(
            "REQUEST_ID_REUSED",
            format!(
                "request_id: '{id}' already made {made} from another body; use another request_id \
                 for another one"
            ),
        ))
    }
}

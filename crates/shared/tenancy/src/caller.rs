use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::{
    database::Sql as _,
    status::{internal, permission_denied, unauthenticated},
};
use sha2::{Digest as _, Sha256};
use tonic::{Status, metadata::MetadataMap};
use uuid::Uuid;

use crate::Tenancy;

/// How the platform's keys begin. They create organisations and do nothing inside one.
pub const PLATFORM_PREFIX: &str = "crl_platform_";

/// An API key, by what people tell it apart from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// None for the platform's, and where the service has heard only of the key's hash.
    pub id: Option<Uuid>,
    /// Its first characters.
    pub prefix: String,
    /// What is started with it reaches no gateway.
    pub test: bool,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub organisation: OrganisationId,
    pub key: Key,
}

/// Keys are kept as SHA-256 only: they are random and long, so a slow hash adds nothing.
pub fn hash_key(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

impl Tenancy {
    /// Whose key the request carries as `authorization: Bearer KEY`, and which.
    pub async fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let key = Self::bearer(metadata)?;
        let sql = "SELECT organisation_id, key_id, prefix, test FROM tenant_keys WHERE hash = $1";
        let found = self.database.reader().row(sql, [hash_key(key).to_vec().into()]).await;
        match found.map_err(internal)? {
            Some(row) => Ok(Caller {
                organisation: OrganisationId::new(row.try_get_by_index(0).map_err(internal)?),
                key: Key {
                    id: row.try_get_by_index(1).map_err(internal)?,
                    prefix: row.try_get_by_index(2).map_err(internal)?,
                    test: row.try_get_by_index(3).map_err(internal)?,
                },
            }),
            None if key.starts_with(PLATFORM_PREFIX) => Err(permission_denied(
                "PLATFORM_KEY",
                "api-key: this is a key of the platform, which creates organisations and does \
                 nothing inside one; use the key that `carillon org create` printed",
            )),
            None => Err(unauthenticated(
                "KEY_UNKNOWN",
                "api-key: unknown or revoked; set --api-key or CARILLON_API_KEY to a key that \
                 `carillon org create` printed",
            )),
        }
    }

    /// The key of the request, whoever it belongs to.
    pub fn bearer(metadata: &MetadataMap) -> Result<&str, Status> {
        let given = metadata.get("authorization").and_then(|value| value.to_str().ok());
        given.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim).ok_or_else(|| {
            unauthenticated(
                "KEY_MISSING",
                "api-key: missing; set --api-key or CARILLON_API_KEY (the header is \
                 `authorization: Bearer KEY`)",
            )
        })
    }
}

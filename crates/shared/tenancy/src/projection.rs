use async_trait::async_trait;
use carillon_contracts::{
    campaign::v1::Organisation,
    events::v1::{Event, OrganisationChanged, event::Body},
    ids::OrganisationId,
};
use carillon_outbox::{Handler, HandlerError};
use carillon_service_kit::{Database, database::Sql};
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

/// The organisations and keys that this service has heard of.
#[derive(Clone)]
pub struct Tenancy {
    pub(crate) database: Database,
}

impl Tenancy {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    pub async fn organisation(&self, id: OrganisationId) -> Result<Option<Organisation>, DbErr> {
        Ok(self.document(id).await?.and_then(|document| document.organisation))
    }

    /// The newest document heard of, with its version and its sealed secrets.
    pub async fn document(&self, id: OrganisationId) -> Result<Option<OrganisationChanged>, DbErr> {
        document(self.database.reader(), id).await
    }

    /// As it stands within a transaction. Whoever has one open asks here: with another connection
    /// of the same pool, as many as there are would wait for one more.
    pub async fn organisation_within(
        tx: &DatabaseTransaction,
        id: OrganisationId,
    ) -> Result<Option<Organisation>, DbErr> {
        Ok(document(tx, id).await?.and_then(|document| document.organisation))
    }

    /// Keeps a document if it is newer than the one known.
    pub async fn apply(
        &self,
        tx: &DatabaseTransaction,
        id: OrganisationId,
        document: &OrganisationChanged,
    ) -> Result<(), DbErr> {
        let newer = tx
            .run(
                KEEP_NEWEST,
                [
                    id.uuid().into(),
                    document.version.cast_signed().into(),
                    document.encode_to_vec().into(),
                ],
            )
            .await?;
        if newer.rows_affected() == 0 {
            return Ok(());
        }
        tx.run("DELETE FROM tenant_keys WHERE organisation_id = $1", [id.uuid().into()]).await?;
        for key in &document.keys {
            tx.run(
                "INSERT INTO tenant_keys (hash, organisation_id, key_id, prefix, test)
                 VALUES ($1, $2, $3, $4, $5)",
                [
                    key.hash.to_vec().into(),
                    id.uuid().into(),
                    Uuid::from_slice(&key.id).ok().into(),
                    key.prefix.as_str().into(),
                    key.test.into(),
                ],
            )
            .await?;
        }
        Ok(())
    }
}

async fn document(
    connection: &impl Sql,
    id: OrganisationId,
) -> Result<Option<OrganisationChanged>, DbErr> {
    let sql = "SELECT document FROM tenants WHERE organisation_id = $1";
    let Some(row) = connection.row(sql, [id.uuid().into()]).await? else { return Ok(None) };
    let document: Vec<u8> = row.try_get_by_index(0)?;
    OrganisationChanged::decode(document.as_slice())
        .map(Some)
        .map_err(|error| DbErr::Custom(error.to_string()))
}

#[async_trait]
impl Handler for Tenancy {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let Some(Body::OrganisationChanged(document)) = &event.body else {
            return Err(HandlerError::Event("organisation.changed without its document".into()));
        };
        let id = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| HandlerError::Event(error.to_string()))?;
        Ok(self.apply(tx, id, document).await?)
    }
}

const KEEP_NEWEST: &str = "
INSERT INTO tenants (organisation_id, version, document) VALUES ($1, $2, $3)
ON CONFLICT (organisation_id) DO UPDATE SET
    version = excluded.version, document = excluded.document
WHERE tenants.version < excluded.version";

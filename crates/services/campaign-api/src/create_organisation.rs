//! Create an organisation, with its first API key.

use carillon_audit::{Change, PLATFORM, acts};
use carillon_contracts::{
    campaign::v1::{CreateOrganisationRequest, CreateOrganisationResponse},
    events::v1::{OrganisationChanged, event::Body},
    ids::OrganisationId,
    time,
};
use carillon_service_kit::status::{
    internal, invalid, invalid_fields, permission_denied, unauthenticated,
};
use carillon_tenancy::{Caller, Key, PLATFORM_PREFIX, Tenancy, hash_key};
use sea_orm::{DatabaseTransaction, DbErr};
use tonic::{Status, metadata::MetadataMap};

use crate::{
    CampaignApi,
    domain::{audited, organisation},
    keys::NewKey,
    request::Request,
    store::{self, OrganisationRow},
};

/// Characters of the platform's key, after those that all begin with, by which it is told apart.
const SHOWN: usize = 4;
const FIRST_KEY: &str = "first";

impl CampaignApi {
    /// Only the platform does `what`; its deeds stand in a log of its own.
    pub(crate) async fn platform_caller(
        &self,
        metadata: &MetadataMap,
        what: &str,
    ) -> Result<Caller, Status> {
        let key = Tenancy::bearer(metadata)?;
        if same(&hash_key(key), &self.platform_key) {
            let prefix = key.chars().take(PLATFORM_PREFIX.len() + SHOWN).collect();
            return Ok(Caller {
                organisation: PLATFORM,
                key: Key { id: None, prefix, test: false },
            });
        }
        if key.starts_with(PLATFORM_PREFIX) {
            return Err(unauthenticated(
                "KEY_UNKNOWN",
                "api-key: this is not the platform's key; set --api-key or CARILLON_API_KEY to \
                 the key that the server was started with",
            ));
        }
        self.tenancy.caller(metadata).await?;
        Err(permission_denied(
            "PLATFORM_KEY_NEEDED",
            format!(
                "api-key: this is an organisation's key, and only the platform's {what}; set \
                 --api-key or CARILLON_API_KEY to that"
            ),
        ))
    }

    pub(crate) async fn create_organisation(
        &self,
        caller: &Caller,
        request: CreateOrganisationRequest,
    ) -> Result<CreateOrganisationResponse, Status> {
        let CreateOrganisationRequest { organisation, request_id } = request;
        let given = organisation.map(organisation::settings).ok_or_else(|| {
            invalid("organisation", "is missing; give at least its name and time_zone")
        })?;
        let request = Request::new(request_id, &given)?;
        let settings = organisation::checked(given).map_err(invalid_fields)?;
        let tx = self.database.begin().await.map_err(internal)?;
        if let Some(known) = self.repeated(&tx, request.as_ref()).await? {
            drop(tx);
            return self.known_before(known).await;
        }
        let now = self.clock.now();
        let id = OrganisationId::random();
        let mut row = OrganisationRow { id, organisation: settings, version: 1, told: None };
        row.organisation.id = id.to_string();
        row.organisation.create_time = Some(time::to_wire(now));
        let key = NewKey::make(FIRST_KEY, false, now.as_millisecond())?;
        let stored = store::insert_organisation(&tx, &row, request.as_ref(), now.as_millisecond());
        if !stored.await.map_err(internal)? {
            // Another replica carried the same request out, between the look and the write.
            let known = self.repeated(&tx, request.as_ref()).await?;
            drop(tx);
            return self.known_before(known.ok_or_else(|| internal("a lost request"))?).await;
        }
        let stored = async {
            key.insert(&tx, id).await?;
            let told = self.tell_changed(&tx, &row).await?;
            let change = Change::to(audited::settings(&row.organisation));
            // In the platform's log and in the organisation's own, which begins with it.
            for (organisation, subject) in
                [(PLATFORM, format!("organisations/{id}")), (id, "organisation".to_owned())]
            {
                let by = Caller { organisation, ..caller.clone() };
                self.record(&tx, &by, acts::ORGANISATION_CREATED, subject, change.clone()).await?;
            }
            tx.commit().await?;
            Ok::<i64, DbErr>(told)
        };
        let told = stored.await.map_err(internal)?;
        let in_effect = self.in_effect(Some(told)).await;
        let (organisation, api_key) = (Some(row.organisation), key.api_key);
        Ok(CreateOrganisationResponse { organisation, api_key, in_effect })
    }

    /// The organisation that the same request created before.
    async fn repeated(
        &self,
        tx: &DatabaseTransaction,
        request: Option<&Request>,
    ) -> Result<Option<OrganisationRow>, Status> {
        let Some(request) = request else { return Ok(None) };
        let known = store::organisation_by_request_of_platform(tx, &request.id).await;
        let Some((row, hash)) = known.map_err(internal)? else { return Ok(None) };
        request.check_same(&hash, "an organisation")?;
        Ok(Some(row))
    }

    /// Its key was shown then.
    async fn known_before(
        &self,
        known: OrganisationRow,
    ) -> Result<CreateOrganisationResponse, Status> {
        let in_effect = self.in_effect(known.told).await;
        let organisation = Some(known.organisation);
        Ok(CreateOrganisationResponse { organisation, api_key: String::new(), in_effect })
    }

    /// Tells every service of the organisation as it now stands, and this one at once. Answers
    /// the event, for `in_effect`.
    pub(crate) async fn tell_changed(
        &self,
        tx: &DatabaseTransaction,
        row: &OrganisationRow,
    ) -> Result<i64, DbErr> {
        let document = self.document(tx, row).await?;
        self.tenancy.apply(tx, row.id, &document).await?;
        let told = self.outbox.append(tx, row.id, Body::OrganisationChanged(document)).await?;
        store::set_told(tx, row.id, told).await?;
        Ok(told)
    }

    /// What every service knows of an organisation.
    pub(crate) async fn document(
        &self,
        tx: &DatabaseTransaction,
        row: &OrganisationRow,
    ) -> Result<OrganisationChanged, DbErr> {
        Ok(OrganisationChanged {
            organisation: Some(row.organisation.clone()),
            version: row.version,
            keys: store::key_hashes(tx, row.id).await?,
            secrets: store::secrets(tx, row.id).await?,
        })
    }

    /// Waits until every service has heard, after the commit; 2 s at most.
    pub(crate) async fn in_effect(&self, told: Option<i64>) -> bool {
        match told {
            Some(told) => self.outbox.in_effect([told]).await,
            None => false,
        }
    }
}

/// Compares in constant time.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_same_only_if_every_byte_is() {
        let one = [7; 32];
        let mut other = one;
        assert!(same(&one, &other));
        other[31] ^= 1;
        assert!(!same(&one, &other));
    }
}

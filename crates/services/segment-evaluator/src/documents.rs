//! Who may not be sent to now, for a dispatcher that knows of nobody: what is queued was planned
//! before some of them said so.

use async_trait::async_trait;
use carillon_contracts::{events::v1::Suppression, ids::OrganisationId};
use carillon_outbox::Documents;
use carillon_tenancy::Tenancy;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::{
    Evaluator,
    domain::{record::CHANNELS, standing::Standing},
    store,
};

/// Customers looked at in one transaction; an event tells of as many at most.
const AT_ONCE: i64 = 1_000;

pub(crate) struct Suppressions(pub Evaluator);

#[async_trait]
impl Documents for Suppressions {
    async fn append_after(
        &self,
        tx: &DatabaseTransaction,
        after: &str,
    ) -> Result<Option<String>, DbErr> {
        let rows = store::all_standings_after(tx, place(after)?, AT_ONCE).await?;
        for of_one in rows.chunk_by(|(one, ..), (other, ..)| one == other) {
            let organisation = of_one[0].0;
            self.tell(tx, organisation, of_one.iter().map(|(.., standing)| standing)).await?;
        }
        Ok(rows
            .last()
            .map(|(organisation, external_id, _)| format!("{organisation}/{external_id}")))
    }
}

impl Suppressions {
    async fn tell(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        standings: impl Iterator<Item = &Standing> + Send,
    ) -> Result<(), DbErr> {
        // Else consent that is missing bars nobody, and most customers may be without.
        let settings = Tenancy::organisation_within(tx, organisation).await?;
        let requires = settings.is_some_and(|settings| settings.require_consent);
        let all =
            standings.flat_map(|standing| CHANNELS.map(|channel| standing.suppression(channel)));
        let barred = |one: &Suppression| one.suppressed || requires && one.without_consent;
        let suppressed = all.filter(barred).collect();
        self.0.tell_suppressions(tx, organisation, suppressed).await.map(|_| ())
    }
}

/// An organisation and an external id; the first place is before all.
fn place(after: &str) -> Result<(Uuid, &str), DbErr> {
    let Some((organisation, external_id)) = after.split_once('/') else {
        return Ok((Uuid::nil(), ""));
    };
    let organisation = organisation.parse();
    let organisation =
        organisation.map_err(|error| DbErr::Type(format!("documents_after '{after}': {error}")))?;
    Ok((organisation, external_id))
}

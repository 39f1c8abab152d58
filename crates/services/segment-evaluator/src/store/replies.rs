//! Who has the number of a reply, and when each of them replied last.

use carillon_contracts::ids::OrganisationId;
use carillon_service_kit::database::{Sql as _, Text, differs};
use sea_orm::{DatabaseTransaction, DbErr};

use super::{json, standing};
use crate::domain::{decide::AddressHash, standing::Standing};

/// A customer who has the number.
pub(crate) struct Replier {
    pub external_id: String,
    pub standing: Standing,
    /// When the newest reply that was heeded came, in milliseconds since 1970; 0: none.
    pub replied_at: i64,
}

/// In the order of their external ids. Until the transaction ends nobody else changes them.
pub(crate) async fn repliers(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    phone: &AddressHash,
) -> Result<Vec<Replier>, DbErr> {
    let values = [organisation.uuid().into(), phone.to_vec().into()];
    let rows = tx.rows(REPLIERS, values).await?;
    rows.iter()
        .map(|row| {
            let (external_id, standing) = standing::read(row)?;
            Ok(Replier { external_id, standing, replied_at: row.try_get_by_index(7)? })
        })
        .collect()
}

macro_rules! repliers {
    ($found:literal) => {
        concat!(
            "SELECT external_id, id, version, consent, blacklisted, subscribe_sms,
                subscribe_email,
                COALESCE((SELECT replied_at FROM replies r
                    WHERE r.organisation_id = $1 AND r.external_id = c.external_id), 0)
             FROM customers c
             WHERE organisation_id = $1 AND phone_hash = $2 AND external_id ",
            $found,
            " ORDER BY external_id FOR UPDATE"
        )
    };
}

/// The hash's index is asked in a query of its own: the order would have the whole organisation read
/// by external id.
pub(super) const REPLIERS: Text<'static> = differs(
    repliers!(
        "IN (SELECT external_id FROM customers WHERE organisation_id = $1 AND phone_hash = $2)"
    ),
    repliers!(
        "= ANY(ARRAY(SELECT external_id FROM customers
             WHERE organisation_id = $1 AND phone_hash = $2))"
    ),
);

/// `at` is newer than what is known of any of them. One transaction at a time notes replies.
pub(crate) async fn note_replies(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    external_ids: &[&str],
    at: i64,
) -> Result<(), DbErr> {
    let values = [organisation.uuid().into(), json(&external_ids)?.into(), at.into()];
    tx.run(NOTE, values).await.map(|_| ())
}

const NOTE: Text<'static> = differs(
    "INSERT INTO replies (organisation_id, external_id, replied_at)
     SELECT $1, value, $3 FROM json_each($2) WHERE TRUE
     ON CONFLICT (organisation_id, external_id) DO UPDATE SET replied_at = excluded.replied_at",
    "INSERT INTO replies (organisation_id, external_id, replied_at)
     SELECT $1, v, $3 FROM jsonb_array_elements_text($2::jsonb) AS l(v)
     ON CONFLICT (organisation_id, external_id) DO UPDATE SET replied_at = excluded.replied_at",
);

//! An address that a second customer gets while a run is being planned. The first may have been
//! planned already, and without a claim, for nobody shared it then: it is claimed now, so that the
//! second does not get the same message. The next step of the plan sees to a first who is in it.

use std::collections::HashSet;

use carillon_contracts::ids::{BatchId, CustomerId, OrganisationId};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::store::{self, OpenRun, Owner};

/// Batches whose recipients are read at a time.
const CHUNK: usize = 64;

/// To be called in the transaction that raised the uses of addresses, after it: `raised` holds
/// `(channel, hash, difference)`.
pub(crate) async fn claim_late(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    raised: &[(i32, [u8; 32], i64)],
) -> Result<(), DbErr> {
    if !raised.iter().any(|(_, _, by)| *by > 0) {
        return Ok(());
    }
    let open = store::open_runs(tx, organisation).await?;
    if open.is_empty() {
        return Ok(());
    }
    let shared = store::newly_shared(tx, organisation, raised).await?;
    if shared.is_empty() {
        return Ok(());
    }
    store::count_late(tx, organisation).await?;
    for OpenRun { run, .. } in open {
        let Some(mut progress) = store::run_progress(tx, organisation, run).await? else {
            continue;
        };
        for (channel, hashes) in &shared {
            let owners =
                store::owners_up_to(tx, organisation, *channel, hashes, &progress.position).await?;
            let batches = *progress.batches(*channel);
            let ids = (0..batches).map(|number| BatchId::of(run, *channel, number));
            let claimed = planned(tx, organisation, &ids.collect::<Vec<_>>(), owners).await?;
            store::claim_late(tx, run, *channel, &claimed).await?;
        }
    }
    Ok(())
}

/// The addresses of those owners who are in one of the batches.
async fn planned(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    batches: &[BatchId],
    mut owners: Vec<Owner>,
) -> Result<Vec<[u8; 32]>, DbErr> {
    let mut found = Vec::new();
    for chunk in batches.chunks(CHUNK) {
        if owners.is_empty() {
            break;
        }
        let recipients: HashSet<CustomerId> = store::recipients_of(tx, organisation, chunk).await?;
        owners.retain(|owner| {
            let is_planned = recipients.contains(&owner.customer);
            if is_planned {
                found.push(owner.hash);
            }
            !is_planned
        });
    }
    Ok(found)
}

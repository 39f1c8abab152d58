//! Every statement of this service. Lists go in as one JSON parameter, binary values in it as
//! hexadecimal digits.

mod activities;
mod audience;
mod batches;
mod consent_log;
mod customers;
mod figures;
mod halts;
mod keys;
mod late;
mod listed;
mod locks;
mod migration;
mod overtaken;
mod places;
#[cfg(test)]
mod query_plans;
mod replies;
mod runs;
mod standing;
mod write;

use sea_orm::{DbErr, QueryResult};

pub(crate) use activities::{ActivityRow, add_activities, add_points, known_activities};
pub(crate) use audience::{CandidateRow, candidates, count, external_ids, matched_ids, resolve};
pub(crate) use batches::{
    BatchTotals, NewBatch, TakenBatch, content_of, forget_sent, give_back, give_back_taken_until,
    insert_batches, mark_sent, record_totals, take_unsent_of_all_organisations,
    taken_of_all_organisations, unsent_in_any_organisation,
};
pub(crate) use consent_log::{append_consents, consent_head, consent_page};
pub(crate) use customers::{
    CustomerRow, Lookup, by_card, by_external_ids, by_lookup, page, versions,
};
pub(crate) use figures::{Figure, figures_of_all_organisations};
pub(crate) use halts::{campaign_is_cancelled, keep_halt};
pub(crate) use keys::{data_key, keep_data_key};
pub(crate) use late::{
    Owner, claim_late, count_late, newly_shared, open_runs, owners_up_to, recipients_of, shared_of,
};
pub(crate) use locks::{lock_log, lock_runs, lock_runs_for_new_one};
pub use migration::Migrator;
pub(crate) use overtaken::{
    ParkedBatch, again_when_ended_of_all_organisations, give_up_parked_of_any_organisation,
    out_in_any_organisation, overtake_of_all_organisations, parked_batch_of_any_organisation,
    parked_count_of_all_organisations, parked_in_any_organisation, parked_of_all_organisations,
    progressed_of_all_organisations, unpark_of_any_organisation,
};
pub(crate) use places::{open_lanes, release_in_all_organisations, room_in_any_organisation};
pub(crate) use replies::{Replier, note_replies, repliers};
pub(crate) use runs::{
    NewRun, OpenRun, RunProgress, RunRow, add_run, claim_addresses, claimed_addresses,
    forget_addresses, open_runs_of_all_organisations, run, run_progress, save_progress, take_run,
};
pub(crate) use standing::{all_standings_after, set_standings, standings};
pub(crate) use write::{
    CustomerWrite, card_owners, replace_cards, replace_categories, use_addresses, write_customers,
};

/// A list as a parameter.
pub(crate) fn json(list: &impl serde::Serialize) -> Result<String, DbErr> {
    serde_json::to_string(list).map_err(|error| DbErr::Json(error.to_string()))
}

fn bytes<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], DbErr> {
    bytes.try_into().map_err(|_| DbErr::Type(format!("a value is not {N} bytes long")))
}

/// Every integer column is as wide as the database has it; code is narrower where it can be.
fn narrow<N: TryFrom<i64>>(row: &QueryResult, index: usize) -> Result<N, DbErr> {
    let value: i64 = row.try_get_by_index(index)?;
    N::try_from(value)
        .map_err(|_| DbErr::Type(format!("{value} in column {index} is out of range")))
}

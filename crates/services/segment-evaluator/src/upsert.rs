//! Creates and changes customers: checked and sealed before the transaction begins, written in one,
//! with few statements.

use std::collections::{BTreeSet, HashMap, HashSet};

use carillon_audit::{self as audit, Deed, acts, fields, tell};
use carillon_contracts::{
    audience::v1::{Consent, Customer},
    events::v1::Suppression,
    ids::OrganisationId,
    jobs::v1::Channel,
};
use carillon_service_kit::database::is_transient;
use carillon_tenancy::Caller;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::{
    Evaluator, consent_log,
    domain::{
        activity::{Kind, SCALE},
        apply::{Settings, apply},
        changed::changed_fields,
        check::{Given, Rules, check},
        fault::Fault,
        mask::Mask,
        record::{CHANNELS, Record, consent_word},
        standing::{Standing, suppressions},
    },
    failure::Failure,
    hex,
    plan::claim_late,
    standing::{TRIES, pause},
    store::{self, ActivityRow, CustomerWrite, json},
    vault::{Hashes, Keeper},
};

/// Who changed consents, in their log, where many customers came at once.
pub(crate) const BY_IMPORT: &str = "import";

/// What became of the rows of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub stored: u32,
    pub unchanged: u32,
    /// The row of the event that tells dispatchers of it, if it concerns them.
    pub told: Option<i64>,
    /// By position in the request.
    pub rejects: Vec<(usize, Fault)>,
}

/// Who changes what.
pub(crate) struct Upsert<'a> {
    pub caller: &'a Caller,
    pub mask: &'a Mask,
    /// For the log of consent; an import is audited as one, whatever its rows.
    pub by: &'a str,
}

/// A row to write, and what it replaces.
struct Change {
    index: usize,
    before: Option<(Record, Hashes)>,
    after: Record,
    hashes: Hashes,
    profile: Vec<u8>,
}

impl Change {
    fn version_before(&self) -> i64 {
        self.before.as_ref().map_or(0, |(before, _)| before.version)
    }

    fn points(&self) -> i64 {
        self.after.points - self.before.as_ref().map_or(0, |(before, _)| before.points)
    }

    fn consent_before(&self) -> Consent {
        self.before.as_ref().map_or(Consent::Unspecified, |(before, _)| before.consent)
    }
}

impl Evaluator {
    /// Rows with a fault are answered as rejects; the others are stored.
    pub(crate) async fn upsert(
        &self,
        upsert: &Upsert<'_>,
        rows: Vec<Customer>,
    ) -> Result<Outcome, Failure> {
        let organisation = self.organisation(upsert.caller.organisation).await?;
        let settings = Settings::of(&organisation);
        let rules = Rules::new(&organisation.default_region, self.clock.now());
        let mut rejects = Vec::new();
        let mut seen = HashSet::new();
        let mut given = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            match check(row, upsert.mask, &rules) {
                Err(fault) => rejects.push((index, fault)),
                Ok(row) if !seen.insert(row.external_id.clone()) => {
                    rejects.push((index, duplicate()));
                }
                Ok(row) => given.push((index, row)),
            }
        }
        for tries in 1..=TRIES {
            let mut outcome = Outcome { rejects: rejects.clone(), ..Outcome::default() };
            let changes = self.prepare(upsert, &given, settings, &mut outcome).await?;
            let written = match changes.is_empty() {
                true => Ok(true),
                false => self.write(upsert, changes, &mut outcome).await,
            };
            match written {
                Ok(true) => {
                    self.outbox.wake();
                    outcome.rejects.sort_by_key(|(index, _)| *index);
                    return Ok(outcome);
                }
                Err(Failure::Database(error)) if tries < TRIES && is_transient(&error) => {}
                Err(error) => return Err(error),
                Ok(false) => {}
            }
            pause(tries).await;
        }
        Err(Failure::Contended)
    }

    /// What changes, sealed. Rows that stay as they are are counted and left out.
    async fn prepare(
        &self,
        upsert: &Upsert<'_>,
        given: &[(usize, Given)],
        settings: Settings,
        outcome: &mut Outcome,
    ) -> Result<Vec<Change>, Failure> {
        let organisation = upsert.caller.organisation;
        let keeper = self.vault.keeper(organisation).await?;
        let ids: Vec<&str> = given.iter().map(|(_, row)| row.external_id.as_str()).collect();
        let rows = store::by_external_ids(self.database.reader(), organisation, &ids).await?;
        let mut stored: HashMap<String, Record> = HashMap::with_capacity(rows.len());
        for row in rows {
            let record = keeper.record(row)?;
            stored.insert(record.external_id.clone(), record);
        }
        let mut changes = Vec::new();
        for (index, given) in given {
            let before = stored.remove(&given.external_id);
            let row = given.clone();
            match apply(organisation, before.as_ref(), row, upsert.mask, settings) {
                Err(fault) => outcome.rejects.push((*index, fault)),
                Ok(after) if before.as_ref() == Some(&after) => outcome.unchanged += 1,
                Ok(after) => changes.push(self.change(&keeper, *index, before, after)?),
            }
        }
        Ok(changes)
    }

    fn change(
        &self,
        keeper: &Keeper,
        index: usize,
        before: Option<Record>,
        mut after: Record,
    ) -> Result<Change, Failure> {
        let now = self.clock.now_ms();
        if after.is_new() {
            after.created_at = now;
        }
        after.updated_at = now;
        after.version += 1;
        Ok(Change {
            index,
            hashes: keeper.hashes(&after.profile),
            profile: keeper.seal(after.id, &after.profile)?,
            before: before.map(|record| {
                let hashes = keeper.hashes(&record.profile);
                (record, hashes)
            }),
            after,
        })
    }

    /// Answers `false`, with nothing written, where somebody else changed one of the customers
    /// since they were read, or creates one, or takes a card, at the same time.
    async fn write(
        &self,
        upsert: &Upsert<'_>,
        changes: Vec<Change>,
        outcome: &mut Outcome,
    ) -> Result<bool, Failure> {
        let organisation = upsert.caller.organisation;
        let tx = self.database.begin().await?;
        let ids: Vec<&str> =
            changes.iter().map(|change| change.after.external_id.as_str()).collect();
        let versions = store::versions(&tx, organisation, &ids).await?;
        let version = |change: &Change| versions.get(&change.after.external_id).copied();
        if changes.iter().any(|change| version(change).unwrap_or(0) != change.version_before()) {
            tx.rollback().await?;
            return Ok(false);
        }
        let mut changes = deal_cards(&tx, organisation, changes, outcome).await?;
        // One order for all, so that replicas wait for each other, not in a circle.
        changes.sort_by(|one, other| one.after.external_id.cmp(&other.after.external_id));
        outcome.stored = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        if !write_rows(&tx, organisation, &changes).await?
            || !write_cards(&tx, organisation, &changes).await?
        {
            tx.rollback().await?;
            return Ok(false);
        }
        write_categories(&tx, organisation, &changes).await?;
        let differences = address_differences(&changes);
        store::lock_runs(&tx, organisation).await?;
        store::use_addresses(&tx, organisation, &differences).await?;
        claim_late(&tx, organisation, &differences).await?;
        self.write_points(&tx, organisation, &changes).await?;
        let told = told(&changes);
        outcome.told = self.tell_suppressions(&tx, organisation, told).await?;
        let consents = changes
            .iter()
            .filter(|change| change.consent_before() != change.after.consent)
            .map(|change| consent_log::Change {
                customer: change.after.id,
                from: consent_word(change.consent_before()),
                to: consent_word(change.after.consent),
            });
        let at = self.clock.now_ms();
        consent_log::append(&tx, organisation, upsert.by, at, consents.collect()).await?;
        if let Some(deed) = deed(upsert, &changes) {
            tell(&self.outbox, &tx, &deed).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// A balance that an upsert sets is recorded as an activity of the difference.
    async fn write_points(
        &self,
        tx: &DatabaseTransaction,
        organisation: OrganisationId,
        changes: &[Change],
    ) -> Result<(), DbErr> {
        let at = self.clock.now_ms();
        let rows: Vec<ActivityRow> = changes
            .iter()
            .filter(|change| change.points() != 0)
            .map(|change| {
                let name = format!("points/{}", change.after.version);
                let event_id = Uuid::new_v5(&change.after.id.uuid(), name.as_bytes());
                ActivityRow {
                    event_id: event_id.to_string(),
                    external_id: change.after.external_id.clone(),
                    kind: Kind::Points.word().into(),
                    at,
                    amount: Some(change.points() * SCALE),
                    rating: String::new(),
                }
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        // Their ids name the customer's version, which nobody else writes.
        store::add_activities(tx, organisation, &rows, at).await.map(|_| ())
    }
}

/// An import is one deed, whatever its rows. Which fields changed is told, and never to what.
fn deed<'a>(upsert: &Upsert<'a>, changes: &[Change]) -> Option<Deed<'a>> {
    let by = upsert.caller;
    let mut fields_changed = BTreeSet::new();
    for change in changes {
        if let Some((before, _)) = &change.before {
            fields_changed.extend(changed_fields(before, &change.after));
        }
    }
    let named: Vec<&str> = fields_changed.into_iter().collect();
    let updated = changes.iter().filter(|change| change.before.is_some()).count();
    if upsert.by != BY_IMPORT {
        let external_id = &changes.first()?.after.external_id;
        let subject = format!("customers/{external_id}");
        let (act, told) = match updated {
            0 => (acts::CUSTOMER_CREATED, ("external_id", external_id.as_str().into())),
            _ => (acts::CUSTOMER_UPDATED, ("fields", named.into())),
        };
        return Some(Deed { by, act, subject, change: audit::Change::to(fields([told])) });
    }
    let told = fields([
        ("created", (changes.len() - updated).into()),
        ("updated", updated.into()),
        ("fields", named.into()),
    ]);
    let (act, subject) = (acts::CUSTOMERS_IMPORTED, "customers".to_owned());
    (!changes.is_empty()).then(|| Deed { by, act, subject, change: audit::Change::to(told) })
}

/// What dispatchers must hear of. Nothing can be queued for somebody new.
fn told(changes: &[Change]) -> Vec<Suppression> {
    let known = changes.iter().filter_map(|change| {
        let (before, _) = change.before.as_ref()?;
        Some((Standing::of(before), Standing::of(&change.after)))
    });
    known.flat_map(|(before, after)| suppressions(&before, &after)).collect()
}

fn duplicate() -> Fault {
    let message = "occurs before in the same file; give each customer once";
    Fault::new("external_id", "duplicate_in_file", message)
}

/// Gives cards out in the order of the request; who wants one that another has is rejected.
async fn deal_cards(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    changes: Vec<Change>,
    outcome: &mut Outcome,
) -> Result<Vec<Change>, DbErr> {
    let wanted: HashSet<[u8; 32]> =
        changes.iter().flat_map(|change| change.hashes.cards.iter().copied()).collect();
    let wanted: Vec<[u8; 32]> = wanted.into_iter().collect();
    let mut owners = store::card_owners(tx, organisation, &wanted).await?;
    let mut kept = Vec::with_capacity(changes.len());
    for change in changes {
        let id = &change.after.external_id;
        let cards = &change.hashes.cards;
        if cards.iter().any(|card| owners.get(card).is_some_and(|owner| owner != id)) {
            let message = "belongs to another customer; correct it, or take it off the other first";
            outcome.rejects.push((change.index, Fault::new("cards", "card_taken", message)));
            continue;
        }
        let had_others = |(_, hashes): &(Record, Hashes)| hashes.cards != *cards;
        if change.before.as_ref().is_some_and(had_others) {
            owners.retain(|_, owner| owner != id);
        }
        owners.extend(cards.iter().map(|card| (*card, id.clone())));
        kept.push(change);
    }
    Ok(kept)
}

async fn write_rows(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    changes: &[Change],
) -> Result<bool, DbErr> {
    let hash = |hash: Option<[u8; 32]>| hash.map(|hash| hex::encode(&hash));
    let mut rows = Vec::with_capacity(changes.len());
    for Change { after, hashes, profile, .. } in changes {
        rows.push(CustomerWrite {
            external_id: &after.external_id,
            id: hex::encode(after.id.uuid().as_bytes()),
            profile: hex::encode(profile),
            phone_hash: hash(hashes.phone),
            email_hash: hash(hashes.email),
            name_hash: hash(hashes.name),
            display_name_hash: hash(hashes.display_name),
            birth_mmdd: after.profile.birth_mmdd(),
            language: &after.language,
            time_zone: &after.time_zone,
            categories: json(&after.categories)?,
            points: after.points,
            favourite: after.favourite,
            consent: after.consent.into(),
            subscribe_sms: after.subscribe_sms as i32,
            subscribe_email: after.subscribe_email as i32,
            blacklisted: after.blacklisted,
            joined_on: &after.joined_on,
            programmes: json(&after.programmes)?,
            created_at: after.created_at,
            updated_at: after.updated_at,
            version: after.version,
        });
    }
    store::write_customers(tx, organisation, &rows).await
}

async fn write_categories(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    changes: &[Change],
) -> Result<(), DbErr> {
    let before = |change: &Change| -> Vec<String> {
        change.before.as_ref().map_or_else(Vec::new, |(before, _)| before.categories.clone())
    };
    let changed: Vec<&Change> =
        changes.iter().filter(|change| before(change) != change.after.categories).collect();
    let had_some: Vec<&str> = changed
        .iter()
        .filter(|change| !before(change).is_empty())
        .map(|change| change.after.external_id.as_str())
        .collect();
    let categories: Vec<(&str, &str)> = changed
        .iter()
        .flat_map(|change| {
            let id = change.after.external_id.as_str();
            change.after.categories.iter().map(move |category| (id, category.as_str()))
        })
        .collect();
    store::replace_categories(tx, organisation, &had_some, &categories).await
}

async fn write_cards(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    changes: &[Change],
) -> Result<bool, DbErr> {
    let before = |change: &Change| -> Vec<[u8; 32]> {
        change.before.as_ref().map_or_else(Vec::new, |(_, hashes)| hashes.cards.clone())
    };
    let changed: Vec<&Change> =
        changes.iter().filter(|change| before(change) != change.hashes.cards).collect();
    let had_some: Vec<&str> = changed
        .iter()
        .filter(|change| !before(change).is_empty())
        .map(|change| change.after.external_id.as_str())
        .collect();
    let mut cards: Vec<(&str, String)> = changed
        .iter()
        .flat_map(|change| {
            let id = change.after.external_id.as_str();
            change.hashes.cards.iter().map(move |card| (id, hex::encode(card)))
        })
        .collect();
    cards.sort_by(|(_, one), (_, other)| one.cmp(other));
    store::replace_cards(tx, organisation, &had_some, &cards).await
}

/// How many more, or fewer, customers use each address.
fn address_differences(changes: &[Change]) -> Vec<(i32, [u8; 32], i64)> {
    let mut differences: HashMap<(Channel, [u8; 32]), i64> = HashMap::new();
    for change in changes {
        for channel in CHANNELS {
            let before = change.before.as_ref().and_then(|(_, hashes)| hashes.address(channel));
            let after = change.hashes.address(channel);
            if before == after {
                continue;
            }
            if let Some(hash) = before {
                *differences.entry((channel, hash)).or_default() -= 1;
            }
            if let Some(hash) = after {
                *differences.entry((channel, hash)).or_default() += 1;
            }
        }
    }
    let differences = differences.into_iter();
    let mut differences: Vec<_> =
        differences.map(|((channel, hash), by)| (i32::from(channel), hash, by)).collect();
    differences.sort_unstable();
    differences
}

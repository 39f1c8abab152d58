//! Find: one customer by an identifier. An identifier that several customers share names none.

use carillon_contracts::{
    audience::v1::{Customer, Identifier, identifier::By},
    ids::OrganisationId,
    jobs::v1::Channel,
    time,
};
use carillon_numbering::region;
use carillon_service_kit::status::{internal, invalid, not_found, refused};
use jiff::Timestamp;
use tonic::Status;

use crate::{
    Evaluator,
    domain::{
        email,
        fault::Fault,
        phone,
        record::{Record, Subscription},
    },
    store::{self, Lookup},
};

/// Enough to say how many share an identifier.
const MOST_NAMED: u32 = 100;

impl Evaluator {
    pub(crate) async fn find(
        &self,
        organisation: OrganisationId,
        identifier: Option<Identifier>,
    ) -> Result<Record, Status> {
        let by = identifier.and_then(|identifier| identifier.by).ok_or_else(|| {
            let rule = "is missing; give an external_id, phone, email, card or name";
            invalid("identifier", rule)
        })?;
        let keeper = self.vault.keeper(organisation).await?;
        let reader = self.database.reader();
        let lookup = |lookup, hash: [u8; 32]| async move {
            store::by_lookup(reader, organisation, lookup, &hash, MOST_NAMED).await
        };
        let mut rows = match &by {
            // PostgreSQL refuses to look for NUL, which no id holds.
            By::ExternalId(id) if id.contains('\0') => Ok(Vec::new()),
            By::ExternalId(id) => store::by_external_ids(reader, organisation, &[id]).await,
            By::Phone(number) => {
                let region = region(&self.organisation(organisation).await?.default_region);
                let number = phone::parse(number, region).map_err(of_identifier)?;
                lookup(Lookup::Phone, keeper.phone(&number)).await
            }
            By::Email(address) => {
                let address = email::parse(address).map_err(of_identifier)?;
                lookup(Lookup::Email, keeper.email(address)).await
            }
            By::Card(card) => store::by_card(reader, organisation, &keeper.card(card.trim())).await,
            By::Name(name) => lookup(Lookup::Name, keeper.name(name)).await,
        }
        .map_err(internal)?;
        if rows.len() > 1 {
            return Err(refused("NOT_ONE_CUSTOMER", of_several(&by, rows.len())));
        }
        let row = rows.pop().ok_or_else(|| nobody(&by))?;
        Ok(keeper.record(row)?)
    }

    /// The customer as stored now, for an answer.
    pub(crate) async fn customer(
        &self,
        organisation: OrganisationId,
        external_id: &str,
    ) -> Result<Customer, Status> {
        let by = By::ExternalId(external_id.to_owned());
        Ok(to_wire(self.find(organisation, Some(Identifier { by: Some(by) })).await?))
    }
}

fn of_identifier(fault: Fault) -> Status {
    invalid(format!("identifier.{}", fault.field), fault.message)
}

fn word(by: &By) -> &'static str {
    match by {
        By::ExternalId(_) => "external_id",
        By::Phone(_) => "phone",
        By::Email(_) => "email",
        By::Card(_) => "card",
        By::Name(_) => "name",
    }
}

fn of_several(by: &By, found: usize) -> String {
    let more = if found >= MOST_NAMED as usize { "or more " } else { "" };
    let word = word(by);
    format!(
        "identifier.{word}: {found} {more}customers have this {word}; give an external_id instead"
    )
}

fn nobody(by: &By) -> Status {
    match by {
        By::ExternalId(id) => {
            let shown: String = id.chars().take(64).collect();
            not_found(format!("external_id: there is no customer '{shown}'; import it first"))
        }
        _ => not_found(format!("identifier: no customer has this {}; check it", word(by))),
    }
}

pub(crate) fn to_wire(record: Record) -> Customer {
    let instant = |ms| Timestamp::from_millisecond(ms).ok().map(time::to_wire);
    let subscriptions =
        [(Channel::Sms, record.subscribe_sms), (Channel::Email, record.subscribe_email)];
    let pending =
        subscriptions.iter().filter(|(_, subscription)| *subscription == Subscription::Pending);
    let profile = record.profile;
    Customer {
        id: record.id.to_string(),
        external_id: record.external_id,
        cards: profile.cards,
        first_name: profile.first_name,
        last_name: profile.last_name,
        display_name: profile.display_name,
        phone: profile.phone,
        email: profile.email,
        birthday: profile.birthday,
        language: record.language,
        time_zone: record.time_zone,
        categories: record.categories,
        points: record.points,
        favourite: record.favourite,
        consent: record.consent.into(),
        subscribe_sms: Some(record.subscribe_sms == Subscription::Yes),
        subscribe_email: Some(record.subscribe_email == Subscription::Yes),
        joined_at: record.joined_on,
        attributes: profile.attributes,
        programmes: record.programmes,
        wallet_passes: profile.wallet_passes,
        blacklisted: record.blacklisted,
        pending_channels: pending.map(|(channel, _)| (*channel).into()).collect(),
        create_time: instant(record.created_at),
        update_time: instant(record.updated_at),
        in_effect: None,
    }
}

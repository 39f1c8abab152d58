//! The append-only log of who changed whose consent, and its check.

use carillon_contracts::{
    ids::{CustomerId, OrganisationId},
    jobs::v1::Channel,
};
use carillon_service_kit::Database;
use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    domain::consent::{BEGINNING, Entry},
    store,
};

const PAGE: i64 = 1_000;

/// A change of consent, or of a subscription by the customer's own word.
pub(crate) struct Change {
    pub customer: CustomerId,
    /// Empty for a new customer.
    pub from: &'static str,
    pub to: &'static str,
}

impl Change {
    pub(crate) fn unsubscribed(customer: CustomerId, channel: Channel) -> Self {
        let [no, yes] = subscriptions(channel);
        Self { customer, from: yes, to: no }
    }

    pub(crate) fn subscribed(customer: CustomerId, channel: Channel) -> Self {
        let [no, yes] = subscriptions(channel);
        Self { customer, from: no, to: yes }
    }
}

fn subscriptions(channel: Channel) -> [&'static str; 2] {
    match channel {
        Channel::Email => ["email_unsubscribed", "email_subscribed"],
        _ => ["sms_unsubscribed", "sms_subscribed"],
    }
}

/// Writes the changes in the transaction that makes them.
pub(crate) async fn append(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    by: &str,
    at: i64,
    changes: Vec<Change>,
) -> Result<(), DbErr> {
    if changes.is_empty() {
        return Ok(());
    }
    store::lock_log(tx, organisation).await?;
    let (mut number, mut head) = store::consent_head(tx, organisation).await?;
    let mut entries = Vec::with_capacity(changes.len());
    for Change { customer, from, to } in changes {
        number += 1;
        let (from, to) = (from.to_owned(), to.to_owned());
        let entry = Entry { number, customer, at, by: by.to_owned(), from, to };
        let hash = entry.hash(organisation, &head);
        entries.push((entry, head, hash));
        head = hash;
    }
    store::append_consents(tx, organisation, &entries).await
}

/// What a check of the log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentLog {
    /// So many entries, each as it was written.
    Whole(i64),
    /// The first entry that is not as it was written, or that is missing.
    Broken(i64),
}

/// Recomputes the whole chain of an organisation.
pub async fn verify_consent_log(
    database: &Database,
    organisation: OrganisationId,
) -> Result<ConsentLog, DbErr> {
    let (mut number, mut head) = (0, BEGINNING);
    loop {
        let page = store::consent_page(database.reader(), organisation, number, PAGE).await?;
        if page.is_empty() {
            return Ok(ConsentLog::Whole(number));
        }
        for row in page {
            number += 1;
            let hash = row.entry.hash(organisation, &head);
            if row.entry.number != number || row.previous != head || row.hash != hash {
                return Ok(ConsentLog::Broken(number));
            }
            head = hash;
        }
    }
}

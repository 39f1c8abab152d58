//! Reads an audience page by page, opening only the profiles that are needed.

use std::collections::HashSet;

use carillon_contracts::{
    audience::v1::Consent,
    ids::{CustomerId, OrganisationId},
    jobs::v1::Channel,
};

use crate::{
    Evaluator,
    domain::{
        decide::{AddressHash, Candidate, Person, Reach},
        filter::{Selection, next_of},
        record::{Profile, Subscription},
    },
    failure::Failure,
    store::{self, CandidateRow},
    vault::Keeper,
};

/// Customers of an audience, in the order of their external ids.
pub(crate) struct People {
    pub people: Vec<Person>,
    /// Where the next page begins.
    pub position: String,
    /// Nobody comes after them.
    pub last: bool,
}

impl People {
    /// Addresses among them that others have too.
    pub(crate) fn shared(&self, channel: Channel) -> Vec<AddressHash> {
        let reaches = self.people.iter().map(|person| person.candidate.reach(channel));
        let shared: HashSet<AddressHash> =
            reaches.filter(|reach| reach.shared).filter_map(|reach| reach.address).collect();
        shared.into_iter().collect()
    }
}

/// Whose profile is opened.
#[derive(Clone, Copy)]
pub(crate) enum Open<'a> {
    Everybodys,
    /// Only of those who could get a message on one of the channels.
    IfReachable {
        channels: &'a [Channel],
        require_consent: bool,
    },
}

impl Open<'_> {
    fn wants(self, candidate: &Candidate) -> bool {
        match self {
            Self::Everybodys => true,
            Self::IfReachable { channels, require_consent } => channels
                .iter()
                .any(|channel| candidate.standing(*channel, require_consent).is_none()),
        }
    }
}

impl Evaluator {
    pub(crate) async fn people(
        &self,
        organisation: OrganisationId,
        selection: &Selection,
        after: &str,
        limit: usize,
        open: Open<'_>,
    ) -> Result<People, Failure> {
        let keeper = self.vault.keeper(organisation).await?;
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let reader = self.database.reader();
        let rows = store::candidates(reader, organisation, selection, after, most).await?;
        let (position, last) = match selection {
            Selection::Customers(ids) => {
                let asked = next_of(ids, after, limit);
                (asked.last().cloned(), asked.is_empty() || asked.last() == ids.last())
            }
            _ => (rows.last().map(|row| row.external_id.clone()), rows.len() < limit),
        };
        let position = position.unwrap_or_else(|| after.to_owned());
        let mut people = Vec::with_capacity(rows.len());
        for row in rows {
            people.push(person(&keeper, row, open)?);
        }
        Ok(People { people, position, last })
    }
}

fn person(keeper: &Keeper, row: CandidateRow, open: Open<'_>) -> Result<Person, Failure> {
    let reach = |subscription, hash: Option<Vec<u8>>, uses: i64| -> Result<Reach, Failure> {
        let address = hash.map(AddressHash::try_from).transpose();
        Ok(Reach {
            subscription: Subscription::from_stored(subscription),
            address: address.map_err(|_| Failure::Stored("a hash of an address".into()))?,
            shared: uses > 1,
        })
    };
    let candidate = Candidate {
        id: CustomerId::new(row.id),
        blacklisted: row.blacklisted,
        consent: Consent::try_from(row.consent)
            .map_err(|error| Failure::Stored(error.to_string()))?,
        language: row.language,
        points: row.points,
        sms: reach(row.subscribe_sms, row.phone_hash, row.phone_uses)?,
        email: reach(row.subscribe_email, row.email_hash, row.email_uses)?,
    };
    let profile = open.wants(&candidate).then(|| opened(keeper, candidate.id, &row.profile));
    Ok(Person { candidate, profile: profile.flatten() })
}

/// A profile that does not open must not stop everybody else's plan: without one, its customer has
/// no valid address.
fn opened(keeper: &Keeper, customer: CustomerId, sealed: &[u8]) -> Option<Profile> {
    let opened = keeper.open(customer, sealed);
    opened
        .inspect_err(|error| tracing::error!(%customer, %error, "profile does not open; skipped"))
        .ok()
}

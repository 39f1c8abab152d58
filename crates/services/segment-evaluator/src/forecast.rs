//! Forecast: walks the real audience with the plan's own rules, counts parts of the rendered texts
//! and what they cost, and writes nothing.

use std::collections::{BTreeMap, HashSet};

use carillon_content::sms::{self, Unsendable};
use carillon_contracts::{
    audience::v1::ForecastAudienceRequest,
    campaign::v1::{ChannelForecast, Forecast, Organisation},
    ids::OrganisationId,
    jobs::v1::Channel,
    vocabulary::SkipReason,
};
use carillon_numbering::Rates;
use carillon_service_kit::status::invalid;
use tonic::Status;

use crate::{
    Evaluator,
    domain::{
        decide::{Decided, Person, Policy, decide},
        filter::Selection,
        variables::{Filled, Texts},
    },
    failure::Failure,
    people::Open,
};

/// Customers read at a time: memory does not grow with the audience, but for one hash for each
/// address that several customers share.
const PAGE: usize = 500;

/// Figures of one channel so far.
struct Tally {
    channel: Channel,
    planned: u64,
    skipped: BTreeMap<SkipReason, u64>,
    least_parts: u32,
    most_parts: u32,
    total_parts: u64,
    credits: u64,
    ucs2: u64,
    too_long: u64,
    empty: u64,
    most_characters: u32,
}

/// What the messages of a page have in common.
struct Same<'a> {
    texts: &'a Texts,
    rates: &'a Rates,
    organisation: &'a str,
    /// Anybody's: all are equally long.
    unsubscribe_url: &'a str,
}

impl Evaluator {
    pub(crate) async fn forecast(
        &self,
        organisation: OrganisationId,
        request: ForecastAudienceRequest,
    ) -> Result<Forecast, Status> {
        let selection = Selection::of_audience(request.audience.as_ref())?;
        let texts = Texts::parse(&request.content.unwrap_or_default())
            .map_err(|error| invalid("content", error.to_string()))?;
        let settings = self.organisation(organisation).await?;
        Ok(self.walk(organisation, &settings, &selection, &texts).await?)
    }

    async fn walk(
        &self,
        organisation: OrganisationId,
        settings: &Organisation,
        selection: &Selection,
        texts: &Texts,
    ) -> Result<Forecast, Failure> {
        let channels = texts.channels();
        let mut tallies: Vec<Tally> = channels.iter().map(|channel| Tally::new(*channel)).collect();
        let (policy, rates) = (Policy::of(settings), Rates::of(&settings.rates));
        let open =
            Open::IfReachable { channels: &channels, require_consent: policy.require_consent };
        let mut claimed = HashSet::new();
        let (mut customers, mut position) = (0, String::new());
        loop {
            let page = self.people(organisation, selection, &position, PAGE, open).await?;
            customers += page.people.len() as u64;
            for tally in &mut tallies {
                let decided = decide(&page.people, tally.channel, &policy, &mut claimed);
                let link = |id| self.unsubscribe_url(organisation, id, tally.channel);
                let link = page.people.first().map(|person| link(person.candidate.id));
                let same = Same {
                    texts,
                    rates: &rates,
                    organisation: &settings.name,
                    unsubscribe_url: &link.unwrap_or_default(),
                };
                tally.add(&page.people, &decided, &same);
            }
            if page.last {
                return Ok(sum_up(customers, tallies));
            }
            position = page.position;
        }
    }
}

impl Tally {
    fn new(channel: Channel) -> Self {
        Self {
            channel,
            planned: 0,
            skipped: BTreeMap::new(),
            least_parts: 0,
            most_parts: 0,
            total_parts: 0,
            credits: 0,
            ucs2: 0,
            too_long: 0,
            empty: 0,
            most_characters: 0,
        }
    }

    fn add(&mut self, people: &[Person], decided: &Decided, same: &Same<'_>) {
        let Same { texts, rates, organisation, unsubscribe_url } = *same;
        for (reason, positions) in &decided.skipped {
            *self.skipped.entry(*reason).or_default() += positions.len() as u64;
        }
        self.planned += decided.planned.len() as u64;
        let (Some(sms), Channel::Sms) = (&texts.sms, self.channel) else { return };
        let wanted = texts.variables(self.channel);
        let mut text = String::new();
        for position in &decided.planned {
            let person = &people[*position];
            let values = wanted.values(person, organisation);
            sms.render_into(&mut text, &Filled { wanted, values: &values, unsubscribe_url });
            let number = person.profile.as_ref().map_or("", |profile| &profile.phone);
            self.count(&text, rates.of_number(number));
        }
    }

    fn count(&mut self, text: &str, rate: u32) {
        let count = match sms::sendable(text) {
            Ok(count) => count,
            Err(Unsendable::TooLong { .. }) => {
                self.too_long += 1;
                return;
            }
            Err(Unsendable::Empty) => {
                self.empty += 1;
                return;
            }
        };
        let first = self.total_parts == 0 && self.most_parts == 0;
        self.least_parts = if first { count.parts } else { self.least_parts.min(count.parts) };
        self.most_parts = self.most_parts.max(count.parts);
        self.total_parts += u64::from(count.parts);
        self.credits += u64::from(count.parts) * u64::from(rate);
        self.ucs2 += u64::from(count.forced_by.is_some());
        self.most_characters = self.most_characters.max(count.characters);
    }
}

fn sum_up(customers: u64, tallies: Vec<Tally>) -> Forecast {
    let mut forecast = Forecast { customers, ..Forecast::default() };
    for tally in tallies {
        let skipped: BTreeMap<String, u64> = tally
            .skipped
            .iter()
            .map(|(reason, count)| (reason.word().to_owned(), *count))
            .collect();
        forecast.matched += tally.planned + skipped.values().sum::<u64>();
        forecast.planned += tally.planned;
        forecast.credits += tally.credits;
        for (reason, count) in &skipped {
            *forecast.skipped.entry(reason.clone()).or_default() += count;
        }
        forecast.channels.push(ChannelForecast {
            channel: tally.channel.into(),
            planned: tally.planned,
            skipped,
            least_parts: tally.least_parts,
            most_parts: tally.most_parts,
            total_parts: tally.total_parts,
            ucs2: tally.ucs2,
            too_long: tally.too_long,
            empty: tally.empty,
            most_characters: tally.most_characters,
            credits: tally.credits,
        });
    }
    forecast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_from_the_shortest_to_the_longest() {
        let mut tally = Tally::new(Channel::Sms);
        tally.count(&"x".repeat(161), 3);
        tally.count("short", 1);
        tally.count("Привет", 2);
        tally.count(" ", 9);
        tally.count(&"x".repeat(641), 9);
        assert_eq!((tally.least_parts, tally.most_parts, tally.total_parts), (1, 2, 4));
        assert_eq!((tally.ucs2, tally.empty, tally.too_long), (1, 1, 1));
        assert_eq!((tally.most_characters, tally.credits), (161, 9));
    }
}

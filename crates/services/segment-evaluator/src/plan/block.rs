//! A batch's recipients as one sealed block, under a data key of its own.

use carillon_contracts::{
    campaign::v1::Organisation,
    ids::BatchId,
    jobs::v1::{Channel, Recipient, Recipients, SealedBlock},
};
use carillon_numbering::Rates;
use carillon_sealing::{SealError, WrappingKey, compress};
use prost::Message as _;

use crate::domain::{
    decide::{Decided, Person},
    standing::consents,
    variables::Wanted,
};

/// What the channel's texts need of those who are planned, in their order.
pub(super) fn recipients(
    people: &[Person],
    decided: &Decided,
    wanted: &Wanted,
    settings: &Organisation,
) -> Recipients {
    let rates = Rates::of(&settings.rates);
    let rate = |address: &str| match decided.channel {
        Channel::Sms => rates.of_number(address),
        Channel::Email | Channel::Unspecified => 1,
    };
    let planned = decided.planned.iter().map(|position| &people[*position]);
    let recipients = planned
        .map(|person| {
            let address = address(person, decided.channel);
            Recipient {
                language: person.candidate.language.clone(),
                values: wanted.values(person, &settings.name),
                without_consent: !consents(person.candidate.consent, true),
                rate: rate(&address),
                address,
            }
        })
        .collect();
    Recipients { variables: wanted.names(), recipients }
}

fn address(person: &Person, channel: Channel) -> String {
    person.profile.as_ref().map_or("", |profile| profile.address(channel)).to_owned()
}

pub(super) fn seal(
    wrapping: &WrappingKey,
    batch: BatchId,
    recipients: &Recipients,
) -> Result<SealedBlock, SealError> {
    let uuid = batch.uuid();
    let context = uuid.as_bytes();
    let (key, wrapped) = wrapping.new_data_key(context)?;
    let ciphertext = key.seal(&compress(&recipients.encode_to_vec()), context)?;
    Ok(SealedBlock {
        key_id: wrapping.id().to_owned(),
        wrapped_key: wrapped.into(),
        ciphertext: ciphertext.into(),
    })
}

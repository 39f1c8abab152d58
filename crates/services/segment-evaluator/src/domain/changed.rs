//! Which of a customer's fields a change concerns, for the audit: never what is in them.

use super::record::Record;

pub(crate) fn changed_fields(before: &Record, after: &Record) -> Vec<&'static str> {
    let (was, is) = (&before.profile, &after.profile);
    let all = [
        ("cards", was.cards != is.cards),
        ("first_name", was.first_name != is.first_name),
        ("last_name", was.last_name != is.last_name),
        ("display_name", was.display_name != is.display_name),
        ("phone", was.phone != is.phone),
        ("email", was.email != is.email),
        ("birthday", was.birthday != is.birthday),
        ("language", before.language != after.language),
        ("time_zone", before.time_zone != after.time_zone),
        ("categories", before.categories != after.categories),
        ("points", before.points != after.points),
        ("favourite", before.favourite != after.favourite),
        ("consent", before.consent != after.consent),
        ("subscribe_sms", before.subscribe_sms != after.subscribe_sms),
        ("subscribe_email", before.subscribe_email != after.subscribe_email),
        ("blacklisted", before.blacklisted != after.blacklisted),
        ("joined_at", before.joined_on != after.joined_on),
        ("attributes", was.attributes != is.attributes),
        ("programmes", before.programmes != after.programmes),
        ("wallet_passes", was.wallet_passes != is.wallet_passes),
    ];
    all.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use carillon_contracts::ids::{CustomerId, OrganisationId};

    use super::*;
    use crate::domain::record::{Profile, Subscription};

    #[test]
    fn fields_are_named_where_they_differ() {
        let id = CustomerId::of(OrganisationId::random(), "C1");
        let before = Record::new(id, "C1".into());
        assert!(changed_fields(&before, &before).is_empty());
        let after = Record {
            profile: Profile { phone: "+31612345678".into(), ..Profile::default() },
            subscribe_sms: Subscription::Yes,
            updated_at: 7,
            version: 1,
            ..before.clone()
        };
        assert_eq!(changed_fields(&before, &after), ["phone", "subscribe_sms"]);
    }
}

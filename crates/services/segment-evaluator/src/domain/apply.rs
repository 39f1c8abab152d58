//! What a stored customer becomes by a request, and what a new one begins as.

use carillon_contracts::{
    audience::v1::Consent,
    campaign::v1::{ConsentDefault, Organisation},
    ids::{CustomerId, OrganisationId},
    jobs::v1::Channel,
};

use super::{
    check::{Given, too_many_attributes},
    fault::Fault,
    mask::Mask,
    record::{Profile, Record, Subscription},
};

/// What the organisation's settings say of customers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub consent: Consent,
    pub subscribe: bool,
    pub double_opt_in: bool,
}

impl Settings {
    pub(crate) fn of(organisation: &Organisation) -> Self {
        let consent = match organisation.consent_default() {
            ConsentDefault::Given => Consent::Given,
            ConsentDefault::NotSpecified | ConsentDefault::Unspecified => Consent::NotSpecified,
        };
        Self {
            consent,
            subscribe: organisation.subscribe_default,
            double_opt_in: organisation.double_opt_in,
        }
    }
}

/// The record after the request. Where it says nothing, a stored customer keeps what it has and a
/// new one gets what the organisation's settings say.
pub(crate) fn apply(
    organisation: OrganisationId,
    stored: Option<&Record>,
    given: Given,
    mask: &Mask,
    settings: Settings,
) -> Result<Record, Fault> {
    let id = CustomerId::of(organisation, &given.external_id);
    let mut record = stored.cloned().unwrap_or_else(|| Record::new(id, given.external_id.clone()));
    let personal = !given.profile.is_empty();
    record.consent = match (given.consent, record.consent) {
        (Some(consent), _) => consent,
        (None, Consent::Unspecified) => settings.consent,
        (None, kept) => kept,
    };
    if record.consent == Consent::Withheld && personal {
        return Err(Fault::new(
            "consent",
            "withheld_with_personal_data",
            "is withheld, so personal data may not be kept; leave names, addresses, birthday, cards \
             and attributes empty, or correct the consent",
        ));
    }
    let asked = (given.subscribe_sms, given.subscribe_email);
    set_fields(&mut record, given, mask);
    too_many_attributes(&record.profile.attributes)?;
    if record.consent == Consent::Withheld {
        record.profile = Profile::default();
    }
    subscribe(&mut record, Channel::Sms, asked.0, settings);
    subscribe(&mut record, Channel::Email, asked.1, settings);
    Ok(record)
}

fn set_fields(record: &mut Record, given: Given, mask: &Mask) {
    macro_rules! set {
        ($($field:ident as $name:literal),+ on $record:expr, $given:expr) => {
            $(if mask.has($name) { $record.$field = $given.$field; })+
        };
    }
    let personal = given.profile;
    set!(
        first_name as "first_name", last_name as "last_name", display_name as "display_name",
        phone as "phone", email as "email", birthday as "birthday", cards as "cards",
        wallet_passes as "wallet_passes" on record.profile, personal
    );
    set!(
        language as "language", time_zone as "time_zone", categories as "categories",
        points as "points", favourite as "favourite", joined_on as "joined_at",
        programmes as "programmes" on record, given
    );
    if mask.has("attributes") {
        record.profile.attributes = personal.attributes;
        return;
    }
    let mut attributes = personal.attributes;
    for name in mask.attributes() {
        match attributes.remove(name) {
            Some(value) => record.profile.attributes.insert(name.to_owned(), value),
            None => record.profile.attributes.remove(name),
        };
    }
}

fn subscribe(record: &mut Record, channel: Channel, asked: Option<bool>, settings: Settings) {
    let has_address = !record.profile.address(channel).is_empty();
    let by_default = record.is_new() && settings.subscribe && has_address;
    let subscription = match channel {
        Channel::Sms => &mut record.subscribe_sms,
        _ => &mut record.subscribe_email,
    };
    *subscription = match asked {
        Some(subscribed) => subscription.asked(subscribed, settings.double_opt_in),
        None if by_default => Subscription::No.asked(true, settings.double_opt_in),
        None => *subscription,
    };
}

#[cfg(test)]
mod tests {
    use carillon_contracts::audience::v1::Customer;
    use uuid::Uuid;

    use super::{
        super::check::{Rules, check},
        *,
    };

    const SETTINGS: Settings =
        Settings { consent: Consent::NotSpecified, subscribe: false, double_opt_in: false };

    fn organisation() -> OrganisationId {
        OrganisationId::new(Uuid::from_u128(1))
    }

    fn after(
        stored: Option<&Record>,
        customer: Customer,
        paths: &[&str],
        settings: Settings,
    ) -> Result<Record, Fault> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let mask = Mask::new(&paths).expect("valid");
        let rules = Rules::new("", "2026-11-23T12:00:00Z".parse().expect("valid"));
        let given = check(customer, &mask, &rules)?;
        let mut record = apply(organisation(), stored, given, &mask, settings)?;
        record.version += 1;
        Ok(record)
    }

    fn ann() -> Customer {
        Customer {
            external_id: "C1".into(),
            first_name: "Ann".into(),
            phone: "+442079460001".into(),
            attributes: [("city".into(), "Delft".into()), ("size".into(), "M".into())].into(),
            ..Customer::default()
        }
    }

    #[test]
    fn only_named_fields_change() {
        let stored = after(None, ann(), &[], SETTINGS).expect("stored");
        let change = Customer { external_id: "C1".into(), last_name: "Lee".into(), ..ann() };
        let changed = after(Some(&stored), change, &["last_name"], SETTINGS).expect("stored");
        assert_eq!(changed.profile.first_name, "Ann");
        assert_eq!(changed.profile.last_name, "Lee");
        assert_eq!(changed.profile.phone, "+442079460001");
    }

    #[test]
    fn one_attribute_changes_or_goes_and_the_others_stay() {
        let stored = after(None, ann(), &[], SETTINGS).expect("stored");
        let change = Customer {
            external_id: "C1".into(),
            attributes: [("city".into(), "Ghent".into())].into(),
            ..Customer::default()
        };
        let paths = ["attributes.city", "attributes.size"];
        let changed = after(Some(&stored), change, &paths, SETTINGS).expect("stored");
        assert_eq!(changed.profile.attributes, [("city".into(), "Ghent".into())].into());
    }

    #[test]
    fn a_full_request_empties_what_it_leaves_out_but_for_consent_and_subscriptions() {
        let first = Customer { consent: 2, subscribe_sms: Some(true), ..ann() };
        let stored = after(None, first, &[], SETTINGS).expect("stored");
        let bare = Customer { external_id: "C1".into(), ..Customer::default() };
        let changed = after(Some(&stored), bare, &[], SETTINGS).expect("stored");
        assert!(changed.profile.is_empty());
        assert_eq!(changed.consent, Consent::Given);
        assert_eq!(changed.subscribe_sms, Subscription::Yes);
    }

    #[test]
    fn withheld_with_personal_data_is_refused_and_without_erases_what_is_kept() {
        let refused = after(None, Customer { consent: 3, ..ann() }, &[], SETTINGS);
        assert_eq!(refused.expect_err("refused").reason, "withheld_with_personal_data");
        let stored = after(None, ann(), &[], SETTINGS).expect("stored");
        let withheld = Customer { external_id: "C1".into(), consent: 3, ..Customer::default() };
        let erased = after(Some(&stored), withheld, &["consent"], SETTINGS).expect("stored");
        assert!(erased.profile.is_empty());
        let again = after(Some(&erased), ann(), &["phone"], SETTINGS);
        assert_eq!(again.expect_err("still withheld").reason, "withheld_with_personal_data");
    }

    #[test]
    fn new_customers_get_the_organisations_defaults() {
        let settings = Settings { consent: Consent::Given, subscribe: true, ..SETTINGS };
        let record = after(None, ann(), &["first_name", "phone"], settings).expect("stored");
        assert_eq!(record.consent, Consent::Given);
        assert_eq!(record.subscribe_sms, Subscription::Yes);
        assert_eq!(record.subscribe_email, Subscription::No, "there is no address");
        let waits = Settings { double_opt_in: true, ..settings };
        let record = after(None, ann(), &[], waits).expect("stored");
        assert_eq!(record.subscribe_sms, Subscription::Pending);
        let refused = Customer { subscribe_sms: Some(false), ..ann() };
        let record = after(None, refused, &[], settings).expect("stored");
        assert_eq!(record.subscribe_sms, Subscription::No);
    }

    #[test]
    fn the_same_request_again_changes_nothing() {
        let stored = after(None, ann(), &[], SETTINGS).expect("stored");
        let mut again = after(Some(&stored), ann(), &[], SETTINGS).expect("stored");
        again.version = stored.version;
        assert_eq!(again, stored);
    }
}

//! Checks the fields of a customer that a request sets, and brings them into the form that is kept.

use std::collections::BTreeMap;

use carillon_contracts::audience::v1::{Consent, Customer};
use carillon_numbering::{Region, region};
use jiff::{Timestamp, civil::Date};

use super::{
    dates::{self, Birthday, DateError},
    email,
    fault::Fault,
    mask::Mask,
    phone,
    record::Profile,
};

const ID_LENGTH: usize = 64;
const NAME_LENGTH: usize = 100;
const LABEL_LENGTH: usize = 64;
const MOST_CATEGORIES: usize = 20;
const MOST_CARDS: usize = 10;
const MOST_PROGRAMMES: usize = 20;
const MOST_WALLET_PASSES: usize = 20;
const WALLET_PASS_LENGTH: usize = 200;
const ATTRIBUTE_NAME_LENGTH: usize = 40;
const ATTRIBUTE_LENGTH: usize = 500;
pub(crate) const MOST_ATTRIBUTES: usize = 50;
const POINTS: i64 = 1_000_000_000;
const OLDEST_YEAR: i16 = 1900;
const LANGUAGE_LENGTH: usize = 35;

/// What the rules depend on.
pub(crate) struct Rules {
    /// Where phone numbers without a country code are read.
    pub region: Option<Region>,
    /// Later dates lie in the future.
    pub newest: Date,
}

impl Rules {
    pub(crate) fn new(default_region: &str, now: Timestamp) -> Self {
        Self { region: region(default_region), newest: dates::newest(now) }
    }
}

/// The checked values of one request. Fields that the mask leaves out are empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    pub external_id: String,
    pub profile: Profile,
    pub language: String,
    pub time_zone: String,
    pub categories: Vec<String>,
    pub points: i64,
    pub favourite: bool,
    /// `None`: nothing was said.
    pub consent: Option<Consent>,
    pub subscribe_sms: Option<bool>,
    pub subscribe_email: Option<bool>,
    pub joined_on: String,
    pub programmes: Vec<String>,
}

/// The first fault of the row, or its values. Fields outside the mask are not looked at.
pub(crate) fn check(customer: Customer, mask: &Mask, rules: &Rules) -> Result<Given, Fault> {
    let mut customer = customer;
    clear_unnamed(&mut customer, mask);
    external_id(&customer.external_id)?;
    let consent = consent(customer.consent)?;
    let points = points(customer.points)?;
    let language = language(&customer.language)?;
    let time_zone = time_zone(&customer.time_zone)?;
    let joined_on = joined_on(&customer.joined_at, rules.newest)?;
    let categories = labels("categories", &CATEGORY, std::mem::take(&mut customer.categories))?;
    let programmes = labels("programmes", &PROGRAMME, std::mem::take(&mut customer.programmes))?;
    let (subscribe_sms, subscribe_email) = (customer.subscribe_sms, customer.subscribe_email);
    let (external_id, favourite) = (std::mem::take(&mut customer.external_id), customer.favourite);
    Ok(Given {
        profile: profile(customer, rules)?,
        external_id,
        language,
        time_zone,
        categories,
        points,
        favourite,
        consent,
        subscribe_sms,
        subscribe_email,
        joined_on,
        programmes,
    })
}

fn clear_unnamed(customer: &mut Customer, mask: &Mask) {
    let empty = Customer::default();
    macro_rules! keep_named {
        ($($field:ident),+) => {
            $(if !mask.has(stringify!($field)) { customer.$field = empty.$field; })+
        };
    }
    keep_named!(
        cards,
        first_name,
        last_name,
        display_name,
        phone,
        email,
        birthday,
        language,
        time_zone,
        categories,
        points,
        favourite,
        consent,
        subscribe_sms,
        subscribe_email,
        joined_at,
        programmes,
        wallet_passes
    );
    customer.attributes.retain(|name, _| mask.has_attribute(name));
}

fn profile(customer: Customer, rules: &Rules) -> Result<Profile, Fault> {
    name("first_name", &customer.first_name)?;
    name("last_name", &customer.last_name)?;
    name("display_name", &customer.display_name)?;
    let phone = match customer.phone.trim() {
        "" => String::new(),
        given => phone::parse(given, rules.region)?,
    };
    let email = match customer.email.trim() {
        "" => String::new(),
        given => email::parse(given)?.to_owned(),
    };
    birthday(&customer.birthday, rules.newest)?;
    Ok(Profile {
        first_name: customer.first_name,
        last_name: customer.last_name,
        display_name: customer.display_name,
        phone,
        email,
        birthday: customer.birthday,
        cards: labels("cards", &CARD, customer.cards)?,
        attributes: attributes(customer.attributes)?,
        wallet_passes: labels("wallet_passes", &WALLET_PASS, customer.wallet_passes)?,
    })
}

pub(super) fn external_id(id: &str) -> Result<(), Fault> {
    let fault = |reason, message| Err(Fault::new("external_id", reason, message));
    if id.trim().is_empty() {
        return fault("external_id_missing", "is missing; give the organisation's own id");
    }
    if id.chars().count() > ID_LENGTH {
        return fault("external_id_too_long", "is too long; 64 characters are allowed");
    }
    if id.contains(char::is_control) {
        return fault("external_id_invalid", "holds a control character, such as a tab; remove it");
    }
    if id.trim() != id {
        return fault("external_id_invalid", "begins or ends with a blank; remove it");
    }
    Ok(())
}

fn name(field: &'static str, name: &str) -> Result<(), Fault> {
    if name.chars().count() > NAME_LENGTH {
        let message = "is too long; 100 characters are allowed";
        return Err(Fault::new(field, "name_too_long", message));
    }
    if name.contains(char::is_control) {
        let message = "holds a control character or line break; remove it";
        return Err(Fault::new(field, "name_control_character", message));
    }
    Ok(())
}

fn birthday(text: &str, newest: Date) -> Result<(), Fault> {
    let fault = |reason, message| Err(Fault::new("birthday", reason, message));
    if text.is_empty() {
        return Ok(());
    }
    match Birthday::parse(text) {
        Err(DateError::Format) => fault(
            "birthday_bad_format",
            "is not written as YYYY-MM-DD, or --MM-DD without the year; write it so",
        ),
        Err(DateError::Calendar) => {
            fault("birthday_not_a_date", "is no day of the calendar; correct it or leave it empty")
        }
        Ok(Birthday { year: None, .. }) => Ok(()),
        Ok(Birthday { year: Some(year), .. }) if year < OLDEST_YEAR => fault(
            "birthday_too_old",
            "lies before 1900; correct it, or write --MM-DD where the year is not known",
        ),
        Ok(_) if dates::parse(text).is_ok_and(|date| date > newest) => {
            fault("birthday_in_future", "lies in the future; correct it or leave it empty")
        }
        Ok(_) => Ok(()),
    }
}

fn joined_on(text: &str, newest: Date) -> Result<String, Fault> {
    let fault = |reason, message| Err(Fault::new("joined_at", reason, message));
    if text.is_empty() {
        return Ok(String::new());
    }
    match dates::parse(text) {
        Err(_) => fault("joined_at_not_a_date", "is not a date of the form YYYY-MM-DD; correct it"),
        Ok(date) if date > newest => {
            fault("joined_at_in_future", "lies in the future; correct it or leave it empty")
        }
        Ok(_) => Ok(text.to_owned()),
    }
}

/// The shape of RFC 5646 §2.1; whether a subtag is registered is not asked.
fn language(text: &str) -> Result<String, Fault> {
    let mut subtags = text.split('-');
    let primary = subtags.next().unwrap_or_default();
    let is_language = (2..=8).contains(&primary.len())
        && primary.bytes().all(|byte| byte.is_ascii_alphabetic())
        && text.len() <= LANGUAGE_LENGTH
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len())
                && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    if text.is_empty() || is_language {
        return Ok(text.to_owned());
    }
    let message = "is not a language tag (BCP 47); write it as en, en-GB or zh-Hant";
    Err(Fault::new("language", "language_unknown", message))
}

fn time_zone(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Ok(String::new());
    }
    match jiff::tz::TimeZone::get(text) {
        Ok(zone) => Ok(zone.iana_name().unwrap_or(text).to_owned()),
        Err(_) => {
            let message = "is not an IANA time zone; write it as Europe/Amsterdam";
            Err(Fault::new("time_zone", "time_zone_unknown", message))
        }
    }
}

fn points(points: i64) -> Result<i64, Fault> {
    if (-POINTS..=POINTS).contains(&points) {
        return Ok(points);
    }
    let message = "is out of range; -1,000,000,000 to 1,000,000,000 is allowed";
    Err(Fault::new("points", "points_out_of_range", message))
}

fn consent(consent: i32) -> Result<Option<Consent>, Fault> {
    match Consent::try_from(consent) {
        Ok(Consent::Unspecified) => Ok(None),
        Ok(consent) => Ok(Some(consent)),
        Err(_) => {
            let message = "is unknown; given, not_specified or withheld is expected";
            Err(Fault::new("consent", "consent_unknown", message))
        }
    }
}

/// A field that holds several short texts.
struct Labels {
    most: usize,
    longest: usize,
    too_many: &'static str,
    too_long: &'static str,
    invalid: &'static str,
}

const CATEGORY: Labels = Labels {
    most: MOST_CATEGORIES,
    longest: LABEL_LENGTH,
    too_many: "too_many_categories",
    too_long: "category_too_long",
    invalid: "category_invalid",
};
const PROGRAMME: Labels = Labels {
    most: MOST_PROGRAMMES,
    longest: LABEL_LENGTH,
    too_many: "too_many_programmes",
    too_long: "programme_too_long",
    invalid: "programme_invalid",
};
const CARD: Labels = Labels {
    most: MOST_CARDS,
    longest: LABEL_LENGTH,
    too_many: "too_many_cards",
    too_long: "card_too_long",
    invalid: "card_invalid",
};
const WALLET_PASS: Labels = Labels {
    most: MOST_WALLET_PASSES,
    longest: WALLET_PASS_LENGTH,
    too_many: "too_many_wallet_passes",
    too_long: "wallet_pass_too_long",
    invalid: "wallet_pass_invalid",
};

/// Trimmed, each once, in the order given; empty ones are left out.
fn labels(field: &'static str, rule: &Labels, given: Vec<String>) -> Result<Vec<String>, Fault> {
    let mut kept: Vec<String> = Vec::with_capacity(given.len());
    for text in given {
        let text = text.trim();
        if kept.len() > rule.most {
            break;
        }
        if text.chars().count() > rule.longest {
            let message =
                format!("holds one that is too long; {} characters are allowed", rule.longest);
            return Err(Fault::new(field, rule.too_long, message));
        }
        if text.contains(char::is_control) {
            let message = "holds one with a control character; remove it";
            return Err(Fault::new(field, rule.invalid, message));
        }
        if !text.is_empty() && !kept.iter().any(|known| known == text) {
            kept.push(text.to_owned());
        }
    }
    if kept.len() > rule.most {
        let message = format!("holds more than the {} that are allowed", rule.most);
        return Err(Fault::new(field, rule.too_many, message));
    }
    Ok(kept)
}

fn attributes(given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Fault> {
    for (name, value) in &given {
        let is_name = (1..=ATTRIBUTE_NAME_LENGTH).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_name {
            let message = "names must have 1 to 40 letters, digits, - or _; rename it";
            return Err(Fault::new("attributes", "attribute_name_invalid", message));
        }
        let fault =
            |reason, message| Err(Fault::new(format!("attributes.{name}"), reason, message));
        if value.chars().count() > ATTRIBUTE_LENGTH {
            return fault("attribute_too_long", "is too long; 500 characters are allowed");
        }
        if value.contains(|c: char| c.is_control() && c != '\n') {
            return fault("attribute_control_character", "holds a control character; remove it");
        }
    }
    let kept: BTreeMap<_, _> = given.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    too_many_attributes(&kept)?;
    Ok(kept)
}

pub(super) fn too_many_attributes(attributes: &BTreeMap<String, String>) -> Result<(), Fault> {
    if attributes.len() <= MOST_ATTRIBUTES {
        return Ok(());
    }
    let message = "holds more than 50; remove some";
    Err(Fault::new("attributes", "too_many_attributes", message))
}

#[cfg(test)]
mod tests;

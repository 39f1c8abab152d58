//! Which fields of a customer a request sets (AIP-134).

use std::collections::BTreeSet;

use carillon_service_kit::status::FieldError;

/// Fields that a request may set, under the proto's names.
const FIELDS: [&str; 20] = [
    "external_id",
    "cards",
    "first_name",
    "last_name",
    "display_name",
    "phone",
    "email",
    "birthday",
    "language",
    "time_zone",
    "categories",
    "points",
    "favourite",
    "consent",
    "subscribe_sms",
    "subscribe_email",
    "joined_at",
    "attributes",
    "programmes",
    "wallet_passes",
];

const ATTRIBUTE: &str = "attributes.";

/// The fields to set; everything else of a stored customer stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    /// `None`: every field.
    fields: Option<BTreeSet<&'static str>>,
    attributes: BTreeSet<String>,
}

impl Mask {
    /// No paths: every field.
    pub(crate) fn new(paths: &[String]) -> Result<Self, FieldError> {
        if paths.is_empty() {
            return Ok(Self::default());
        }
        let mut fields = BTreeSet::new();
        let mut attributes = BTreeSet::new();
        for path in paths {
            if let Some(name) = path.strip_prefix(ATTRIBUTE) {
                attributes.insert(name.to_owned());
            } else if let Some(field) = FIELDS.iter().find(|field| **field == path) {
                fields.insert(*field);
            } else {
                let shown: String = path.chars().take(64).collect();
                let known = FIELDS.join(", ");
                return Err(FieldError::new(
                    "update_mask",
                    format!("'{shown}' is not a field to set; known: {known}, attributes.<name>"),
                ));
            }
        }
        Ok(Self { fields: Some(fields), attributes })
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.contains(field))
    }

    /// Whether one attribute is set, by its own path or with all of them.
    pub(crate) fn has_attribute(&self, name: &str) -> bool {
        self.has("attributes") || self.attributes.contains(name)
    }

    /// Attributes named one by one.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Result<Mask, FieldError> {
        Mask::new(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_empty_mask_means_every_field() {
        let all = mask(&[]).expect("valid");
        assert!(all.has("phone") && all.has_attribute("city"));
    }

    #[test]
    fn only_what_is_named_is_set() {
        let some = mask(&["phone", "attributes.city"]).expect("valid");
        assert!(some.has("phone") && !some.has("email"));
        assert!(some.has_attribute("city") && !some.has_attribute("shirt"));
    }

    #[test]
    fn a_field_that_cannot_be_set_is_refused_by_name() {
        for path in ["blacklisted", "id", "fone"] {
            let error = mask(&[path]).expect_err("refused");
            assert!(error.description.contains(path), "{error}");
        }
    }
}

use serde_json::{Map, Value};

/// Fields of a thing, by name.
pub type Fields = Map<String, Value>;

/// Of a few names and values.
pub fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What a thing was and what it became: the fields that differ.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    before: Fields,
    after: Fields,
}

impl Change {
    /// A field that is `null`, or not there, has nothing to say.
    pub fn between(mut before: Fields, mut after: Fields) -> Self {
        let same = |name: &String, value: &Value, other: &Fields| match other.get(name) {
            Some(other) => other == value,
            None => value.is_null(),
        };
        let unchanged: Vec<String> = before
            .iter()
            .filter(|(name, value)| same(name, value, &after))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &unchanged {
            before.remove(name);
            after.remove(name);
        }
        before.retain(|_, value| !value.is_null());
        after.retain(|_, value| !value.is_null());
        Self { before, after }
    }

    /// Of something new.
    pub fn to(after: Fields) -> Self {
        Self::between(Fields::new(), after)
    }

    /// Of something that is gone.
    pub fn from(before: Fields) -> Self {
        Self::between(before, Fields::new())
    }

    /// A secret is never told, only what became of it: whether there was one, whether there is one
    /// now, and whether that is another.
    #[must_use]
    pub fn with_secret(mut self, name: &str, was: bool, is: bool, is_another: bool) -> Self {
        let word = match (was, is) {
            (false, true) => "set",
            (true, false) => "removed",
            (true, true) if is_another => "changed",
            _ => return self,
        };
        self.after.insert(name.to_owned(), word.into());
        self
    }

    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    pub(crate) fn before(&self) -> String {
        text(&self.before)
    }

    pub(crate) fn after(&self) -> String {
        text(&self.after)
    }
}

fn text(fields: &Fields) -> String {
    if fields.is_empty() { String::new() } else { Value::Object(fields.clone()).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let before = fields([("name", json!("A")), ("paused", json!(false)), ("gone", json!(1))]);
        let after = fields([("name", json!("B")), ("paused", json!(false)), ("none", Value::Null)]);
        let change = Change::between(before.clone(), after);
        let told: Value = serde_json::from_str(&change.before()).expect("JSON");
        assert_eq!(told, json!({ "name": "A", "gone": 1 }));
        assert_eq!(change.after(), r#"{"name":"B"}"#);
        let same = Change::between(before.clone(), before);
        assert!(same.is_empty() && same.before().is_empty() && same.after().is_empty());
    }

    #[test]
    fn of_a_secret_only_what_became_of_it_is_told() {
        let told = |was, is, is_another| {
            Change::default().with_secret("token", was, is, is_another).after()
        };
        assert_eq!(told(false, true, true), r#"{"token":"set"}"#);
        assert_eq!(told(true, true, true), r#"{"token":"changed"}"#);
        assert_eq!(told(true, false, true), r#"{"token":"removed"}"#);
        assert_eq!(told(true, true, false), "");
        assert_eq!(told(false, false, false), "");
    }
}

//! A client's own keys: under one of them a message is taken once only, whatever its body says.

use std::collections::{HashMap, hash_map::Entry};

#[derive(Default)]
pub(super) struct Keys {
    /// The message that was taken under each.
    taken: HashMap<String, String>,
    /// Of each message, the key of every call.
    called: HashMap<String, Vec<String>>,
    again: usize,
}

impl Keys {
    pub(super) fn called(&mut self, message: String, key: String) {
        self.called.entry(message).or_default().push(key);
    }

    /// The message that was taken under this key before; None where this is the first.
    pub(super) fn take(&mut self, message: &str, key: &str) -> Option<String> {
        match self.taken.entry(key.to_owned()) {
            Entry::Occupied(before) => {
                self.again += 1;
                Some(before.get().clone())
            }
            Entry::Vacant(first) => {
                first.insert(message.to_owned());
                None
            }
        }
    }

    pub(super) fn of_calls(&self) -> HashMap<String, Vec<String>> {
        self.called.clone()
    }

    pub(super) fn again(&self) -> usize {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_the_key_and_not_the_message() {
        let mut keys = Keys::default();
        assert_eq!(keys.take("m1", "k1"), None);
        assert_eq!(keys.take("m1", "k2"), None, "another key is another message");
        assert_eq!(keys.take("m2", "k1").as_deref(), Some("m1"), "the same key is the same one");
        assert_eq!(keys.again(), 1);
    }
}

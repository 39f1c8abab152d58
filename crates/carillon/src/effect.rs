//! Whether a change holds yet: said in the same words wherever something is changed.

use serde_json::{Value, json};

/// The field of a result, where the server says it at all.
pub(crate) fn field(in_effect: Option<bool>) -> Option<(&'static str, Value)> {
    in_effect.map(|in_effect| ("in_effect", json!(in_effect)))
}

/// Says beside the result that a change does not hold everywhere yet.
pub(crate) fn tell(in_effect: Option<bool>) {
    if in_effect == Some(false) {
        note!(
            "stored, not yet in effect: not every service has heard of it; each obeys once it has"
        );
    }
}

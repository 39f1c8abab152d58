//! The id by which a caller makes a call repeatable (AIP-155).

use tonic::Status;

use crate::status::invalid;

const MOST: usize = 100;

/// Whether it can be kept and shown; an empty one is none.
///
/// # Errors
/// Names the rule that it breaks.
pub fn check(id: &str) -> Result<(), Status> {
    let length = id.chars().count();
    if length > MOST {
        let rule = format!("has {length} characters, more than {MOST}; choose a shorter one");
        return Err(invalid("request_id", rule));
    }
    if let Some(at) = id.chars().position(char::is_control) {
        let shown = id.escape_debug();
        let rule =
            format!("'{shown}' has a control character at character {}; take it out", at + 1);
        return Err(invalid("request_id", rule));
    }
    Ok(())
}

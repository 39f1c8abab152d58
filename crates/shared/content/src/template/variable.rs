//! The names a text may use.

use std::fmt;

/// Something of the recipient's that a text can show. `Display` gives the name as it stands between
/// the braces: `UserName`, `attr.city`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variable {
    /// The display name, or else the first name: the caller decides between them.
    UserName,
    FirstName,
    LastName,
    Points,
    Birthday,
    /// The name of the organisation that sends.
    Organisation,
    /// Where the recipient unsubscribes with one click. Made when the message is sent, never
    /// planned: only the sender knows its own address.
    UnsubscribeUrl,
    /// A free attribute of the customer's, `attr.<name>`: 1 to 40 of `A-Z a-z 0-9 _ -`.
    Attribute(String),
}

const NAMED: [Variable; 7] = [
    Variable::UserName,
    Variable::FirstName,
    Variable::LastName,
    Variable::Points,
    Variable::Birthday,
    Variable::Organisation,
    Variable::UnsubscribeUrl,
];

/// Names that are reserved for what this version cannot fill in.
const NOT_AVAILABLE: [&str; 2] = ["CouponCode", "FeedbackUrl"];

pub(super) const ATTRIBUTE_PREFIX: &str = "attr.";
const MAX_ATTRIBUTE_NAME: usize = 40;

impl Variable {
    fn plain_name(&self) -> &str {
        match self {
            Variable::UserName => "UserName",
            Variable::FirstName => "FirstName",
            Variable::LastName => "LastName",
            Variable::Points => "Points",
            Variable::Birthday => "Birthday",
            Variable::Organisation => "Organisation",
            Variable::UnsubscribeUrl => "UnsubscribeUrl",
            Variable::Attribute(name) => name,
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Variable::Attribute(_) = self {
            f.write_str(ATTRIBUTE_PREFIX)?;
        }
        f.write_str(self.plain_name())
    }
}

impl Variable {
    /// The variable of this name, as `Display` writes it.
    pub fn named(name: &str) -> Option<Self> {
        match look_up(name) {
            Named::Variable(variable) => Some(variable),
            _ => None,
        }
    }

    /// Whether the value is known only when the message is sent, so that a plan has none.
    pub fn is_made_at_send(&self) -> bool {
        *self == Variable::UnsubscribeUrl
    }
}

/// What a name between braces turns out to be.
pub(super) enum Named {
    Variable(Variable),
    NotAvailable(&'static str),
    InvalidAttribute,
    Unknown,
}

pub(super) fn look_up(name: &str) -> Named {
    if let Some(attribute) = name.strip_prefix(ATTRIBUTE_PREFIX) {
        return if is_attribute_name(attribute) {
            Named::Variable(Variable::Attribute(attribute.to_owned()))
        } else {
            Named::InvalidAttribute
        };
    }
    if let Some(variable) = NAMED.iter().find(|variable| variable.plain_name() == name) {
        return Named::Variable(variable.clone());
    }
    // Whatever its case: correcting the case of a name only to hear that it is not served helps nobody.
    match NOT_AVAILABLE.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => Named::NotAvailable(known),
        None => Named::Unknown,
    }
}

fn is_attribute_name(name: &str) -> bool {
    (1..=MAX_ATTRIBUTE_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The name that was probably meant: the same but for case, `_` or `-`, or one slip in four
/// characters (two at most).
pub(super) fn nearest(name: &str) -> Option<String> {
    // Longer than any variable can be, and edit distance grows with the length.
    if name.len() > ATTRIBUTE_PREFIX.len() + 2 * MAX_ATTRIBUTE_NAME {
        return None;
    }
    if let Some((head, tail)) = name.split_once('.') {
        let head = head.to_lowercase();
        let close = head.starts_with("attr") || strsim::osa_distance(&head, "attr") <= 1;
        return (close && is_attribute_name(tail)).then(|| format!("{ATTRIBUTE_PREFIX}{tail}"));
    }
    let typed: String = name
        .chars()
        .filter(|character| !matches!(character, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect();
    let slips = (typed.chars().count() / 4).clamp(1, 2);
    NAMED
        .iter()
        .map(|variable| variable.plain_name())
        .map(|known| (strsim::osa_distance(&typed, &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.to_owned())
}

//! Invented customers for tests that need many.

use std::fmt::Write as _;

/// There are no more numbers for fiction that are told apart.
const PHONES: usize = 79_000;

/// Phones come from the North American numbers for fiction, 555-0100 to 555-0199, in as many
/// area codes as it takes; whoever comes late has none.
pub fn phone(n: usize) -> String {
    if n >= PHONES {
        return String::new();
    }
    let area = 200 + n / 100;
    let area = if area % 100 == 11 { 999 - area / 100 } else { area };
    format!("+1{area:03}55501{:02}", n % 100)
}

pub fn email(n: usize) -> String {
    format!("customer.{n}@mail.example.org")
}

/// A file of this many customers, each with both addresses and subscribed to both channels.
pub fn csv(count: usize) -> String {
    let mut csv = String::from(
        "external_id,first_name,phone,email,categories,consent,subscribe_sms,subscribe_email\n",
    );
    for n in 0..count {
        let (phone, email) = (phone(n), email(n));
        let name = ["Zoë", "Ιωάννα", "Łukasz", "王芳", "Amélie"][n % 5];
        let _ = writeln!(csv, "C{n:06},{name},{phone},{email},All,given,true,true");
    }
    csv
}

/// A campaign to all of them, on both channels.
pub const CAMPAIGN: &str = "name: Everyone\n\
    active: true\n\
    audience: { everyone: true }\n\
    schedule: now\n\
    content:\n  \
      sms: { text: \"Hi {UserName|friend}, 25 % off today.\" }\n  \
      email: { subject: \"For you, {FirstName}\", text: \"25 % off today.\" }\n";

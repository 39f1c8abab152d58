//! Texts of a campaign: templates with variables, and the size of an SMS.
//!
//! Pure: no I/O, no clock, no allocation per recipient beyond the output itself. A template is
//! parsed once a batch and rendered once a recipient, into a `String` that the caller reuses:
//!
//! ```
//! use carillon_content::{Escape, Template, Values, Variable, sms};
//!
//! struct Customer { name: String }
//! impl Values for Customer {
//!     fn value(&self, variable: &Variable) -> Option<&str> {
//!         (*variable == Variable::UserName).then_some(self.name.as_str())
//!     }
//! }
//!
//! let template = Template::parse("Hi {UserName|friend}, 25 % off today.")?;
//! let mut text = String::new();
//! for name in ["Zoë", ""] {
//!     text.clear();
//!     template.render_into(&mut text, &Customer { name: name.into() }, Escape::None);
//!     assert!(text == "Hi Zoë, 25 % off today." || text == "Hi friend, 25 % off today.");
//!     assert_eq!(sms::count(&text).parts, 1);
//! }
//! # Ok::<(), carillon_content::TemplateError>(())
//! ```

pub mod sms;
pub mod template;

pub use template::{Escape, Template, TemplateError, Values, Variable};

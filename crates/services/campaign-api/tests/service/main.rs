//! The campaign API on a real database and the in-memory broker.

mod alerts;
mod archiving;
mod audience;
mod auditing;
mod campaigns;
mod halting;
mod keys;
mod looking_ahead;
mod newcomers;
mod operating;
mod organisations;
mod reports;
mod settings;
mod sms_settings;
mod smtp_tests;
mod starting;
mod templates;
mod tenants;
mod test_sends;
mod unsubscribing;
mod world;

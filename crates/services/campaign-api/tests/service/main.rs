//! The campaign API on a real database and the in-memory broker.

mod audience;
mod campaigns;
mod looking_ahead;
mod organisations;
mod reports;
mod starting;
mod world;

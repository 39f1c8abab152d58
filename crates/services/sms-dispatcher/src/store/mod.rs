//! Every statement of this service's own; the others are those of `dispatch`.

mod gateways;
mod health;
mod migration;
mod replies;
mod smsc;

pub(crate) use gateways::{
    UsedGateway, forget_gateways_of_all_organisations, note_used_gateways, used_gateways,
};
pub(crate) use health::{
    forget_gateways_but, gateway_came_up, gateway_went_down, gateways_down_of_all_organisations,
    kinds_down, return_probe, take_probe,
};
pub use migration::Migrator;
pub(crate) use replies::{forget_replies_of_all_organisations, note_reply};
pub(crate) use smsc::{Accepted, Key, SmscStore, Told};

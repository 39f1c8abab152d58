//! The service on a real database and an in-memory broker, called through its gRPC clients.

mod activities;
mod audiences;
mod concurrency;
mod consents;
mod customers;
mod examples;
mod personal_data;
mod plans;
mod releases;
mod tenants;
mod world;

//! The service on a real database and broker of the test's own, called through its gRPC clients.

mod activities;
mod audiences;
mod auditing;
mod concurrency;
mod consents;
mod customers;
mod dispatchers;
mod examples;
mod halts;
mod overtaken;
mod personal_data;
mod plans;
mod releases;
mod replicas;
mod replies;
mod suppressions;
mod tenants;
mod world;

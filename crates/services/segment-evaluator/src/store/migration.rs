//! The tables.

mod customers;
mod plans;

use carillon_outbox::{AddDocuments, CreateOutbox};
use carillon_service_kit::database::run_migration;
use carillon_tenancy::{CreateTenancy, NameKeys};
use sea_orm_migration::prelude::*;

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(CreateOutbox),
            Box::new(CreateTenancy),
            Box::new(NameKeys),
            Box::new(CreateCustomers),
            Box::new(CreatePlans),
            Box::new(AddDocuments),
        ]
    }
}

struct CreateCustomers;

impl MigrationName for CreateCustomers {
    fn name(&self) -> &str {
        "m0100_create_customers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateCustomers {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, customers::TABLES).await
    }
}

struct CreatePlans;

impl MigrationName for CreatePlans {
    fn name(&self) -> &str {
        "m0101_create_plans"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreatePlans {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_migration(manager, plans::TABLES).await
    }
}

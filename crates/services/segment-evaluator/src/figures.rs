//! Figures: how much waits here, for operators.

use carillon_contracts::ops::v1::Backlog;
use carillon_operator::backlog;
use sea_orm::DbErr;

use crate::{Evaluator, store};

impl Evaluator {
    /// `plans` under way, `batches_waiting` for a place, `batches_released` and not accepted, and
    /// `batches_parked`; of all organisations. A parked batch needs an operator: no dispatcher has
    /// said a word of it although it was released five times.
    pub(crate) async fn backlogs(&self) -> Result<Vec<Backlog>, DbErr> {
        let figures = store::figures_of_all_organisations(self.database.reader()).await?;
        let wire = |figure: store::Figure| {
            backlog(figure.stage, figure.count, figure.oldest, figure.detail)
        };
        Ok(figures.into_iter().map(wire).collect())
    }
}

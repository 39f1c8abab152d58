use carillon_contracts::{
    ids::{CustomerId, pack_customers},
    jobs::v1::Channel,
    vocabulary::ChannelWord as _,
};
use carillon_service_kit::database::Sql;
use sea_orm::{DatabaseTransaction, DbErr};

use super::runs::RunKey;

/// Whom one step of a plan skipped for one reason.
pub(crate) struct Skips<'a> {
    pub step: u32,
    pub channel: Channel,
    pub reason: &'a str,
    pub customers: Vec<CustomerId>,
}

/// Step, channel and reason.
pub(crate) type SkipsKey = (i64, String, String);

impl Skips<'_> {
    /// Told again, a step changes nothing.
    pub(crate) async fn insert(self, tx: &DatabaseTransaction, run: RunKey) -> Result<(), DbErr> {
        let count = i64::try_from(self.customers.len()).unwrap_or(i64::MAX);
        tx.run(
            "INSERT INTO report_skips (run, step, channel, reason, count, customer_ids)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            [
                run.into(),
                self.step.into(),
                self.channel.word().into(),
                self.reason.into(),
                count.into(),
                pack_customers(self.customers).to_vec().into(),
            ],
        )
        .await
        .map(|_| ())
    }
}

/// Packed customers by step, channel and reason, from a place on or just after it.
pub(crate) async fn skips_from(
    connection: &impl Sql,
    run: RunKey,
    (step, channel, reason): &SkipsKey,
    inclusive: bool,
    limit: usize,
) -> Result<Vec<(SkipsKey, Vec<u8>)>, DbErr> {
    let from = if inclusive { ">=" } else { ">" };
    let sql = format!(
        "SELECT step, channel, reason, customer_ids FROM report_skips
         WHERE run = $1 AND (step, channel, reason) {from} ($2, $3, $4)
         ORDER BY step, channel, reason LIMIT $5"
    );
    let values = [
        run.into(),
        (*step).into(),
        channel.as_str().into(),
        reason.as_str().into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    let rows = connection.rows(&sql, values).await?;
    rows.iter()
        .map(|row| {
            let key =
                (row.try_get("", "step")?, row.try_get("", "channel")?, row.try_get("", "reason")?);
            Ok((key, row.try_get("", "customer_ids")?))
        })
        .collect()
}

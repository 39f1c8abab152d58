//! Workers: their epochs and heartbeats, and who is declared dead. No clock is compared: a beat is
//! a counter that moves, or stands still.

use carillon_service_kit::database::Sql as _;
use sea_orm::DbErr;

use super::Store;

/// A worker's counter as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beats {
    pub epoch: i64,
    pub beats: i64,
}

impl Store {
    pub(crate) async fn begin_epoch(&self) -> Result<i64, DbErr> {
        let now_ms = self.clock.now_ms();
        let tx = self.database.begin().await?;
        let row = tx
            .row("INSERT INTO workers (started_at) VALUES ($1) RETURNING epoch", [now_ms.into()])
            .await?
            .ok_or(DbErr::RecordNotInserted)?;
        let epoch: i64 = row.try_get_by_index(0)?;
        tx.run("INSERT INTO heartbeats (epoch, beats) VALUES ($1, 0)", [epoch.into()]).await?;
        tx.commit().await?;
        Ok(epoch)
    }

    /// Answers whether the epoch still lives. Reads it after the counter's row is locked, so that
    /// a beat and a declaration of death come one after the other.
    pub(crate) async fn beat(&self, epoch: i64) -> Result<bool, DbErr> {
        let tx = self.database.begin().await?;
        let counted = tx
            .run("UPDATE heartbeats SET beats = beats + 1 WHERE epoch = $1", [epoch.into()])
            .await?;
        let lives = "SELECT 1 FROM workers WHERE epoch = $1 AND NOT dead";
        let lives = tx.row(lives, [epoch.into()]).await?.is_some();
        tx.commit().await?;
        Ok(lives && counted.rows_affected() > 0)
    }

    /// The counters of all that count as living.
    pub(crate) async fn beats_of_all_workers(&self) -> Result<Vec<Beats>, DbErr> {
        let sql = "SELECT h.epoch, h.beats FROM heartbeats h
                   JOIN workers w ON w.epoch = h.epoch WHERE NOT w.dead";
        let rows = self.database.reader().rows(sql, []).await?;
        rows.iter()
            .map(|row| {
                Ok(Beats { epoch: row.try_get_by_index(0)?, beats: row.try_get_by_index(1)? })
            })
            .collect()
    }

    /// Only if the counter is still the one that was seen. Waits for claims under way, and none
    /// begins afterwards.
    pub(crate) async fn declare_dead(&self, seen: Beats) -> Result<bool, DbErr> {
        let tx = self.database.begin().await?;
        let sql = "SELECT 1 FROM heartbeats WHERE epoch = $1 AND beats = $2 FOR UPDATE";
        let still = tx.row(sql, [seen.epoch.into(), seen.beats.into()]).await?.is_some();
        if still {
            tx.run("UPDATE workers SET dead = TRUE WHERE epoch = $1", [seen.epoch.into()]).await?;
        }
        tx.commit().await?;
        Ok(still)
    }

    /// With the data folder locked by this process, no other worker can be alive.
    pub(crate) async fn declare_all_dead(&self) -> Result<(), DbErr> {
        let tx = self.database.begin().await?;
        tx.run("UPDATE workers SET dead = TRUE WHERE NOT dead", []).await?;
        tx.commit().await
    }
}

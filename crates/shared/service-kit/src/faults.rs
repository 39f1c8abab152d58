//! Named points at which a drill ends the process as kill -9 does, holds it up, or loses an answer.
//! They are there with the feature `failpoints`, which `tests/faults` alone asks for.

use sea_orm::{DatabaseTransaction, DbErr};

/// A drill may end the process here, or hold it up.
#[cfg_attr(not(feature = "failpoints"), allow(unused_variables))]
pub fn point(name: &str) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name, |_| std::process::abort());
}

/// The same where a drill may also hold up what is under way (`return(milliseconds)`), and nobody else
/// who shares the thread.
#[cfg_attr(not(feature = "failpoints"), allow(unused_variables, clippy::unused_async))]
pub async fn point_under_way(name: &str) {
    #[cfg(feature = "failpoints")]
    if let Some(time) = held_up(name) {
        tokio::time::sleep(time).await;
    }
}

#[cfg(feature = "failpoints")]
fn held_up(name: &str) -> Option<std::time::Duration> {
    fail::fail_point!(name, |millis| match millis.and_then(|millis| millis.parse().ok()) {
        Some(millis) => Some(std::time::Duration::from_millis(millis)),
        None => std::process::abort(),
    });
    None
}

/// Commits what a drill may cut off before (`name.before`) and after (`name.after`), or whose answer
/// it may lose (`name.answer`).
#[cfg_attr(not(feature = "failpoints"), allow(unused_variables))]
pub async fn commit(tx: DatabaseTransaction, name: &str) -> Result<(), DbErr> {
    #[cfg(feature = "failpoints")]
    point(&format!("{name}.before"));
    tx.commit().await?;
    #[cfg(feature = "failpoints")]
    {
        point(&format!("{name}.after"));
        fail::fail_point!(&format!("{name}.answer"), |_| {
            tracing::warn!("the answer to {name} is lost");
            Err(DbErr::Conn(sea_orm::RuntimeErr::Internal("the answer was lost".into())))
        });
    }
    Ok(())
}

//! Named points at which a drill ends the process as kill -9 does, holds it up, or loses an answer.
//! They are there with the feature `failpoints`, which `tests/faults` alone asks for.

use sea_orm::{DatabaseTransaction, DbErr};

/// A drill may end the process here, or hold it up.
#[cfg_attr(not(feature = "failpoints"), allow(unused_variables))]
pub fn point(name: &str) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name, |_| std::process::abort());
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
        fail::fail_point!(&format!("{name}.answer"), |_| Err(DbErr::Conn(
            sea_orm::RuntimeErr::Internal("the answer was lost".into())
        )));
    }
    Ok(())
}

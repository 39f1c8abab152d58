//! The words of a statement, in each database's own where they differ.

use sea_orm::DbBackend;

/// A trailing `FOR UPDATE …`, `FOR NO KEY UPDATE …` or `FOR SHARE` is PostgreSQL's alone: an SQLite
/// transaction that writes is the only one there is.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    sqlite: &'a str,
    postgres: &'a str,
}

/// For where the two databases need other words.
pub const fn differs<'a>(sqlite: &'a str, postgres: &'a str) -> Text<'a> {
    Text { sqlite, postgres }
}

/// For where both read the same words and a constant is wanted.
pub const fn same(both: &str) -> Text<'_> {
    differs(both, both)
}

impl<'a> Text<'a> {
    /// For a statement that has this one inside.
    pub const fn sqlite(self) -> &'a str {
        self.sqlite
    }

    pub const fn postgres(self) -> &'a str {
        self.postgres
    }

    pub(super) fn of(self, backend: DbBackend) -> &'a str {
        match backend {
            DbBackend::Postgres => self.postgres,
            _ => without_lock(self.sqlite),
        }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(both: &'a str) -> Self {
        same(both)
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(both: &'a String) -> Self {
        Self::from(both.as_str())
    }
}

fn without_lock(sql: &str) -> &str {
    let clauses = ["FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE"];
    let lock = clauses.iter().filter_map(|clause| sql.rfind(clause)).max();
    lock.map_or(sql, |at| &sql[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_asked_for_where_there_is_one() {
        let sql = Text::from("SELECT 1 FROM t WHERE id = $1 FOR UPDATE SKIP LOCKED");
        assert!(sql.of(DbBackend::Postgres).ends_with("SKIP LOCKED"));
        assert_eq!(sql.of(DbBackend::Sqlite), "SELECT 1 FROM t WHERE id = $1 ");
    }

    #[test]
    fn each_database_reads_its_own_words() {
        let sql = differs("MIN(a, b)", "LEAST(a, b)");
        assert_eq!(sql.of(DbBackend::Sqlite), "MIN(a, b)");
        assert_eq!(sql.of(DbBackend::Postgres), "LEAST(a, b)");
    }
}

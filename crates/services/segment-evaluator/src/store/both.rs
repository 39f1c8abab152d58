//! One statement in the words of both databases.

use carillon_service_kit::database::{Text, differs};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Both {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

pub(super) const fn both(sqlite: &'static str, postgres: &'static str) -> Both {
    Both { sqlite, postgres }
}

pub(super) const fn same(sql: &'static str) -> Both {
    Both { sqlite: sql, postgres: sql }
}

impl From<Both> for Text<'static> {
    fn from(both: Both) -> Self {
        differs(both.sqlite, both.postgres)
    }
}

/// A statement that asks for the members of a list: what stands before, up to the column, what the
/// list holds and its parameter, and what follows. `texts`, `numbers`, `binary` (hexadecimal digits)
/// or `ids` (likewise). PostgreSQL is given an array, so that it looks each member up by the index
/// even where it knows nothing yet of the table's size.
macro_rules! listed {
    ($before:expr, texts $list:literal, $after:expr) => {
        $crate::store::both::listed!(@ $before, "value", "v", $list, $after)
    };
    ($before:expr, numbers $list:literal, $after:expr) => {
        $crate::store::both::listed!(@ $before, "value", "v::bigint", $list, $after)
    };
    ($before:expr, binary $list:literal, $after:expr) => {
        $crate::store::both::listed!(@ $before, "unhex(value)", "decode(v, 'hex')", $list, $after)
    };
    ($before:expr, ids $list:literal, $after:expr) => {
        $crate::store::both::listed!(@ $before, "unhex(value)", "v::uuid", $list, $after)
    };
    (@ $before:expr, $sqlite:literal, $postgres:literal, $list:literal, $after:expr) => {
        $crate::store::both::both(
            concat!($before, " IN (SELECT ", $sqlite, " FROM json_each(", $list, "))", $after),
            concat!(
                $before,
                " = ANY(ARRAY(SELECT ",
                $postgres,
                " FROM jsonb_array_elements_text(",
                $list,
                "::jsonb) AS l(v)))",
                $after
            ),
        )
    };
}

pub(super) use listed;

//! Statements that ask for the members of a list.

/// A statement that asks for the members of a list: what stands before, up to the column, what the
/// list holds and its parameter, and what follows. `texts`, `numbers`, `binary` (hexadecimal digits)
/// or `ids` (likewise). PostgreSQL is given an array, so that it looks each member up by the index
/// even where it knows nothing yet of the table's size.
macro_rules! listed {
    ($before:expr, texts $list:literal, $after:expr) => {
        $crate::store::listed::listed!(@ $before, "value", "v", $list, $after)
    };
    ($before:expr, numbers $list:literal, $after:expr) => {
        $crate::store::listed::listed!(@ $before, "value", "v::bigint", $list, $after)
    };
    ($before:expr, binary $list:literal, $after:expr) => {
        $crate::store::listed::listed!(@ $before, "unhex(value)", "decode(v, 'hex')", $list, $after)
    };
    ($before:expr, ids $list:literal, $after:expr) => {
        $crate::store::listed::listed!(@ $before, "unhex(value)", "v::uuid", $list, $after)
    };
    (@ $before:expr, $sqlite:literal, $postgres:literal, $list:literal, $after:expr) => {
        carillon_service_kit::database::differs(
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

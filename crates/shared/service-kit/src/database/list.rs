//! Many values as one parameter: a JSON array, which both databases read. Ids are 32 hexadecimal
//! digits, for SQLite's `unhex` and PostgreSQL's `uuid`.

use std::fmt::{Display, Write as _};

use uuid::Uuid;

pub fn ids(ids: impl IntoIterator<Item = Uuid>) -> String {
    array(ids, |list, id| write!(list, "\"{}\"", id.simple()))
}

pub fn numbers(numbers: impl IntoIterator<Item = impl Display>) -> String {
    array(numbers, |list, number| write!(list, "{number}"))
}

fn array<T>(
    values: impl IntoIterator<Item = T>,
    add: impl Fn(&mut String, T) -> std::fmt::Result,
) -> String {
    let mut list = String::from("[");
    for value in values {
        if list.len() > 1 {
            list.push(',');
        }
        // A string takes whatever is written into it.
        let _ = add(&mut list, value);
    }
    list.push(']');
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_json() {
        assert_eq!(numbers([1, -2]), "[1,-2]");
        assert_eq!(numbers([0_i64; 0]), "[]");
        let nil = "00000000000000000000000000000000";
        assert_eq!(ids([Uuid::nil(), Uuid::nil()]), format!("[\"{nil}\",\"{nil}\"]"));
    }
}

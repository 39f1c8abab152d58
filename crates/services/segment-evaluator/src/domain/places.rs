//! How many batches of a lane may be out: it opens as fast as work flows.

/// What "recently" means, in milliseconds.
pub(crate) const RECENT_MS: i64 = 10_000;

const FEWEST: i64 = 2;
const MOST: i64 = 32;

/// Free places, from those held and those given up recently.
pub(crate) fn room(held: i64, given_up_recently: i64) -> i64 {
    let places = FEWEST.saturating_add(given_up_recently).min(MOST);
    (places - held).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_open_as_work_flows_and_no_further_than_32() {
        assert_eq!(room(0, 0), 2);
        assert_eq!(room(2, 0), 0);
        assert_eq!(room(1, 2), 3);
        assert_eq!(room(0, 1_000), 32);
        assert_eq!(room(40, 0), 0);
    }
}

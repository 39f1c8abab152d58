//! Goes through a list page by page (AIP-158), up to a limit.

const PAGE: u64 = 1_000;

pub struct Pages {
    left: u64,
    /// Of the next page; none after the last.
    token: Option<String>,
}

impl Pages {
    pub fn new(limit: Option<u64>) -> Self {
        Self { left: limit.unwrap_or(u64::MAX), token: Some(String::new()) }
    }

    /// The size and the token of the page to ask for, until there is none or all are there.
    pub fn ask(&mut self) -> Option<(i32, String)> {
        let token = self.token.take().filter(|_| self.left > 0)?;
        Some((i32::try_from(self.left.min(PAGE)).unwrap_or(i32::MAX), token))
    }

    /// What of a page is within the limit.
    pub fn cut<T>(&mut self, mut items: Vec<T>, next_page_token: String) -> Vec<T> {
        items.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= items.len() as u64;
        self.token = Some(next_page_token).filter(|token| !token.is_empty());
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_with_the_last_or_at_the_limit() {
        let mut pages = Pages::new(None);
        assert_eq!(pages.ask(), Some((1_000, String::new())));
        assert_eq!(pages.cut(vec![1, 2], "next".into()), [1, 2]);
        assert_eq!(pages.ask(), Some((1_000, "next".into())));
        assert_eq!(pages.cut(vec![3], String::new()), [3]);
        assert_eq!(pages.ask(), None);
        let mut pages = Pages::new(Some(2));
        assert_eq!(pages.ask(), Some((2, String::new())));
        assert_eq!(pages.cut(vec![1, 2, 3], "next".into()), [1, 2]);
        assert_eq!(pages.ask(), None);
    }
}

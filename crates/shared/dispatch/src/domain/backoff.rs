//! When a message is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Exponential with jitter: `spread` in 0..1 moves it between half and the whole of the step.
/// A provider's own word is honoured.
pub(crate) fn wait(attempt: u32, retry_after: Option<Duration>, spread: f64) -> Duration {
    let step = FIRST.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(16)));
    let jittered = step.min(LONGEST).mul_f64(0.5 + spread.clamp(0.0, 1.0) / 2.0);
    jittered.max(retry_after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_the_longest() {
        let waits: Vec<Duration> = (1..40).map(|attempt| wait(attempt, None, 1.0)).collect();
        assert_eq!(waits[0], FIRST);
        assert!(waits.is_sorted());
        assert_eq!(waits[38], LONGEST);
    }

    #[test]
    fn a_provider_may_ask_for_longer_but_not_for_shorter() {
        let asked = Duration::from_secs(90);
        assert_eq!(wait(1, Some(asked), 0.0), asked);
        assert_eq!(wait(1, Some(Duration::ZERO), 0.0), FIRST / 2);
    }
}

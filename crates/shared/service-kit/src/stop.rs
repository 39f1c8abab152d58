//! Stopping: told once, heard everywhere, and awaited with a limit.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between a task's failure and its next beginning.
const REST: Duration = Duration::from_secs(1);

/// Of a grace, for recording what the last calls came to.
const RECORDING: Duration = Duration::from_secs(1);

/// The longest that a call which cannot be taken back may be waited for in a stop: all of the grace
/// but a second for recording what it came to, and half of a grace that is shorter than two.
pub fn longest_call(grace: Duration) -> Duration {
    grace.saturating_sub(RECORDING).max(grace / 2)
}

/// Hands out the word to stop, and knows the tasks that must end after it.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    grace: Option<Duration>,
    begun: Arc<OnceLock<Instant>>,
    tasks: TaskTracker,
    /// How many of each name run.
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    /// A stop that is a hard one once it has taken `grace`.
    pub fn within(grace: Duration) -> Self {
        Self { grace: Some(grace), ..Self::default() }
    }

    /// How long a stop may take; `None` where nobody set a limit.
    pub fn grace(&self) -> Option<Duration> {
        self.grace
    }

    /// Tells everyone to stop. Saying it again changes nothing.
    pub fn now(&self) {
        self.begun.get_or_init(Instant::now);
        self.token.cancel();
    }

    /// Ends when a stop has waited for calls as long as it may: see `longest_call`. Never where
    /// nobody set a limit.
    pub async fn calls_over(&self) {
        self.requested().await;
        match (self.grace, self.begun.get()) {
            (Some(grace), Some(begun)) => {
                tokio::time::sleep_until(*begun + longest_call(grace)).await;
            }
            _ => std::future::pending().await,
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when stopping begins.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Sleeps, but not past the word to stop. Answers whether to go on.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.token.cancelled() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }

    /// Runs a task that `drained` waits for. One that fails is logged and stops the process's
    /// other tasks too: a service that lost a part must not look alive.
    pub fn spawn<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let stop = self.clone();
        *self.lock().entry(name).or_default() += 1;
        let guarded = async move {
            let outcome = tokio::spawn(task).await;
            if let Some(count) = stop.lock().get_mut(name) {
                *count -= 1;
            }
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(task = name, %error, "a task failed; stopping");
                    stop.now();
                }
                Err(error) => {
                    tracing::error!(task = name, %error, "a task panicked; stopping");
                    stop.now();
                }
            }
        };
        self.tasks.spawn(guarded);
    }

    /// Runs a task that outlives its errors: one that fails is logged, and begun again after a
    /// rest, until stopping. For loops that hold nothing which a fresh start would lose.
    pub fn keep<F, E>(&self, name: &'static str, task: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let stop = self.clone();
        self.spawn(name, async move {
            while let Err(error) = task().await {
                tracing::error!(task = name, %error, "a task failed; beginning again");
                if !stop.sleep(REST).await {
                    break;
                }
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tasks that have not ended, by name, such as "3 delivery".
    pub fn running(&self) -> Vec<String> {
        let running = self.lock();
        let left = running.iter().filter(|(_, count)| **count > 0);
        left.map(|(name, count)| format!("{count} {name}")).collect()
    }

    /// Whether nothing runs any more but tasks of this name.
    pub fn left_to(&self, name: &str) -> bool {
        self.lock().iter().all(|(task, count)| *count == 0 || *task == name)
    }

    /// Waits until every task has ended, `limit` at most. Answers whether they did.
    pub async fn drained(&self, limit: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_grace_leaves_a_second_to_record_and_a_short_one_half_of_itself() {
        assert_eq!(longest_call(25 * S), 24 * S);
        assert_eq!(longest_call(2 * S), S);
        assert_eq!(longest_call(S), S / 2);
        assert_eq!(longest_call(Duration::ZERO), Duration::ZERO);
    }

    #[tokio::test]
    async fn calls_are_over_a_while_after_the_word_and_never_before_it() {
        let stop = Stop::within(Duration::from_millis(200));
        assert!(stop.calls_over().now_or_never().is_none());
        stop.now();
        stop.calls_over().await;
        let unlimited = Stop::new();
        unlimited.now();
        assert!(unlimited.calls_over().now_or_never().is_none());
    }
}

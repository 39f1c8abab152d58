//! Stopping: told once, heard everywhere, and awaited with a limit.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between a task's failure and its next beginning.
const REST: Duration = Duration::from_secs(1);

/// Hands out the word to stop, and knows the tasks that must end after it.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    tasks: TaskTracker,
    /// How many of each name run.
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everyone to stop. Saying it again changes nothing.
    pub fn now(&self) {
        self.token.cancel();
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

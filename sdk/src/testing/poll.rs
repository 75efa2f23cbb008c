//! Waiting for a condition. Time never decides whether a test passes: the deadline only ends one that has failed.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

/// How long a condition may take. Generous: it is reached only by a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut left = 3;
/// let answer = archipelago::testing::poll::until("the third question", || {
///     left -= 1;
///     async move { (left == 0).then_some("here") }
/// });
/// assert_eq!(answer.await, "here");
/// # }
/// ```
///
/// # Panics
/// After [`PATIENCE`]; says what was waited for. It is an assertion: [`within`] is the question without one.
#[allow(clippy::panic, reason = "an assertion for tests")]
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    match within(PATIENCE, ask).await {
        Some(found) => found,
        None => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// As [`until`], with a limit of its own and without panic: `None` when there was no answer in time.
///
/// Asks at least once. A question under way at the limit is waited for.
pub async fn within<T, F: Future<Output = Option<T>>>(limit: Duration, mut ask: impl FnMut() -> F) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return Some(found);
        }
        if start.elapsed() >= limit {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

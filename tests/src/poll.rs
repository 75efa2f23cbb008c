//! Waiting for a condition. Time never decides whether a test passes: the deadline only ends one that has failed.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

/// How long a condition may take. Generous: it is reached only by a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
///
/// # Panics
/// After [`PATIENCE`]; says what was waited for.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    match within(PATIENCE, ask).await {
        Some(found) => found,
        None => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// As [`until`], with a limit of its own and without panic.
pub async fn within<T, F: Future<Output = Option<T>>>(limit: Duration, mut ask: impl FnMut() -> F) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = ask().await {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

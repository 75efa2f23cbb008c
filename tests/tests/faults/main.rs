//! Faults on real servers: killed, restarted, restored, promoted and flushed regions, cut links, dead drivers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod counting;
mod drivers;
mod hanging;
mod lost_state;
mod promotion;
mod scripts;
mod starting;

use archipelago::Client;
use archipelago::testing::poll;

/// What a counter shows at each client.
pub async fn shown(clients: &[Client], name: &'static str) -> Vec<i64> {
    let mut shown = Vec::new();
    for client in clients {
        shown.push(client.counter(name).get().await.expect("a reading"));
    }
    shown
}

/// Adds, again and again while the region certainly did not take it.
///
/// Reads first: a connection whose server has died gives the same error for what was sent and what was not.
pub async fn add(client: &Client, name: &'static str, amount: i64) -> i64 {
    poll::until("the region answers", || async { client.counter(name).get().await.ok() }).await;
    poll::until("the region takes an increment", || async {
        match client.counter(name).add(amount).await {
            Ok(sum) => Some(sum),
            Err(error) if error.is_maybe_applied() => panic!("maybe applied: {error}"),
            Err(_) => None,
        }
    })
    .await
}

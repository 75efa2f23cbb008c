//! Jitter and slow calls for ten minutes: no failover, and no node is given up.

use std::time::Duration;

use archipelago::{
    Event,
    testing::proxy::{Direction, Shape, Slow},
};
use futures_util::StreamExt;
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    report::{self, quantile},
    traffic::Traffic,
    world::{Way, World},
};

#[derive(clap::Args)]
pub struct Options {
    /// Seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Calls a second. Answers on one connection stay in order, so behind a slow one all others wait: many more calls
    /// than this, and most of them are slow.
    #[arg(long, default_value_t = 10)]
    rate: u64,
    /// Milliseconds of a slow call.
    #[arg(long, default_value_t = 400)]
    slow_ms: u64,
}

pub async fn run(options: &Options, is_json: bool) {
    let world = World::start().await;
    let slow = Slow { percent: 1.0, delay: Duration::from_millis(options.slow_ms) };
    // 20 ms more or less 20 ms.
    let shape = Shape { jitter: Duration::from_millis(40), slow: Some(slow), ..Shape::default() };
    world.proxies.iter().for_each(|proxy| proxy.shape(Direction::ToClient, shape));
    let (client, connection) = world.client(Way::Proxied).await;
    let mut events = client.events();
    let traffic = Traffic::start(&connection, options.rate);
    let progress = ProgressBar::new(options.seconds);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut failovers = Vec::new();
    while progress.position() < options.seconds {
        tokio::select! {
            _ = second.tick() => progress.inc(1),
            event = events.next() => {
                let event = event.unwrap();
                if matches!(event, Event::NodeDown { .. } | Event::Switched { .. }) {
                    failovers.push(format!("after {} s: {event}", progress.position()));
                }
            }
        }
    }
    progress.finish_and_clear();
    let calls = traffic.stop().await;
    client.shut_down().await;
    let failed = calls.iter().filter(|call| call.error.is_some()).count();
    let took = |share| quantile(calls.iter().filter(|call| call.write.is_none()).map(|call| call.took), share) * 1e3;
    let mut table = report::table(["calls", "failed", "read p50", "read p99", "slowest read", "false failovers"]);
    let row = [took(0.5), took(0.99), took(1.0)].map(|took| format!("{took:.1} ms"));
    let [p50, p99, slowest] = row;
    table.add_row([calls.len().to_string(), failed.to_string(), p50, p99, slowest, failovers.len().to_string()]);
    let figures = json!({ "calls": calls.len(), "failed": failed, "read_p50_ms": took(0.5), "read_p99_ms": took(0.99),
        "slowest_read_ms": took(1.0), "false_failovers": failovers });
    report::print(&table, &json!({ "calm": figures }), is_json);
    if !is_json {
        failovers.iter().for_each(|failover| println!("{failover}"));
    }
}

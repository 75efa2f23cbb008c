//! How many cells a second a link applies.

use std::time::{Duration, Instant};

use archipelago::{Client, config::HistoryCheck};

use crate::server::{config, start};

const CELLS: usize = 200_000;

pub async fn run() {
    let (here, there) = (start().await, start().await);
    let config = config(&[("here", here.url()), ("there", there.url())], 1, HistoryCheck::Exact);
    let client = Client::builder().config(config).local_region("here").without_sync().build().await.unwrap();
    // The first exchange resyncs; what is measured is the log.
    client.sync_until_idle(Duration::from_secs(10)).await.unwrap();
    for (what, distinct) in [("new counters", CELLS), ("known counters", CELLS), ("50 hot counters", 50)] {
        for chunk in 0..CELLS / 1000 {
            let mut batch = client.batch();
            for i in 0..1000 {
                batch = batch.add(&client.counter(format!("c:{}", (chunk * 1000 + i) % distinct)), 1);
            }
            assert!(batch.execute().await.iter().all(Result::is_ok));
        }
        let began = Instant::now();
        client.sync_until_idle(Duration::from_secs(120)).await.unwrap();
        let took = began.elapsed();
        println!(
            "\nLink, {CELLS} writes of {what}: {:.2} s, {:.0} cells/s",
            took.as_secs_f64(),
            CELLS as f64 / took.as_secs_f64()
        );
    }
    client.shut_down().await;
}

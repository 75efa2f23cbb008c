//! How long a write takes to be seen in another region, 40 ms away, at 1,000 writes a second.

use std::time::{Duration, Instant};

use archipelago::{Client, config::HistoryCheck, testing::proxy::ChaosProxy};
use hdrhistogram::Histogram;

use crate::{
    measure::seconds,
    server::{config, start},
};

const ONE_WAY: Duration = Duration::from_millis(40);

pub async fn run() {
    let (here, there) = (start().await, start().await);
    let far = ChaosProxy::before(there.address()).await.unwrap();
    far.delay(ONE_WAY, ONE_WAY);
    // The driver stands in the origin's region: it reads there locally and sends over the wide way.
    let urls = [("here", here.url()), ("there", far.url())];
    let driver =
        Client::builder().config(config(&urls, 1, HistoryCheck::Exact)).local_region("here").build().await.unwrap();
    let watcher = crate::server::client_of("there", &there, 1, HistoryCheck::Exact).await;
    driver.wait_converged(Duration::from_secs(30)).await.unwrap();

    let began = Instant::now();
    let length = seconds() * 2;
    let writer = {
        let driver = driver.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            let mut number = 0u64;
            while began.elapsed() < length {
                ticks.tick().await;
                let (driver, number_now) = (driver.clone(), number);
                number += 1;
                tokio::spawn(async move {
                    // Each key is written once; its value says when the write was acknowledged to have begun.
                    let name = format!("lag:{number_now}");
                    let sent = began.elapsed().as_micros() as u64;
                    driver.register::<u64>(name).set(&sent).await.unwrap();
                });
            }
            number
        })
    };
    // The keys come in order, more or less: a few watchers poll the next ones.
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    let mut next = 0u64;
    let mut end = None;
    let mut writer = writer;
    while end.is_none_or(|end| next < end) {
        match watcher.register::<u64>(format!("lag:{next}")).get().await.unwrap() {
            Some(sent) => {
                histogram.record(began.elapsed().as_micros() as u64 - sent).unwrap();
                next += 1;
            }
            None if end.is_none() && writer.is_finished() => end = Some((&mut writer).await.unwrap()),
            None => tokio::time::sleep(Duration::from_micros(100)).await,
        }
    }
    println!(
        "\nLag over a link with {} ms one way, {:.0} writes/s: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} writes)",
        ONE_WAY.as_millis(),
        next as f64 / length.as_secs_f64(),
        histogram.value_at_quantile(0.5) as f64 / 1000.0,
        histogram.value_at_quantile(0.99) as f64 / 1000.0,
        histogram.max() as f64 / 1000.0,
        histogram.len(),
    );
    driver.shut_down().await;
    watcher.shut_down().await;
}

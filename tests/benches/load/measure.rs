//! Measuring: throughput and latency of a call made by many tasks.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

/// What was measured of one call.
pub struct Figures {
    pub per_second: f64,
    pub p50: Duration,
}

pub fn seconds() -> Duration {
    let seconds = std::env::var("LOAD_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2.0);
    Duration::from_secs_f64(seconds)
}

/// Calls `call(task, turn)` from so many tasks for a while.
pub async fn measure<F, Fut>(tasks: usize, call: F) -> Figures
where
    F: Fn(usize, usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let call = Arc::new(call);
    let run = |length: Duration| {
        let call = call.clone();
        async move {
            let began = Instant::now();
            let handles: Vec<_> = (0..tasks)
                .map(|task| {
                    let call = call.clone();
                    tokio::spawn(async move {
                        let mut histogram = Histogram::<u64>::new(3).unwrap();
                        let mut turn = 0;
                        while began.elapsed() < length {
                            let start = Instant::now();
                            call(task, turn).await;
                            histogram.record(start.elapsed().as_nanos() as u64).unwrap();
                            turn += 1;
                        }
                        histogram
                    })
                })
                .collect();
            let mut all = Histogram::<u64>::new(3).unwrap();
            for handle in handles {
                all.add(handle.await.unwrap()).unwrap();
            }
            Figures {
                per_second: all.len() as f64 / began.elapsed().as_secs_f64(),
                p50: Duration::from_nanos(all.value_at_quantile(0.5)),
            }
        }
    };
    run(seconds() / 4).await;
    run(seconds()).await
}

pub fn heading(title: &str) {
    println!("\n{title}");
    println!(
        "{:<44} {:>12} {:>12} {:>7} {:>10} {:>10} {:>7}",
        "", "raw/s", "client/s", "ratio", "raw p50", "client p50", "ratio"
    );
}

pub fn row(what: &str, raw: &Figures, client: &Figures) {
    println!(
        "{what:<44} {:>12.0} {:>12.0} {:>7.2} {:>10} {:>10} {:>7.2}",
        raw.per_second,
        client.per_second,
        client.per_second / raw.per_second,
        format!("{:.1}us", raw.p50.as_secs_f64() * 1e6),
        format!("{:.1}us", client.p50.as_secs_f64() * 1e6),
        client.p50.as_secs_f64() / raw.p50.as_secs_f64(),
    );
}

//! Measuring: throughput and latency of a call made by many tasks.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

/// What was measured of one call.
#[derive(Clone, Copy)]
pub struct Figures {
    pub per_second: f64,
    pub p50: Duration,
}

/// Rounds of a comparison. The sides take turns, so that what else the machine does meets both.
const ROUNDS: u32 = 11;

pub fn seconds() -> Duration {
    let seconds = std::env::var("LOAD_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3.0);
    Duration::from_secs_f64(seconds)
}

/// Both sides of one row, round by round.
pub struct Comparison {
    rounds: Vec<(Figures, Figures)>,
}

impl Comparison {
    /// Each call was so many.
    pub fn of_many(mut self, count: usize) -> Self {
        for (raw, client) in &mut self.rounds {
            raw.per_second *= count as f64;
            client.per_second *= count as f64;
        }
        self
    }

    fn median(&self, of: impl Fn(&Figures, &Figures) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(|(raw, client)| of(raw, client)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

/// Calls `raw(task, turn)` and `client(task, turn)` from so many tasks, in turns of a fraction of a second.
pub async fn compare<F, G, Raw, Typed>(tasks: usize, raw: F, client: G) -> Comparison
where
    F: Fn(usize, usize) -> Raw + Send + Sync + 'static,
    G: Fn(usize, usize) -> Typed + Send + Sync + 'static,
    Raw: Future<Output = ()> + Send,
    Typed: Future<Output = ()> + Send,
{
    let (raw, client) = (Arc::new(raw), Arc::new(client));
    let length = seconds() / ROUNDS;
    // The first turn of each warms up.
    measure(tasks, length, raw.clone()).await;
    measure(tasks, length, client.clone()).await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((measure(tasks, length, raw.clone()).await, measure(tasks, length, client.clone()).await));
    }
    Comparison { rounds }
}

async fn measure<F, Fut>(tasks: usize, length: Duration, call: Arc<F>) -> Figures
where
    F: Fn(usize, usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
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

pub fn heading(title: &str) {
    println!("\n{title}");
    println!(
        "{:<44} {:>12} {:>12} {:>7} {:>10} {:>10} {:>7}",
        "", "raw/s", "client/s", "ratio", "raw p50", "client p50", "ratio"
    );
}

/// Medians over the rounds; the ratios are medians of the rounds' ratios.
pub fn row(what: &str, comparison: &Comparison) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!(
        "{what:<44} {:>12.0} {:>12.0} {:>7.2} {:>10} {:>10} {:>7.2}",
        comparison.median(|raw, _| raw.per_second),
        comparison.median(|_, client| client.per_second),
        comparison.median(|raw, client| client.per_second / raw.per_second),
        format!("{:.1}us", comparison.median(|raw, _| micros(raw.p50))),
        format!("{:.1}us", comparison.median(|_, client| micros(client.p50))),
        comparison.median(|raw, client| micros(client.p50) / micros(raw.p50)),
    );
}

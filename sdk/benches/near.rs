//! What a hit of the near cache costs, beside a bare `moka` get of the same value by the same key, in one run on one core.
//!
//! Seen on two shared cores, in both of two runs, without optimisation across crates:
//!
//! | | p50 | of moka's |
//! |---|---|---|
//! | moka `get` | 171 ns, 5.9 million/s | |
//! | `cached()` | 44 ns, 22.8 million/s | 0.26 |
//! | `get().await` | 54 ns, 18.4 million/s | 0.32 |
//! | `get().await`, the first by its handle | 363 ns, 2.8 million/s | 2.1 |
//!
//! A handle that was read within the last tenth of a second need not look into the cache; the first look of a new one is
//! such a look, and what it remembers for the next.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark stops at what it does not expect"
)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use archipelago::{Client, Embedded, config::NearConfig};
use bytes::Bytes;

/// Keys that are read in turn.
const KEYS: usize = 1_000;

/// Reads of one sample: reading the clock costs as much as one.
const BATCH: usize = 100;

/// Samples of one side before it is the other's turn.
const SAMPLES: usize = 2_000;

const ROUNDS: usize = 20;

/// Nanoseconds for each read.
async fn measure(samples: &mut Vec<f64>, mut read: impl AsyncFnMut(usize)) {
    let mut at = 0;
    for _ in 0..SAMPLES {
        let began = Instant::now();
        for _ in 0..BATCH {
            read(at).await;
            at = (at + 1) % KEYS;
        }
        samples.push(began.elapsed().as_nanos() as f64 / BATCH as f64);
    }
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let regions = Embedded::builder().region("eu").build().unwrap();
    let hour = NearConfig { ttl: Duration::from_secs(3600), ..NearConfig::default() };
    let client = Client::builder().embedded(&regions).near_cache("default", hour).build().await.unwrap();
    let near = client.near("default").unwrap();
    let bare = moka::sync::Cache::builder()
        .max_capacity(64 << 20)
        .weigher(|key: &Bytes, value: &Arc<String>| u32::try_from(key.len() + value.len()).unwrap())
        .time_to_live(Duration::from_secs(3600))
        .build();
    let (mut values, mut keys, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..KEYS {
        let (name, text) = (format!("user:{n}:profile"), format!("{n:0>100}"));
        client.register::<String>(name.clone()).set(&text).await.unwrap();
        let value = near.register::<String>(name.clone());
        value.get().await.unwrap();
        values.push(value);
        let key = Bytes::from(format!("{{default:{}}}:string:{name}", n % 16));
        bare.insert(key.clone(), Arc::new(text));
        keys.push(key);
        names.push(name);
    }
    let (mut by_moka, mut by_cached, mut by_get, mut by_first) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        measure(&mut by_moka, async |n| drop(black_box(bare.get(&keys[n]).unwrap()))).await;
        measure(&mut by_cached, async |n| drop(black_box(values[n].cached().unwrap()))).await;
        measure(&mut by_get, async |n| drop(black_box(values[n].get().await.unwrap()))).await;
        for _ in 0..SAMPLES / (KEYS / BATCH) {
            let values: Vec<_> = names.iter().map(|name| near.register::<String>(name.clone())).collect();
            for batch in values.chunks(BATCH) {
                let began = Instant::now();
                for value in batch {
                    drop(black_box(value.get().await.unwrap()));
                }
                by_first.push(began.elapsed().as_nanos() as f64 / BATCH as f64);
            }
        }
    }
    let stats = near.stats();
    assert_eq!(stats.misses, KEYS as u64, "only the first read of each key went to the region");
    let moka = median(&mut by_moka);
    println!("{:<24} {moka:>6.0} ns p50   {:>5.1} million/s", "moka get", 1e3 / moka);
    for (name, samples) in [
        ("near cached()", &mut by_cached),
        ("near get().await", &mut by_get),
        ("the first by its handle", &mut by_first),
    ] {
        let near = median(samples);
        println!("{name:<24} {near:>6.0} ns p50   {:>5.1} million/s   {:.2} of moka's", 1e3 / near, near / moka);
    }
    client.shut_down().await;
}

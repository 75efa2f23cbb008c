//! A history checker: readers race a writer, and nobody reads what was there before a change that the cache was told of.
//!
//! `ARCHIPELAGO_NEAR_READS=1000000` for its long form, at least so many reads and a hundredth as many writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use archipelago::testing::poll;

use crate::{Site, held, tracked};

fn reads() -> u64 {
    std::env::var("ARCHIPELAGO_NEAR_READS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

pub async fn no_read_gives_what_was_there_before_a_change_that_was_told(site: Site) {
    const READERS: u64 = 4;
    let near = site.near.register::<u64>("k");
    tracked(&site.near).await;
    site.writer.register::<u64>("k").set(&1).await.unwrap();
    poll::until("the first value", || async { (near.get().await.unwrap().as_deref() == Some(&1)).then_some(()) }).await;
    held(&near).await;
    let (floor, is_over) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
    let writer = tokio::spawn({
        let (floor, is_over, stats) = (floor.clone(), is_over.clone(), site.near.clone());
        let written = site.writer.register::<u64>("k");
        async move {
            let (mut n, mut delays) = (1, Vec::new());
            while !is_over.load(Ordering::Acquire) {
                n += 1;
                let before = stats.stats().invalidations;
                written.set(&n).await.unwrap();
                let acknowledged = Instant::now();
                // Only this key changes: one more word of the server's is about this write.
                while stats.stats().invalidations == before {
                    assert!(acknowledged.elapsed() < poll::PATIENCE, "no word of write {n}");
                    tokio::task::yield_now().await;
                }
                delays.push(acknowledged.elapsed());
                floor.store(n, Ordering::Release);
            }
            (n, delays)
        }
    });
    let readers = (0..READERS).map(|_| {
        let (near, floor) = (near.clone(), floor.clone());
        tokio::spawn(async move {
            let mut read = 0;
            // A read takes nanoseconds, a write a round trip: so many reads alone would race hardly any writes.
            while read < reads() / READERS || floor.load(Ordering::Acquire) < reads() / 100 {
                read += 1;
                let least = floor.load(Ordering::Acquire);
                let seen = *near.get().await.unwrap().unwrap();
                assert!(seen >= least, "read {read} gave {seen}, and the cache had been told of {least} before");
                if read % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let mut failed = None;
    for reader in readers {
        failed = failed.or(reader.await.err());
    }
    is_over.store(true, Ordering::Release);
    let (writes, mut delays) = writer.await.unwrap();
    delays.sort();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize].max(Duration::from_nanos(1));
    let stats = site.near.stats();
    println!(
        "{writes} writes, {} hits, {} misses, {} raced; told after the acknowledgement: p50 {:?}, p99 {:?}",
        stats.hits,
        stats.misses,
        stats.stale,
        at(0.5),
        at(0.99)
    );
    assert!(failed.is_none(), "{failed:?}");
    site.end().await;
}

//! Joins and the codec: what a region pays for each write of another.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no API, and stops at what it does not expect")]

use std::hint::black_box;

use archipelago_engine::{
    Amount, Batch, Body, Cells, Cursor, Delta, Entry, Incarnation, Key, Kind, Mutation, Origin, Partition, Version,
    codec,
};
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const START: u64 = 1_790_000_000_000_000;

fn now(i: u64) -> Version {
    Version::from_micros(START + i)
}

fn region(name: &str, incarnation: u64) -> Partition {
    let mut partition = Partition::new(name.parse().unwrap());
    partition.open("server", Incarnation::new(incarnation), 0, now(0));
    partition
}

/// Cells of one counter as written by this many regions.
fn counter_of(regions: u64) -> Cells {
    let mut cells = Cells::default();
    for i in 0..regions {
        let own = Origin::new(format!("region-{i}").parse().unwrap(), Incarnation::new(i));
        cells.add(&own, now(i), 1.0);
    }
    cells
}

fn write(partition: &mut Partition, i: u64) {
    let key = Key::new(Kind::String, format!("page:{}", i % 100));
    let mutation = Mutation::Add { member: Bytes::new(), amount: Amount::Integer(1) };
    partition.mutate("server", now(i), &key, &mutation).unwrap();
}

fn absorb(deltas: &mut Vec<Delta>, delta: Delta) {
    match deltas.iter_mut().find(|d| d.key == delta.key) {
        Some(present) => present.absorb(&delta),
        None => deltas.push(delta),
    }
}

/// A peer that has completed a resync, and a batch of this many entries behind it, as a driver sends it.
fn peer_and_batch(entries: u64) -> (Partition, Batch) {
    let (mut a, mut b) = (region("a", 1), region("b", 2));
    let plan = a.begin_resync("server", now(0), None).unwrap();
    b.start_resync("server", &plan).unwrap();
    b.complete_resync("server", &plan).unwrap();
    let at = Cursor { incarnation: Incarnation::new(1), number: plan.number, id: plan.id };
    for i in 1..=entries {
        write(&mut a, i);
    }
    let slice = a.log_after("server", at.id, usize::MAX).unwrap();
    let mut deltas = Vec::new();
    let mut last = (at.number, at.id, at.id);
    for raw in &slice.entries {
        let entry = codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap();
        last = (entry.number, raw.id, entry.last());
        if let Body::Data(delta) = entry.body {
            absorb(&mut deltas, delta);
        }
    }
    let (to, id, applied) = last;
    let origin = slice.origin;
    (b, Batch { origin, from: at.number, to, id, applied, epoch: 1, deltas, vector: None, aside: Vec::new() })
}

fn cells(c: &mut Criterion) {
    let mut group = c.benchmark_group("join of cells");
    for regions in [1, 3, 8] {
        let (old, new) = (counter_of(regions), {
            let mut cells = counter_of(regions);
            cells.add(&Origin::new("region-0".parse().unwrap(), Incarnation::new(0)), now(99), 1.0);
            cells
        });
        group.bench_with_input(BenchmarkId::from_parameter(regions), &regions, |b, _| {
            b.iter_batched_ref(
                || old.clone(),
                |ours| {
                    for (origin, cell) in new.iter() {
                        black_box(ours.join(origin, cell));
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn coding(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let stored = counter_of(3);
    let bytes = codec::encode_stored(7, &stored);
    group.bench_function("encode stored", |b| b.iter(|| codec::encode_stored(7, black_box(&stored))));
    group.bench_function("decode stored", |b| b.iter(|| codec::decode_stored(black_box(&bytes)).unwrap()));
    let mut a = region("a", 1);
    write(&mut a, 1);
    let slice = a.log_after("server", Version::ZERO, usize::MAX).unwrap();
    let (origin, raw) = (slice.origin.clone(), slice.entries.last().unwrap().clone());
    let entry: Entry = codec::decode_entry(&origin, raw.id, &raw.bytes).unwrap();
    group.bench_function("encode entry", |b| b.iter(|| codec::encode_entry(&origin, black_box(&entry))));
    group.bench_function("decode entry", |b| {
        b.iter(|| codec::decode_entry(&origin, raw.id, black_box(&raw.bytes)).unwrap());
    });
    group.finish();
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("join of a batch");
    for entries in [1, 20, 200] {
        let (peer, batch) = peer_and_batch(entries);
        group.throughput(Throughput::Elements(entries));
        group.bench_with_input(BenchmarkId::from_parameter(entries), &batch, |b, batch| {
            b.iter_batched_ref(
                || peer.clone(),
                |peer| black_box(peer.join("server", now(1000), 60_000_000, batch)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, cells, coding, batches);
criterion_main!(benches);

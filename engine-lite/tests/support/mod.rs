//! What the tests share: a world of regions with links, resyncs and faults, held against the slow obvious model.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its own part")]

mod claims;
mod entries;
mod lists;
mod rng;
mod stock;
mod world;
mod write;

pub use rng::Rng;
pub use stock::Ledger;
pub use world::{By, Readers, World, cells_of};

use std::ops::Range;

use archipelago_engine::{Batch, Body, Cursor, Delta, Key, Kind, LogSlice, SetAside, Version, codec};

/// A clock that reads as today.
pub const START: u64 = 1_790_000_000_000_000;

pub fn v(micros: u64) -> Version {
    Version::from_micros(START + micros)
}

pub fn string(name: &str) -> Key {
    Key::new(Kind::String, name.to_owned())
}

/// What a driver does with a piece of a log: one batch, same-key deltas joined. `None`: the piece does not follow `at`.
pub fn batch(slice: &LogSlice, at: Cursor) -> Option<Batch> {
    batch_with(slice, at, |_| true)
}

/// The same by a driver that cannot decode some entries.
pub fn batch_with(slice: &LogSlice, at: Cursor, decodes: impl Fn(u64) -> bool) -> Option<Batch> {
    let mut batch = Batch {
        origin: slice.origin.clone(),
        from: at.number,
        to: at.number,
        id: at.id,
        applied: at.id,
        epoch: slice.epoch,
        deltas: Vec::new(),
        vector: None,
        aside: Vec::new(),
    };
    if at.incarnation != slice.origin.incarnation || (slice.entries.is_empty() && slice.end > at.number) {
        return None;
    }
    for raw in &slice.entries {
        let number = codec::peek_number(&raw.bytes).unwrap();
        if number != batch.to + 1 {
            return None;
        }
        batch.to = number;
        batch.id = raw.id;
        batch.applied = raw.id;
        if !decodes(number) {
            batch.aside.push(SetAside { id: raw.id, bytes: raw.bytes.clone() });
            continue;
        }
        let entry = codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap();
        batch.applied = entry.last();
        match entry.body {
            Body::Data(delta) => absorb(&mut batch.deltas, delta),
            Body::Vector { applied, .. } => batch.vector = Some(applied),
        }
    }
    Some(batch)
}

fn absorb(deltas: &mut Vec<Delta>, delta: Delta) {
    match deltas.iter_mut().find(|d| d.key == delta.key) {
        Some(present) => present.absorb(&delta),
        None => deltas.push(delta),
    }
}

/// The seeds to run: `FIRST..LAST` from the environment, or the default.
pub fn seeds(variable: &str, default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var(variable) else { return default };
    let (first, last) = text.split_once("..").expect("FIRST..LAST");
    first.parse().unwrap()..last.parse().unwrap()
}

/// Runs a body, and names the seed if it fails.
pub fn named<T>(seed: u64, body: impl FnOnce() -> T) -> T {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(cause) => {
            eprintln!("failed with seed {seed}");
            std::panic::resume_unwind(cause)
        }
    }
}

//! Random changes of a stock: few ids, so that many calls are repeated, and few units, so that many fall short.

use archipelago::engine::{CallId, Key, Origin, StockChange};
use archipelago_tests::random::Rng;

use crate::pair::Pair;

/// So long that nothing runs out: Redis reads its clock for that apart from the id of the entry.
const LONG: u64 = 4_000_000_000;

const UNITS: [u64; 9] = [1, 2, 3, 5, 8, 13, 1 << 40, (1 << 40) + 1, 0];

fn units(rng: &mut Rng) -> u64 {
    if rng.one_in(12) { *rng.pick(&UNITS) } else { 1 + rng.below(8) as u64 }
}

fn id(rng: &mut Rng) -> CallId {
    let n = rng.below(60);
    if n == 0 { "a/b:%d\"~".parse().unwrap() } else { format!("call-{n}").parse().unwrap() }
}

/// A random change of a stock at one of the regions.
pub fn change(rng: &mut Rng, pairs: &[Pair], at: usize, key: &Key) -> StockChange {
    let origin = |pair: &Pair| pair.partition.origin().unwrap();
    match rng.below(16) {
        0..=2 => StockChange::Restock { id: id(rng), units: units(rng) },
        3..=6 => StockChange::Take { id: id(rng), units: units(rng), partial: rng.one_in(2), hold: None },
        7 | 8 => StockChange::Take { id: id(rng), units: units(rng), partial: rng.one_in(2), hold: Some(LONG) },
        9 | 10 => StockChange::GiveBack { id: id(rng), units: units(rng) },
        11 | 12 => {
            let to = if rng.one_in(6) { "mars/00000000000000ff".parse().unwrap() } else { origin(rng.pick(pairs)) };
            StockChange::Transfer { to, units: units(rng), partial: rng.one_in(2) }
        }
        13 | 14 => ended(rng, pairs, at, key).unwrap_or(StockChange::Tidy),
        _ => StockChange::Tidy,
    }
}

/// A confirmation or release, now and then of what another region or incarnation set aside.
fn ended(rng: &mut Rng, pairs: &[Pair], at: usize, key: &Key) -> Option<StockChange> {
    let of = if rng.one_in(5) { rng.pick(pairs) } else { &pairs[at] };
    let of_key: Vec<_> = of.reserved.iter().filter(|(other, _)| other == key).map(|(_, token)| token).collect();
    if of_key.is_empty() {
        return None;
    }
    let mut reservation = (*rng.pick(&of_key)).clone();
    if rng.one_in(8) {
        let region = reservation.origin.region;
        reservation.origin = Origin::new(region, "00000000000000ff".parse().unwrap());
    }
    Some(if rng.one_in(2) { StockChange::Confirm(reservation) } else { StockChange::Release(reservation) })
}

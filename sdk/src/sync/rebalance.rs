//! Rebalancing: rights to stock move in the background to where units are taken, so that few takes have to ask for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    config::defaults,
    store::{Excerpt, Store, StoreError, Write},
};
use archipelago_engine::{Books, Key, Mutation, RegionId, StockChange};

/// Stocks read in one go.
const PAGE: usize = 100;

/// Stocks whose takes are remembered from look to look; more are looked at and left where they are.
const REMEMBERED: usize = 10_000;

/// The lease under which a region's rights are given away, so that of many processes one looks.
const LEASE: &str = "stock";

/// What a region has of a stock, and what it took since the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    rights: u64,
    taken: u64,
}

/// What each region had taken of each stock at the last look.
type Taken = BTreeMap<Key, BTreeMap<RegionId, u64>>;

/// Gives away rights of one region for ever.
pub(super) async fn rebalance(
    giver: Arc<dyn Store>,
    stores: BTreeMap<RegionId, Arc<dyn Store>>,
    every: Duration,
    holder: String,
) {
    let mut taken = Taken::new();
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = look(&giver, &stores, every, &holder, &mut taken).await {
            tracing::debug!(region = %giver.region(), %error, "rebalancing interrupted");
        }
    }
}

async fn look(
    giver: &Arc<dyn Store>,
    stores: &BTreeMap<RegionId, Arc<dyn Store>>,
    every: Duration,
    holder: &str,
    taken: &mut Taken,
) -> Result<(), StoreError> {
    // Two at once would do no harm: they would only move rights to and fro.
    if !giver.take_lease(LEASE, holder, defaults::LEASE.max(every * 2)).await? {
        taken.clear();
        return Ok(());
    }
    let mut seen = BTreeSet::new();
    for partition in 0..giver.partitions() {
        let mut after = None;
        loop {
            let keys = giver.stocks(partition, after.as_ref(), PAGE).await?;
            let Some(last) = keys.last() else { break };
            after = Some(last.name.clone());
            for key in keys {
                give(giver, stores, partition, &key, taken).await?;
                seen.insert(key);
            }
        }
    }
    taken.retain(|key, _| seen.contains(key));
    Ok(())
}

/// Gives away what this region has too much of one stock.
async fn give(
    giver: &Arc<dyn Store>,
    stores: &BTreeMap<RegionId, Arc<dyn Store>>,
    partition: u16,
    key: &Key,
    taken: &mut Taken,
) -> Result<(), StoreError> {
    let (state, _) = giver.cells_and_stand(&Excerpt::whole(key.clone())).await?;
    let books = Books::of(&state);
    let now: BTreeMap<RegionId, u64> = stores.keys().map(|region| (region.clone(), spent(&books, region))).collect();
    let before = taken.get(key).cloned();
    if before.is_some() || taken.len() < REMEMBERED {
        taken.insert(key.clone(), now.clone());
    }
    let Some(before) = before else { return Ok(()) };
    let shares = now.iter().map(|(region, now)| {
        let taken = now.saturating_sub(before.get(region).copied().unwrap_or_default());
        (region.clone(), Share { rights: books.rights_of_region(region), taken })
    });
    let Some((to, units)) = gift(giver.region(), &shares.collect()) else { return Ok(()) };
    let Some(receiver) = stores.get(&to) else { return Ok(()) };
    // Asked there: rights that go to an incarnation which has ended may be frozen with it.
    let Ok(standing) = receiver.standing(partition).await else { return Ok(()) };
    tracing::debug!(stock = %String::from_utf8_lossy(&key.name), from = %giver.region(), %to, units, "rights move");
    let transfer = StockChange::Transfer { to: standing.origin, units, partial: true };
    giver.write(&Write { key: key.clone(), mutation: Mutation::Stock(transfer), exclusive: false }).await.map(drop)
}

/// What a region has taken in all its incarnations.
fn spent(books: &Books, region: &RegionId) -> u64 {
    books.origins().filter(|origin| origin.region == *region).map(|origin| books.spent(origin)).sum()
}

/// To whom a region gives how many of its rights: to the one that lacks most of its share.
///
/// A region's share follows what it took lately; some is left to those that took nothing, so that a first buyer finds a
/// unit. At most half of the rights move at once, and nothing moves for little: what one look sees is no trend.
fn gift(giver: &RegionId, shares: &BTreeMap<RegionId, Share>) -> Option<(RegionId, u64)> {
    let rights: u64 = shares.values().map(|share| share.rights).sum();
    let taken: u64 = shares.values().map(|share| share.taken).sum();
    if taken == 0 {
        return None;
    }
    let regions = shares.len() as u64;
    let least = (taken / (4 * regions.max(1))).max(1);
    let weights = u128::from(taken + least * regions);
    let due = |share: &Share| {
        let part = u128::from(rights) * u128::from(share.taken + least) / weights.max(1);
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    let own = shares.get(giver)?;
    let surplus = own.rights.saturating_sub(due(own)).min(own.rights / 2);
    let others = shares.iter().filter(|(region, _)| *region != giver);
    let lacks = others.map(|(region, share)| (due(share).saturating_sub(share.rights), region));
    let (lack, region) = lacks.max()?;
    let units = surplus.min(lack);
    (units >= (rights / 20).max(1)).then(|| (region.clone(), units))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn gift_of(giver: &str, shares: &[(&str, u64, u64)]) -> Option<(String, u64)> {
        let share = |&(region, rights, taken): &(&str, u64, u64)| (region.parse().unwrap(), Share { rights, taken });
        let shares = shares.iter().map(share).collect();
        gift(&giver.parse().unwrap(), &shares).map(|(region, units)| (region.to_string(), units))
    }

    #[test]
    fn rights_go_to_where_units_are_taken() {
        assert_eq!(gift_of("a", &[("a", 100, 0), ("b", 0, 10), ("c", 0, 2)]), Some(("b".into(), 50)));
        assert_eq!(gift_of("b", &[("a", 100, 0), ("b", 0, 10), ("c", 0, 2)]), None, "who lacks gives nothing");
        assert_eq!(gift_of("a", &[("a", 50, 50), ("b", 50, 50)]), None, "nobody lacks anything");
        assert_eq!(gift_of("a", &[("a", 100, 0), ("b", 0, 0)]), None, "nobody takes anything");
    }

    #[test]
    fn rights_do_not_wander_for_little() {
        assert_eq!(gift_of("a", &[("a", 52, 10), ("b", 48, 10)]), None);
        assert_eq!(gift_of("a", &[("a", 1, 0), ("b", 0, 1)]), None, "the last unit is not halved");
    }

    #[test]
    fn gifts_come_to_rest() {
        let (mut a, mut b) = (1_000, 0);
        for _ in 0..20 {
            for (giver, from, to) in [("a", 0, 1), ("b", 1, 0)] {
                if let Some((_, units)) = gift_of(giver, &[("a", a, 3), ("b", b, 30)]) {
                    let mut both = [a, b];
                    both[from] -= units;
                    both[to] += units;
                    [a, b] = both;
                }
            }
        }
        assert!(b > 700 && gift_of("a", &[("a", a, 3), ("b", b, 30)]).is_none(), "{a} and {b}");
    }
}

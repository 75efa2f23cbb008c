//! Stock for operators: who has which rights, and what a region that lost data may reclaim.

use std::{collections::BTreeSet, fmt};

use archipelago_engine::{Books, Key, Kind, Mutation, Origin, Outcome, StockChange, StockOutcome};
use bytes::Bytes;
use serde::Serialize;

use crate::{
    client::Keyspace,
    error::{Error, ErrorKind},
    keyspace::partition_of,
    store::{Excerpt, Store, StoreError, Write},
};

/// Stocks read in one go.
const PAGE: usize = 100;

/// What one region knows of a stock. Displays as lines of text; serialises for tools.
#[derive(Clone, Debug, Serialize)]
pub struct StockReport {
    /// The region that was asked.
    pub region: String,
    /// The stock's name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Units left in all regions.
    pub left: u64,
    /// Units taken that did not come back; what is reserved is among them.
    pub taken: u64,
    /// Units that this region may take by itself.
    pub rights: u64,
    /// Units that its ended incarnations had a right to, and nobody may take before they are reclaimed.
    pub frozen: u64,
    /// Who has which rights.
    pub origins: Vec<OriginReport>,
}

/// The rights of one origin.
#[derive(Clone, Debug, Serialize)]
pub struct OriginReport {
    /// Region and incarnation.
    pub origin: String,
    /// Whether it is its region's current one, as far as the asked region knows.
    pub is_current: bool,
    /// Units that it has a right to. None also where it spent rights that it inherited.
    pub rights: u64,
    /// Units that it took in all its time, whatever came back.
    pub taken: u64,
}

/// What a region's ended incarnations had a right to. Displays as lines of text; serialises for tools.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Frozen {
    /// The region.
    pub region: String,
    /// The stocks with such rights.
    pub stocks: Vec<FrozenStock>,
}

/// The frozen rights of one stock.
#[derive(Clone, Debug, Serialize)]
pub struct FrozenStock {
    /// Its name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// How many units.
    pub units: u64,
}

impl fmt::Display for StockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, name, left, taken, rights, frozen, origins } = self;
        writeln!(f, "{name}, as {region} knows it: {left} left, {taken} taken")?;
        writeln!(f, "{region} may take {rights} by itself; {frozen} frozen")?;
        for OriginReport { origin, is_current, rights, taken } in origins {
            let state = if *is_current { "current" } else { "ended" };
            writeln!(f, "  {origin}  {state}  rights {rights}, took {taken}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stocks.is_empty() {
            return writeln!(f, "{}: nothing is frozen", self.region);
        }
        self.stocks.iter().try_for_each(|FrozenStock { name, units }| writeln!(f, "{}: {units} of {name}", self.region))
    }
}

pub(crate) async fn report(keyspace: &Keyspace, name: Bytes) -> Result<StockReport, Error> {
    let store = keyspace.store.as_ref();
    let key = Key::new(Kind::Stock, name);
    let (state, standing) =
        store.cells_and_stand(&Excerpt::whole(key.clone())).await.map_err(|error| of_read(error, store))?;
    let books = Books::of(&state);
    let rights = if state.fields.is_empty() { 0 } else { rights(store, &key).await? };
    let origins = books.origins().map(|origin| OriginReport {
        origin: origin.to_string(),
        is_current: standing.current(&origin.region) == Some(origin.incarnation),
        rights: books.rights([origin]),
        taken: books.spent(origin),
    });
    Ok(StockReport {
        region: store.region().to_string(),
        name: lossy(&key.name),
        left: books.left(),
        taken: books.taken(),
        rights,
        frozen: books.rights_of_region(store.region()).saturating_sub(rights),
        origins: origins.collect(),
    })
}

pub(crate) async fn frozen(keyspace: &Keyspace) -> Result<Frozen, Error> {
    let store = keyspace.store.as_ref();
    let mut frozen = Frozen { region: store.region().to_string(), stocks: Vec::new() };
    for key in stocks(store).await? {
        let report = report(keyspace, key.name).await?;
        if report.frozen > 0 {
            frozen.stocks.push(FrozenStock { name: report.name, units: report.frozen });
        }
    }
    Ok(frozen)
}

pub(crate) async fn reclaim(keyspace: &Keyspace, alone: bool) -> Result<Frozen, Error> {
    let store = keyspace.store.as_ref();
    for partition in 0..store.partitions() {
        check_heard_of(keyspace, partition, alone).await?;
    }
    let frozen = frozen(keyspace).await?;
    let partitions: BTreeSet<u16> =
        stocks(store).await?.iter().map(|key| partition_of(&key.name, store.partitions())).collect();
    for partition in partitions {
        store.reclaim(partition).await.map_err(|error| Error::of_write(error, store.region()))?;
    }
    Ok(frozen)
}

/// Whether this region holds all that the others hold of its own ended incarnations: what they sold, above all.
async fn check_heard_of(keyspace: &Keyspace, partition: u16, alone: bool) -> Result<(), Error> {
    let store = keyspace.store.as_ref();
    let here = store.standing(partition).await.map_err(|error| of_read(error, store))?;
    let is_ended = |origin: &&Origin| origin.region == here.origin.region && **origin != here.origin;
    for (region, peer) in keyspace.island.stores.iter().filter(|(region, _)| *region != store.region()) {
        let there = match peer.standing(partition).await {
            Ok(there) => there,
            Err(_) if alone => continue,
            Err(error) => {
                let why = Error::of_read(error, region);
                let text = format!("{region} may know of sales that were lost here, and cannot be asked: {why}");
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
        };
        let ended = there.applied.keys().chain(there.seen.keys()).filter(is_ended);
        if let Some(origin) = ended.into_iter().find(|origin| here.held(origin) < there.held(origin)) {
            let text =
                format!("{region} knows more of {origin}: let the links carry it here first (`archipelago sync`)");
            return Err(Error::new(ErrorKind::Refused, text));
        }
    }
    Ok(())
}

/// What the region may take by itself.
async fn rights(store: &dyn Store, key: &Key) -> Result<u64, Error> {
    let mutation = Mutation::Stock(StockChange::Tidy);
    let write = Write { key: key.clone(), mutation, exclusive: false };
    match store.write(&write).await.map_err(|error| of_read(error, store))? {
        Outcome::Stock(StockOutcome::Done { units, .. }) => Ok(units),
        other => Err(Error::new(ErrorKind::Protocol, format!("unexpected answer {other:?}"))),
    }
}

async fn stocks(store: &dyn Store) -> Result<Vec<Key>, Error> {
    let mut all = Vec::new();
    for partition in 0..store.partitions() {
        let mut after = None;
        loop {
            let keys = store.stocks(partition, after.as_ref(), PAGE).await.map_err(|error| of_read(error, store))?;
            let Some(last) = keys.last() else { break };
            after = Some(last.name.clone());
            all.extend(keys);
        }
    }
    Ok(all)
}

fn of_read(error: StoreError, store: &dyn Store) -> Error {
    Error::of_read(error, store.region())
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

//! Stock: one script for every change of it, always with the exact history check.

use archipelago_engine::{
    Books, Incarnation, Key, Kind, Mutation, MutationError, Origin, StockChange, StockOutcome, Total, Version,
};
use bytes::Bytes;
use redis::{Cmd, Value};

use super::{
    super::{
        call::{CallError, checked, parse},
        scripts::SCRIPTS,
        wire::{Slot, Wire, partition_keys, script},
    },
    RedisStore,
    inspect::key_state,
    writes::{head, write_keys},
};
use crate::store::{StoreError, Write};

/// Keys of the script behind those of every write.
const EXTRA: usize = 4;

impl RedisStore {
    pub(super) fn stock_command(
        &self,
        wire: &Wire,
        slot: &Slot,
        partition: u16,
        write: &Write,
    ) -> Result<Cmd, StoreError> {
        let keyspace = self.keyspace()?;
        let keys = partition_keys(keyspace, partition)?;
        let key = &write.key;
        let call = match &write.mutation {
            Mutation::Stock(change) => call_of(change),
            Mutation::Clear { .. } | Mutation::Expire(_) => None,
            Mutation::Assign(_)
            | Mutation::Resolve { .. }
            | Mutation::Add { .. }
            | Mutation::Remove { .. }
            | Mutation::List(_)
            | Mutation::Append(_)
            | Mutation::Observe { .. }
            | Mutation::Evict(_)
            | Mutation::Claim { .. }
            | Mutation::Sweep { .. }
            | Mutation::ClearStep(_) => {
                return Err(MutationError::NotForStock.into());
            }
        };
        let mut cmd = write_keys(&SCRIPTS.stock, keys, slot, write, EXTRA);
        let holds = keys.holds(&key.name);
        let receipt = call.map_or_else(|| holds.clone(), |call| keys.receipt(&key.name, call.as_bytes()));
        cmd.arg(holds).arg(keys.held()).arg(receipt).arg(keys.meta());
        // Whatever the keyspace says: spent rights that come back with an unnoticed promotion would be sold again.
        cmd.arg(wire.exact_guard(&keyspace.config)).arg(&slot.origin).arg(head(write));
        match &write.mutation {
            Mutation::Stock(change) => self.stock_arguments(&mut cmd, slot, change),
            Mutation::Clear { .. } => {
                cmd.arg("clear");
            }
            Mutation::Expire(_)
            | Mutation::Assign(_)
            | Mutation::List(_)
            | Mutation::Append(_)
            | Mutation::Observe { .. }
            | Mutation::Evict(_)
            | Mutation::Claim { .. }
            | Mutation::Resolve { .. }
            | Mutation::Add { .. }
            | Mutation::Remove { .. }
            | Mutation::Sweep { .. }
            | Mutation::ClearStep(_) => {
                cmd.arg("expire");
            }
        }
        Ok(cmd)
    }

    fn stock_arguments(&self, cmd: &mut Cmd, slot: &Slot, change: &StockChange) {
        let how = |partial: bool| if partial { "upto" } else { "all" };
        match change {
            StockChange::Restock { units, .. } => {
                cmd.arg("restock").arg(units).arg(format!("restock {units}"));
            }
            StockChange::GiveBack { units, .. } => {
                cmd.arg("return").arg(units).arg(format!("return {units}"));
            }
            StockChange::Take { id, units, partial, hold } => {
                let how = how(*partial);
                let asked = format!("take {units} {how}{}", if hold.is_some() { " hold" } else { "" });
                let own = Origin::new(self.region.id.clone(), slot.record.incarnation);
                cmd.arg("take").arg(units).arg(how).arg(hold.map(|millis| millis.to_string()).unwrap_or_default());
                cmd.arg(asked).arg(own.to_string()).arg(id.as_str());
            }
            StockChange::Transfer { to, units, partial } => {
                let own = Origin::new(self.region.id.clone(), slot.record.incarnation);
                cmd.arg("transfer").arg(to.to_string()).arg(units).arg(how(*partial)).arg(own.to_string());
            }
            StockChange::Confirm(reservation) | StockChange::Release(reservation) => {
                let is_confirm = matches!(change, StockChange::Confirm(_));
                cmd.arg(if is_confirm { "confirm" } else { "release" }).arg(reservation.units);
                cmd.arg(reservation.to_string()).arg(reservation.origin.to_string());
            }
            StockChange::Tidy => {
                cmd.arg("tidy");
            }
        }
    }

    pub(super) async fn list_stocks(
        &self,
        partition: u16,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let mut cmd = redis::cmd("ZRANGEBYLEX");
        cmd.arg(self.keys(partition)?.index());
        let (bound, name) = after.map_or((b"[", Bytes::new()), |name| (b"(", name.clone()));
        cmd.arg([bound, Key::new(Kind::Stock, name).index_entry().as_ref()].concat());
        cmd.arg([b"(".as_ref(), Kind::Stock.word().as_bytes(), b";"].concat()).arg("LIMIT").arg(0).arg(limit);
        let entries = parse::array(self.call(&cmd).await?)?;
        let names: Result<Vec<_>, _> = entries.into_iter().map(parse::bytes).collect();
        Ok(names?.iter().flatten().filter_map(Key::from_index_entry).collect())
    }

    pub(super) async fn tidy_overdue(&self, partition: u16, limit: usize) -> Result<u64, StoreError> {
        let until = crate::store::Store::clock(self).await?.as_millis();
        let mut cmd = redis::cmd("ZRANGEBYSCORE");
        cmd.arg(self.keys(partition)?.held()).arg("-inf").arg(until).arg("LIMIT").arg(0).arg(limit);
        let mut tidied = 0;
        for name in parse::array(self.call(&cmd).await?)? {
            let key = Key::new(Kind::Stock, parse::bytes(name)?.unwrap_or_default());
            let mutation = Mutation::Stock(StockChange::Tidy);
            self.write_one(&Write { key, mutation, exclusive: false }).await?;
            tidied += 1;
        }
        Ok(tidied)
    }

    pub(super) async fn reclaim_closed(&self, partition: u16) -> Result<Vec<Incarnation>, StoreError> {
        // What the current one has closed by the time it inherits has to be on the list, or its debts would not count.
        let current = self.ask_standing(partition).await?.origin.incarnation;
        let mut closed = self.incarnations(partition).await?;
        closed.sort_unstable();
        closed.dedup();
        let meta = self.keys(partition)?.meta();
        let answer = self
            .call_checked(partition, |wire, slot| {
                if slot.record.incarnation != current {
                    return Err(StoreError::Stale("another incarnation was opened meanwhile".to_owned()));
                }
                let mut cmd = script(&SCRIPTS.reclaim, 1);
                cmd.arg(&meta).arg(wire.replid()).arg(&slot.incarnation);
                for incarnation in &closed {
                    cmd.arg(incarnation.to_string());
                }
                Ok(cmd)
            })
            .await?;
        let texts: Result<Vec<_>, _> = parse::array(answer)?.into_iter().map(parse::text).collect();
        let mut all: Vec<Incarnation> = texts?.iter().flatten().filter_map(|text| text.parse().ok()).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// The incarnations of this region that any stock's cells name.
    async fn incarnations(&self, partition: u16) -> Result<Vec<Incarnation>, StoreError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let keys = self.list_stocks(partition, after.as_ref(), 100).await?;
            let Some(last) = keys.last() else { return Ok(all) };
            after = Some(last.name.clone());
            for key in &keys {
                let mut cmd = redis::cmd("HGETALL");
                cmd.arg(self.keys(partition)?.cells(key));
                let answer = checked(self.call(&cmd).await?).map_err(CallError::into_store)?;
                let books = Books::of(&key_state(answer)?);
                let own = books.origins().filter(|origin| origin.region == self.region.id);
                all.extend(own.map(|origin| origin.incarnation));
            }
        }
    }
}

/// What a receipt is for: nothing that a transfer or the sweeper does.
fn call_of(change: &StockChange) -> Option<String> {
    match change {
        StockChange::Restock { id, .. } | StockChange::Take { id, .. } | StockChange::GiveBack { id, .. } => {
            Some(format!("call:{id}"))
        }
        StockChange::Confirm(reservation) | StockChange::Release(reservation) => Some(format!("end:{reservation}")),
        StockChange::Transfer { .. } | StockChange::Tidy => None,
    }
}

/// Reads `{word, ...}`.
pub(super) fn stock_outcome(answer: Value) -> Result<StockOutcome, StoreError> {
    let texts: Result<Vec<_>, _> = parse::array(answer)?.into_iter().map(parse::text).collect();
    let texts: Vec<String> = texts?.into_iter().flatten().collect();
    let words: Vec<&str> = texts.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["done", units, left] => units.parse().ok().zip(left.parse().ok()).map(done),
        ["held", token] => token.parse().ok().map(StockOutcome::Held),
        ["given", units, by, version, number, since] => given([units, by, version, number, since]),
        ["short", local, elsewhere] => local.parse().ok().zip(elsewhere.parse().ok()).map(short),
        ["gone"] => Some(StockOutcome::Gone),
        ["reused"] => Some(StockOutcome::Reused),
        ["untaken", taken] => taken.parse().ok().map(|taken| StockOutcome::NotTaken { taken }),
        _ => None,
    };
    outcome.ok_or_else(|| StoreError::Protocol("no answer of a stock".to_owned()))
}

const fn done((units, left): (u64, u64)) -> StockOutcome {
    StockOutcome::Done { units, left }
}

const fn short((local, elsewhere): (u64, u64)) -> StockOutcome {
    StockOutcome::Short { local, elsewhere }
}

fn given([units, by, version, number, since]: [&str; 5]) -> Option<StockOutcome> {
    let at = |text: &str| text.parse().ok().map(Version::from_micros);
    let total = Total { version: at(version)?, number: number.parse().ok()?, since: at(since)? };
    Some(StockOutcome::Given { units: units.parse().ok()?, by: by.parse().ok()?, total })
}

//! Reads of feeds in the order of arrival.

use archipelago_engine::{Arrived, EntryId, Key, Place, Since, limits};
use bytes::Bytes;
use redis::Value;

use super::{
    super::{call::parse, scripts::SCRIPTS},
    RedisStore,
    links::pairs,
};
use crate::store::StoreError;

impl RedisStore {
    pub(super) async fn read_arrivals(&self, key: &Key, since: Since, limit: usize) -> Result<Arrived, StoreError> {
        let (partition, keys) = self.locate(key)?;
        let (line, number) = match since {
            Since::Start => (String::new(), 0),
            Since::Now => ("$".to_owned(), 0),
            Since::Place(place) => (place.line.to_string(), place.number),
        };
        let names = [keys.meta(), keys.cells(key), keys.arrivals(&key.name), keys.view(key)];
        let answer = self
            .call_checked(partition, |wire, slot| {
                let mut cmd = self.checked_script(&SCRIPTS.arrived, wire, slot, &names)?;
                cmd.arg(&line).arg(number).arg(limit.min(limits::ARRIVALS));
                Ok(cmd)
            })
            .await?;
        arrived(answer)
    }
}

fn arrived(answer: Value) -> Result<Arrived, StoreError> {
    let [line, number, restarted, entries, unordered] = parse::tuple(answer)?;
    let line = parse::text(line)?.and_then(|line| line.parse().ok());
    let line = line.ok_or_else(|| StoreError::Protocol("no line of arrivals".to_owned()))?;
    let entry = |(id, payload): (Bytes, Bytes)| EntryId::split(&id).map(|(id, _)| (id, payload));
    let entries: Option<Vec<_>> = pairs(entries)?.into_iter().map(entry).collect();
    Ok(Arrived {
        entries: entries.ok_or_else(|| StoreError::Protocol("no id of an entry".to_owned()))?,
        place: Place { line, number: parse::unsigned(&number)? },
        restarted: parse::integer(&restarted)? == 1,
        unordered: parse::unsigned(&unordered)?,
    })
}

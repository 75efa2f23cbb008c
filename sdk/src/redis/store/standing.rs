//! The calls of sessions: each says along with its answer where its partition stood.

use std::collections::BTreeMap;

use archipelago_engine::{Field, KeyState, Origin, Outcome, Standing, Vector, Version};
use redis::{Cmd, Value};

use super::{
    super::{
        call::{CallError, checked, parse},
        scripts::SCRIPTS,
        texts::{parse_cursor, parse_record, version_of},
        wire::{Slot, Wire},
    },
    ATTEMPTS, RedisStore,
    inspect::{key_state, named_fields},
    links::pairs,
    parse_time,
    reads::reply,
    searches::absent_is_nil,
    writes::outcome,
};
use crate::store::{Excerpt, Read, Reply, StoreError, Write};

/// What became of a call, and of the question where its partition stood.
type Asked = (Result<Value, StoreError>, Result<Standing, StoreError>);

impl RedisStore {
    pub(super) async fn ask_standing(&self, partition: u16) -> Result<Standing, StoreError> {
        let answer = self.call_checked(partition, |wire, slot| self.standing_command(partition, wire, slot)).await?;
        self.parse_standing(answer)
    }

    pub(super) async fn read_in_step(&self, read: &Read) -> Result<(Reply, Standing), StoreError> {
        let (partition, _) = self.locate(&read.key)?;
        let (answer, standing) = self.ask(partition, true, |_, _| self.read_command(read)).await?;
        Ok((absent_is_nil(read, answer.and_then(reply))?, standing?))
    }

    pub(super) async fn cells_in_step(&self, excerpt: &Excerpt) -> Result<(KeyState, Standing), StoreError> {
        let (partition, keys) = self.locate(&excerpt.key)?;
        let names = excerpt.fields.as_ref().map(|fields| fields.iter().map(Field::to_bytes).collect::<Vec<_>>());
        let mut cmd = redis::cmd(if names.is_some() { "HMGET" } else { "HGETALL" });
        cmd.arg(keys.cells(&excerpt.key));
        for name in names.iter().flatten() {
            cmd.arg(name.as_ref());
        }
        let (answer, standing) = self.ask(partition, true, |_, _| Ok(cmd.clone())).await?;
        let state = match names {
            Some(names) => named_fields(names, answer?)?,
            None => key_state(answer?)?,
        };
        Ok((state, standing?))
    }

    pub(super) async fn write_in_step(&self, write: &Write) -> (Result<Outcome, StoreError>, Option<Standing>) {
        let done = async {
            write.mutation.check(&write.key)?;
            let (partition, _) = self.locate(&write.key)?;
            self.ask(partition, false, |wire, slot| self.write_command(wire, slot, partition, write)).await
        };
        match done.await {
            Ok((answer, standing)) => (answer.and_then(|answer| outcome(&write.mutation, answer)), standing.ok()),
            Err(error) => (Err(error), None),
        }
    }

    /// Sends a command, and the question where its partition stands, in one transaction: both answers are of one moment.
    ///
    /// A script around the command would do as well, at the price of one script for each command. Both only queued would
    /// not: what another connection joins, or a FLUSHALL removes, comes in between.
    async fn ask(
        &self,
        partition: u16,
        is_read: bool,
        build: impl Fn(&Wire, &Slot) -> Result<Cmd, StoreError> + Sync,
    ) -> Result<Asked, StoreError> {
        let mut last = CallError::Stale;
        for _ in 0..ATTEMPTS {
            let wire = self.region.wire().await?;
            let Ok(slot) = wire.slot(&self.name, partition) else {
                wire.reopen(&self.name, partition, 0).await?;
                continue;
            };
            let asked = [build(&wire, &slot)?, self.standing_command(partition, &wire, &slot)?];
            let [answer, standing] = transaction(&wire, asked).await.map_err(CallError::into_store)?;
            // A read is repeated with its question; a write is not, once it was done.
            let failed = match (&answer, &standing) {
                (Err(error), _) => Some(error),
                (Ok(_), Err(error)) if is_read => Some(error),
                (Ok(_), _) => None,
            };
            match failed {
                Some(CallError::Stale) => {
                    last = CallError::Stale;
                    wire.reopen(&self.name, partition, 0).await?;
                }
                Some(CallError::NoScript) => {
                    last = CallError::NoScript;
                    wire.load_scripts().await.map_err(CallError::into_store)?;
                }
                Some(CallError::Server { .. } | CallError::NoAnswer { .. }) | None => {
                    let standing = standing.map_err(CallError::into_store);
                    let standing = standing.and_then(|standing| self.parse_standing(standing));
                    return Ok((answer.map_err(CallError::into_store), standing));
                }
            }
        }
        Err(last.into_store())
    }

    fn standing_command(&self, partition: u16, wire: &Wire, slot: &Slot) -> Result<Cmd, StoreError> {
        self.checked_script(&SCRIPTS.standing, wire, slot, &[self.keys(partition)?.meta(), slot.log.clone()])
    }

    fn parse_standing(&self, answer: Value) -> Result<Standing, StoreError> {
        let [record, last, now, held] = parse::tuple(answer)?;
        let text = parse::text(record)?.unwrap_or_default();
        let record = parse_record(&text).ok_or_else(|| StoreError::Protocol(format!("record {text:?}")))?;
        let last = parse::text(last)?.map(|id| version_of(&id)).transpose()?;
        let mut standing = Standing {
            origin: Origin::new(self.region.id.clone(), record.incarnation),
            last: last.unwrap_or_default(),
            applied: Vector::new(),
            seen: Vector::new(),
            peers: BTreeMap::new(),
            epoch: 1,
            now: parse_time(now)?,
        };
        for (field, value) in pairs(held)? {
            note(&mut standing, &field, &value);
        }
        Ok(standing)
    }
}

/// One field of the meta hash. What does not parse is another version's, and left alone.
fn note(standing: &mut Standing, field: &[u8], value: &[u8]) {
    let (Ok(field), Ok(value)) = (std::str::from_utf8(field), std::str::from_utf8(value)) else { return };
    let (what, of) = field.split_once(':').unwrap_or((field, ""));
    match what {
        "epoch" => standing.epoch = value.parse().unwrap_or_default(),
        "applied" | "seen" => {
            if let (Ok(origin), Ok(version)) = (of.parse(), value.parse()) {
                let vector = if what == "seen" { &mut standing.seen } else { &mut standing.applied };
                vector.insert(origin, Version::from_micros(version));
            }
        }
        "known" => {
            let incarnation = value.split(' ').next().and_then(|incarnation| incarnation.parse().ok());
            if let (Ok(region), Some(incarnation)) = (of.parse(), incarnation) {
                standing.peers.insert(region, incarnation);
            }
        }
        // What every member has is trimmed: then they say how far it went.
        "ack" => {
            let own = standing.origin.incarnation;
            if let Some(cursor) = parse_cursor(value).filter(|cursor| cursor.incarnation == own) {
                standing.last = standing.last.max(cursor.id);
            }
        }
        _ => {}
    }
}

/// MULTI, two commands, EXEC. What refuses the transaction as a whole has done nothing.
async fn transaction(wire: &Wire, commands: [Cmd; 2]) -> Result<[Result<Value, CallError>; 2], CallError> {
    // Spelt out rather than `atomic()`: that makes one error of all, and here each says what it means for its call.
    let mut pipeline = redis::pipe();
    pipeline.cmd("MULTI");
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.cmd("EXEC");
    let mut answers = wire.pipeline(&pipeline).await?;
    let done = answers.pop().unwrap_or(Value::Nil);
    for queued in answers {
        wire.noticed(checked(queued))?;
    }
    match done {
        Value::Array(answers) => {
            let two = <[Value; 2]>::try_from(answers).map_err(|_| out_of_step())?;
            Ok(two.map(|answer| wire.noticed(checked(answer))))
        }
        done => {
            wire.noticed(checked(done))?;
            Err(out_of_step())
        }
    }
}

fn out_of_step() -> CallError {
    CallError::NoAnswer { text: "a transaction answered something else".to_owned(), broken: true }
}

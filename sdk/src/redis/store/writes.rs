//! Writes: each is one script call.

use std::time::Duration;

use archipelago_engine::{
    Amount, Expiry, Key, Kind, Mutation, MutationError, Order, Outcome, Presence, Registers, Retention, codec, number,
};
use bytes::Bytes;
use redis::{Cmd, Value};

use super::{
    super::{
        call::{CallError, checked, parse},
        scripts::{SCRIPTS, Script},
        wire::{Joined, Slot, Wire, partition_keys, script},
    },
    RedisStore, claims, entries, lists,
    stock::stock_outcome,
};
use crate::{
    keyspace::{PhysicalKeys, partition_of},
    store::{Store, StoreError, Write},
};

/// Writes in one pipeline: more only hold memory.
const CHUNK: usize = 1000;

impl RedisStore {
    pub(super) async fn write_one(&self, write: &Write) -> Result<Outcome, StoreError> {
        write.mutation.check(&write.key)?;
        let (partition, _) = self.locate(&write.key)?;
        let answer = self.call_checked(partition, |wire, slot| self.write_command(wire, slot, partition, write)).await;
        outcome(&write.mutation, answer.map_err(|error| self.name_damage(&write.key, error))?)
    }

    /// Pipelined on one connection, in order. A write that was refused as stale changed nothing, and so was every later
    /// one of its partition: they are repeated in order.
    pub(in crate::redis) async fn write_pipelined(&self, writes: &[Write]) -> Vec<Result<Outcome, StoreError>> {
        let mut results = Vec::with_capacity(writes.len());
        for chunk in writes.chunks(CHUNK) {
            match self.write_chunk(chunk).await {
                Ok(outcomes) => results.extend(outcomes),
                Err(error) => {
                    // The rest was never sent when nothing could be sent at all; otherwise nobody knows.
                    results.extend(chunk.iter().map(|_| Err(error.clone())));
                }
            }
        }
        results
    }

    async fn write_chunk(&self, writes: &[Write]) -> Result<Vec<Result<Outcome, StoreError>>, StoreError> {
        let wire = self.region.wire().await?;
        let mut results: Vec<Option<Result<Outcome, StoreError>>> = Vec::with_capacity(writes.len());
        let mut pipeline = redis::Pipeline::with_capacity(writes.len());
        let partitions = self.keyspace()?.config.partitions;
        for write in writes {
            let partition = partition_of(&write.key.name, partitions);
            let command = match write.mutation.check(&write.key) {
                Ok(()) => {
                    wire.slot(&self.name, partition).and_then(|slot| self.write_command(&wire, &slot, partition, write))
                }
                Err(refusal) => Err(refusal.into()),
            };
            match command {
                Ok(command) => {
                    pipeline.add_command(command);
                    results.push(None);
                }
                Err(error) => results.push(Some(Err(error))),
            }
        }
        let answers = if pipeline.is_empty() {
            Vec::new()
        } else {
            wire.pipeline(&pipeline).await.map_err(CallError::into_store)?
        };
        let mut answers = answers.into_iter();
        let mut repeat = Vec::new();
        for (at, (write, result)) in writes.iter().zip(&mut results).enumerate() {
            if result.is_some() {
                continue;
            }
            let answer = answers.next().unwrap_or(Value::Nil);
            match wire.noticed(checked(answer)) {
                Ok(answer) => *result = Some(outcome(&write.mutation, answer)),
                Err(CallError::Stale | CallError::NoScript) => repeat.push(at),
                Err(error) => *result = Some(Err(self.name_damage(&write.key, error.into_store()))),
            }
        }
        for at in repeat {
            let Some(write) = writes.get(at) else { continue };
            // Somebody loaded the scripts between two writes of this pipeline: repeated now, this one would come after a
            // later one of its name, and SET 1, SET 2 would end as 1.
            let mut later = writes.iter().zip(&results).skip(at + 1);
            let overtaken = later.any(|(other, done)| other.key.name == write.key.name && matches!(done, Some(Ok(_))));
            let result = if overtaken {
                Err(StoreError::Server("NOSCRIPT the scripts were flushed, and a later write has passed".to_owned()))
            } else {
                self.write_one(write).await
            };
            if let Some(place) = results.get_mut(at) {
                *place = Some(result);
            }
        }
        let missing = || Err(StoreError::Protocol("an answer is missing".to_owned()));
        Ok(results.into_iter().map(|result| result.unwrap_or_else(missing)).collect())
    }

    pub(super) fn write_command(
        &self,
        wire: &Wire,
        slot: &Slot,
        partition: u16,
        write: &Write,
    ) -> Result<Cmd, StoreError> {
        let keyspace = self.keyspace()?;
        let keys = partition_keys(keyspace, partition)?;
        let key = &write.key;
        if key.kind == Kind::Stock {
            return self.stock_command(wire, slot, partition, write);
        }
        let body = match &write.mutation {
            Mutation::Assign(_) => &SCRIPTS.assign,
            Mutation::Resolve { .. } => &SCRIPTS.resolve,
            Mutation::Add { .. } => &SCRIPTS.add,
            Mutation::Remove { .. } => &SCRIPTS.remove,
            Mutation::Observe { .. } => &SCRIPTS.observe,
            Mutation::Clear { .. } | Mutation::Sweep { .. } => &SCRIPTS.clear,
            Mutation::ClearStep(_) => &SCRIPTS.step,
            Mutation::Expire(_) => &SCRIPTS.expire,
            Mutation::List(_) => &SCRIPTS.list,
            Mutation::Stock(_) => return Err(MutationError::NotForStock.into()),
            Mutation::Append(_) | Mutation::Evict(_) => &SCRIPTS.entries,
            Mutation::Claim { .. } => &SCRIPTS.claim,
        };
        let extra = match key.kind {
            Kind::HyperLogLog => vec![keys.scratch()],
            Kind::Feed => vec![keys.arrivals(&key.name), keys.meta()],
            _ => Vec::new(),
        };
        let mut cmd = write_keys(body, keys, slot, write, extra.len());
        cmd.arg(extra);
        cmd.arg(&slot.guard).arg(&slot.origin).arg(head(write));
        arguments(&mut cmd, key.kind, &write.mutation)?;
        Ok(cmd)
    }

    /// The latest expire-at that is `grace` ago, by this server's clock.
    async fn expired_until(&self, grace: u64) -> Result<u64, StoreError> {
        Ok(Store::clock(self).await?.as_millis().saturating_sub(grace))
    }

    pub(super) async fn count_expired(&self, partition: u16, grace: Duration) -> Result<u64, StoreError> {
        let until = self.expired_until(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)).await?;
        let mut cmd = redis::cmd("ZCOUNT");
        cmd.arg(self.keys(partition)?.expiring()).arg("-inf").arg(until);
        parse::unsigned(&self.call(&cmd).await?)
    }

    pub(super) async fn sweep_expired(&self, partition: u16, grace: Duration, limit: usize) -> Result<u64, StoreError> {
        let keys = self.keys(partition)?;
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let until = self.expired_until(grace).await?;
        let mut cmd = redis::cmd("ZRANGEBYSCORE");
        cmd.arg(keys.expiring()).arg("-inf").arg(until).arg("LIMIT").arg(0).arg(limit);
        let mut swept = 0;
        for entry in parse::array(self.call(&cmd).await?)? {
            let Some(key) = parse::bytes(entry)?.as_ref().and_then(Key::from_index_entry) else { continue };
            let write = Write { key, mutation: Mutation::Sweep { grace }, exclusive: false };
            if let Outcome::Cleared { existed: true, .. } = Store::write(self, &write).await? {
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// A script with the keys of every write; `extra` of the operation's own follow.
pub(super) fn write_keys(body: &Script, keys: &PhysicalKeys, slot: &Slot, write: &Write, extra: usize) -> Cmd {
    let key = &write.key;
    let others = || Kind::ALL.into_iter().filter(|kind| write.exclusive && *kind != key.kind);
    let mut cmd = script(body, 6 + others().count() + extra);
    cmd.arg(Joined(keys.cells_parts(key)))
        .arg(Joined(keys.view_parts(key)))
        .arg(&slot.log)
        .arg(&slot.number)
        .arg(Joined(keys.index_parts()))
        .arg(Joined(keys.expiring_parts()));
    for kind in others() {
        cmd.arg(keys.view(&Key::new(kind, key.name.clone())));
    }
    cmd
}

fn expiry_arguments(expiry: Expiry) -> (&'static str, i64) {
    match expiry {
        Expiry::In(millis) => ("in", millis),
        Expiry::At(millis) => ("at", millis),
        Expiry::Never => ("never", 0),
    }
}

/// What the write's delta begins with, as far as it is known here.
pub(super) fn head(write: &Write) -> Vec<u8> {
    let member = match &write.mutation {
        Mutation::Assign(assignment) => match assignment.entries.as_slice() {
            [(member, _)] => Some(member.as_ref()),
            _ => None,
        },
        Mutation::Add { member, .. } => Some(member.as_ref()),
        Mutation::Resolve { .. }
        | Mutation::Remove { .. }
        | Mutation::Observe { .. }
        | Mutation::Clear { .. }
        | Mutation::ClearStep(_)
        | Mutation::Sweep { .. }
        | Mutation::Expire(_)
        | Mutation::List(_)
        | Mutation::Stock(_)
        | Mutation::Append(_)
        | Mutation::Evict(_)
        | Mutation::Claim { .. } => None,
    };
    codec::encode_delta_head(&write.key, member)
}

/// The operation's own arguments, from the fourth on.
fn arguments(cmd: &mut Cmd, kind: Kind, mutation: &Mutation) -> Result<(), StoreError> {
    match mutation {
        Mutation::Assign(assignment) => {
            let presence = match assignment.presence {
                Presence::Any => "",
                Presence::Absent => "NX",
                Presence::Present => "XX",
            };
            let order = match assignment.order {
                Order::Any => "",
                Order::Greater => "GT",
                Order::Less => "LT",
            };
            let (retention, millis) = match assignment.retention {
                Retention::Keep => ("keep", 0),
                Retention::Clear => ("clear", 0),
                Retention::Set(expiry) => expiry_arguments(expiry),
            };
            let previous = u8::from(assignment.previous);
            let usual = if kind == Kind::String { "clear" } else { "keep" };
            // Each argument costs the server: an everyday write leaves out how, and what is empty by its type.
            match (assignment.entries.as_slice(), presence, order, previous) {
                ([(member, payload)], "", "", 0) if retention == usual => {
                    if kind == Kind::Set && payload.is_empty() {
                        cmd.arg(member.as_ref());
                    } else if kind != Kind::Set && member.is_empty() {
                        cmd.arg(payload.as_ref());
                    } else {
                        cmd.arg(member.as_ref()).arg(payload.as_ref());
                    }
                }
                (entries, ..) => {
                    cmd.arg(format!("{presence}:{order}:{retention}:{millis}:{previous}"));
                    for (member, payload) in entries {
                        cmd.arg(member.as_ref()).arg(payload.as_ref());
                    }
                }
            }
        }
        Mutation::Resolve { payload, seen } => {
            cmd.arg(payload.as_ref());
            for (origin, version) in seen {
                cmd.arg(origin.to_bytes()).arg(version.as_micros());
            }
        }
        Mutation::Add { member, amount } => {
            let is_whole = match amount {
                // Past 2^53 a double would round it: Redis's own answer to what it cannot add exactly.
                Amount::Integer(n) if n.unsigned_abs() > 1 << 53 => return Err(MutationError::Overflow.into()),
                Amount::Integer(n) => {
                    cmd.arg(n);
                    true
                }
                Amount::Float(n) if n.is_nan() => return Err(MutationError::NanScore.into()),
                // Lua reads these words through its own arithmetic: 1e999 is infinite.
                Amount::Float(n) if n.is_infinite() => {
                    cmd.arg(if *n > 0.0 { "1e999" } else { "-1e999" });
                    false
                }
                Amount::Float(n) => {
                    cmd.arg(number::show(*n));
                    false
                }
            };
            match (member.is_empty(), is_whole) {
                (true, true) => {}
                (false, true) => {
                    cmd.arg(member.as_ref());
                }
                (_, false) => {
                    cmd.arg(member.as_ref()).arg("f");
                }
            }
        }
        Mutation::Remove { members } | Mutation::Claim { candidates: members } => {
            for member in members {
                cmd.arg(member.as_ref());
            }
        }
        Mutation::Observe { elements, union } => {
            cmd.arg(union.as_ref().map(Registers::encode).unwrap_or_default());
            for element in elements {
                cmd.arg(element.as_ref());
            }
        }
        Mutation::Clear { previous } => {
            cmd.arg(u8::from(*previous)).arg("");
        }
        Mutation::ClearStep(step) => {
            cmd.arg(step.grace.map(|grace| grace.to_string()).unwrap_or_default()).arg(u8::from(step.is_last));
            for member in &step.members {
                cmd.arg(member.as_ref());
            }
        }
        Mutation::Sweep { grace } => {
            cmd.arg(0).arg(*grace);
        }
        Mutation::Expire(expiry) => {
            let (mode, millis) = expiry_arguments(*expiry);
            cmd.arg(mode).arg(millis);
        }
        Mutation::List(edit) => lists::arguments(cmd, edit),
        Mutation::Stock(_) => return Err(MutationError::NotForStock.into()),
        Mutation::Append(append) => entries::append_arguments(cmd, append),
        Mutation::Evict(keep) => entries::evict_arguments(cmd, *keep),
    }
    Ok(())
}

/// What an assignment answers.
pub(super) fn assigned(answer: Value) -> Result<Outcome, StoreError> {
    let [assigned, added, changed, previous] = parse::tuple(answer)?;
    Ok(Outcome::Assigned {
        assigned: parse::unsigned(&assigned)?,
        added: parse::unsigned(&added)?,
        changed: parse::unsigned(&changed)?,
        previous: parse::bytes(previous)?,
    })
}

pub(super) fn outcome(mutation: &Mutation, answer: Value) -> Result<Outcome, StoreError> {
    Ok(match mutation {
        // The everyday assignment, and a decision about siblings, answer three bits.
        Mutation::Assign(_) | Mutation::Resolve { .. } if matches!(answer, Value::Int(_)) => {
            let bits = parse::unsigned(&answer)?;
            Outcome::Assigned { assigned: bits & 1, added: bits >> 1 & 1, changed: bits >> 2 & 1, previous: None }
        }
        Mutation::Assign(_) | Mutation::Resolve { .. } => assigned(answer)?,
        Mutation::Add { .. } => Outcome::Sum(parse::bytes(answer)?.unwrap_or_else(Bytes::new)),
        Mutation::Remove { .. } => Outcome::Removed(parse::unsigned(&answer)?),
        Mutation::Observe { .. } => Outcome::Observed(parse::integer(&answer)? == 1),
        Mutation::Clear { .. } | Mutation::Sweep { .. } => {
            let [existed, previous] = parse::tuple(answer)?;
            Outcome::Cleared { existed: parse::integer(&existed)? == 1, previous: parse::bytes(previous)? }
        }
        Mutation::ClearStep(_) => Outcome::Stepped(u64::try_from(parse::integer(&answer)?).ok()),
        Mutation::Expire(_) => Outcome::Expiry(parse::integer(&answer)? == 1),
        Mutation::List(edit) => lists::outcome(edit, answer)?,
        Mutation::Stock(_) => Outcome::Stock(stock_outcome(answer)?),
        Mutation::Append(_) => entries::appended(answer)?,
        Mutation::Evict(_) => Outcome::Removed(parse::unsigned(&answer)?),
        Mutation::Claim { .. } => claims::claimed(answer)?,
    })
}

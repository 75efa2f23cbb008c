//! Reads: native commands on the view.

use archipelago_engine::Native;
use redis::{Cmd, Value};

use super::{
    super::{
        call::{CallError, checked, parse},
        wire::Joined,
    },
    RedisStore,
    searches::{absent_is_nil, add_to},
};
use crate::store::{Query, Read, Reply, StoreError};

impl RedisStore {
    /// The command of a read, and the one that asks how long its key still lives, for a connection of somebody else's.
    pub(crate) fn commands(&self, read: &Read) -> Result<(Cmd, Cmd), StoreError> {
        let lifetime = Read { key: read.key.clone(), query: Query::TimeToLive };
        Ok((self.read_command(read)?, self.read_command(&lifetime)?))
    }

    pub(super) async fn read_one(&self, read: &Read) -> Result<Reply, StoreError> {
        let cmd = self.read_command(read)?;
        let answer = self.call(&cmd).await.map_err(|error| self.name_damaged_view(&read.key, error));
        absent_is_nil(read, answer.and_then(reply))
    }

    pub(super) async fn read_pipelined(&self, reads: &[Read]) -> Vec<Result<Reply, StoreError>> {
        match self.send_reads(reads).await {
            Ok(replies) => replies,
            Err(error) => reads.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn send_reads(&self, reads: &[Read]) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
        let mut pipeline = redis::Pipeline::with_capacity(reads.len());
        for read in reads {
            pipeline.add_command(self.read_command(read)?);
        }
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let wire = self.region.wire().await?;
        let answers = wire.pipeline(&pipeline).await.map_err(CallError::into_store)?;
        let replies = answers.into_iter().map(|a| checked(a).map_err(CallError::into_store).and_then(reply));
        let replies = reads
            .iter()
            .zip(replies)
            .map(|(read, reply)| absent_is_nil(read, reply.map_err(|error| self.name_damaged_view(&read.key, error))));
        Ok(replies.collect())
    }

    pub(super) fn read_command(&self, read: &Read) -> Result<Cmd, StoreError> {
        let (_, keys) = self.locate(&read.key)?;
        let command = |name: &str| {
            let mut cmd = Cmd::with_capacity(2, 48 + read.key.name.len());
            cmd.arg(name).arg(Joined(keys.view_parts(&read.key)));
            cmd
        };
        Ok(match &read.query {
            Query::Value => command("GET"),
            Query::Exists => command("EXISTS"),
            Query::TimeToLive => command("PTTL"),
            Query::Members => command("SMEMBERS"),
            Query::Contains(member) => with(command("SISMEMBER"), &[member]),
            Query::Count => command(match read.key.kind.native() {
                Native::String => "EXISTS",
                Native::Set => "SCARD",
                Native::Hash => "HLEN",
                Native::SortedSet | Native::Ordered => "ZCARD",
            }),
            Query::Cardinality => command("PFCOUNT"),
            Query::Field(field) => with(command("HGET"), &[field]),
            Query::Fields(fields) => with(command("HMGET"), &fields.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
            Query::All => command("HGETALL"),
            Query::HasField(field) => with(command("HEXISTS"), &[field]),
            Query::Score(member) => with(command("ZSCORE"), &[member]),
            Query::Rank { member, reverse } => with(command(if *reverse { "ZREVRANK" } else { "ZRANK" }), &[member]),
            Query::RangeByRank { start, stop, reverse } => {
                let mut cmd = command(if *reverse { "ZREVRANGE" } else { "ZRANGE" });
                cmd.arg(start).arg(stop).arg("WITHSCORES");
                cmd
            }
            Query::Range { start, stop } => {
                let mut cmd = command("ZRANGE");
                cmd.arg(start).arg(stop);
                cmd
            }
            Query::Between { from, to, reverse, limit } => {
                let low = if from.is_empty() { b"-".to_vec() } else { [b"[", from.as_ref()].concat() };
                let high = to.as_ref().map_or_else(|| b"+".to_vec(), |to| [b"(", to.as_ref()].concat());
                let mut cmd = command(if *reverse { "ZREVRANGEBYLEX" } else { "ZRANGEBYLEX" });
                if *reverse {
                    cmd.arg(high).arg(low)
                } else {
                    cmd.arg(low).arg(high)
                };
                if let Some(limit) = limit {
                    cmd.arg("LIMIT").arg(0).arg(i64::try_from(*limit).unwrap_or(i64::MAX));
                }
                cmd
            }
            Query::RangeByScore { min, max, reverse, limit } => {
                let (name, first, second) =
                    if *reverse { ("ZREVRANGEBYSCORE", max, min) } else { ("ZRANGEBYSCORE", min, max) };
                let mut cmd = command(name);
                cmd.arg(first.to_text()).arg(second.to_text()).arg("WITHSCORES");
                if let Some((offset, count)) = limit {
                    cmd.arg("LIMIT").arg(offset).arg(count);
                }
                cmd
            }
            Query::Positions(members) => {
                with(command("GEOPOS"), &members.iter().map(AsRef::as_ref).collect::<Vec<_>>())
            }
            Query::GeoHashes(members) => {
                with(command("GEOHASH"), &members.iter().map(AsRef::as_ref).collect::<Vec<_>>())
            }
            Query::Distance { from, to, unit } => with(command("GEODIST"), &[from, to, unit.word().as_bytes()]),
            Query::Search(search) => {
                let mut cmd = command("GEOSEARCH");
                add_to(&mut cmd, search);
                cmd
            }
            Query::CountByScore { min, max } => {
                let mut cmd = command("ZCOUNT");
                cmd.arg(min.to_text()).arg(max.to_text());
                cmd
            }
        })
    }
}

fn with(mut cmd: Cmd, arguments: &[&[u8]]) -> Cmd {
    cmd.arg(arguments);
    cmd
}

pub(super) fn reply(value: Value) -> Result<Reply, StoreError> {
    Ok(match value {
        Value::Nil => Reply::Nil,
        Value::Int(n) => Reply::Int(n),
        Value::Array(_) | Value::Set(_) | Value::Map(_) => {
            Reply::Array(parse::array(value)?.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        other => parse::bytes(other)?.map_or(Reply::Nil, Reply::Bytes),
    })
}

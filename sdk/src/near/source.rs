//! Where values come from: the region, in the ordinary way, and what an answer says.

use std::{sync::Arc, time::Duration};

use archipelago_engine::{Key, Kind, number};
use bytes::Bytes;
use redis::{Cmd, Value};

use crate::{
    Connection,
    dial::Server,
    error::Error,
    keyspace::{PhysicalKeys, partition_of},
    redis::RedisStore,
    store::{Query, Read, Reply, Store},
};

/// One keyspace of either plane.
pub(super) enum Source {
    /// An active-active keyspace of the local region, on a server.
    Region { store: Arc<RedisStore>, server: Server, patience: Duration },
    /// The same, in this process.
    Embedded(Arc<dyn Store>),
    /// A routed keyspace.
    Routed(Connection),
}

/// What to read.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// A view of an active-active keyspace.
    View(Read),
    /// A string of a routed keyspace.
    Plain(Bytes),
}

/// What a region answers.
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) left: Left,
}

/// How long a key still lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Forever,
    For(Duration),
}

impl Ask {
    /// As a bit among those of all kinds.
    pub(super) fn kind(&self) -> u32 {
        match self {
            Self::View(read) => bit(read.key.kind),
            Self::Plain(_) => u32::MAX,
        }
    }
}

/// A kind, as a bit among those of all kinds.
pub(super) fn bit(kind: Kind) -> u32 {
    1_u32.checked_shl(kind.code().into()).unwrap_or_default()
}

impl Source {
    /// Reads in the ordinary way: what changes afterwards is told by nobody, unless it is in this process.
    pub(super) async fn read(&self, ask: &Ask) -> Result<Answer, Error> {
        match (self, ask) {
            (Self::Region { store, .. }, Ask::View(read)) => read_view(&**store, read).await,
            (Self::Embedded(store), Ask::View(read)) => read_view(&**store, read).await,
            (Self::Routed(connection), Ask::Plain(key)) => {
                let (value, left) = connection.value_and_lifetime(key).await?;
                let reply = value.map_or(Reply::Nil, Reply::Bytes);
                Ok(Answer::new(reply, left))
            }
            (Self::Region { .. } | Self::Embedded(_), Ask::Plain(_)) | (Self::Routed(_), Ask::View(_)) => {
                Err(super::wrong_plane(matches!(self, Self::Routed(_))))
            }
        }
    }

    /// The commands for that, to be sent on a tracked connection.
    pub(super) fn commands(&self, ask: &Ask) -> Option<(Cmd, Cmd)> {
        match (self, ask) {
            (Self::Region { store, .. }, Ask::View(read)) => store.commands(read).ok(),
            (Self::Routed(_), Ask::Plain(key)) => {
                let command = |name: &str| redis::cmd(name).arg(&**key).clone();
                Some((command("GET"), command("PTTL")))
            }
            (Self::Region { .. }, Ask::Plain(_))
            | (Self::Embedded(_), Ask::View(_) | Ask::Plain(_))
            | (Self::Routed(_), Ask::View(_)) => None,
        }
    }

    /// How many partitions the keyspace has; a routed one has none.
    pub(super) fn partitions(&self) -> Option<u16> {
        match self {
            Self::Region { store, .. } => Some(store.partitions()),
            Self::Embedded(store) => Some(store.partitions()),
            Self::Routed(_) => None,
        }
    }
}

/// The physical name of a view.
pub(super) fn view_of(keyspace: &str, partitions: u16, key: &Key) -> Bytes {
    PhysicalKeys::new(keyspace, partition_of(&key.name, partitions)).view(key).into()
}

/// What the views of these kinds begin with, in every partition.
pub(super) fn prefixes(keyspace: &str, partitions: u16, kinds: u32) -> Vec<Vec<u8>> {
    let wanted = Kind::ALL.into_iter().filter(|kind| bit(*kind) & kinds != 0);
    let in_all = |kind: Kind| {
        (0..partitions).map(move |partition| PhysicalKeys::new(keyspace, partition).view(&Key::new(kind, "")))
    };
    wanted.flat_map(in_all).collect()
}

async fn read_view(store: &dyn Store, read: &Read) -> Result<Answer, Error> {
    let lifetime = Read { key: read.key.clone(), query: Query::TimeToLive };
    let mut answers = store.read_all(&[read.clone(), lifetime]).await.into_iter();
    let mut next = || match answers.next() {
        Some(answer) => answer.map_err(|error| Error::of_read(error, store.region())),
        None => Err(crate::handles::unexpected(&"no answer")),
    };
    let (reply, left) = (next()?, next()?);
    Ok(Answer::new(reply, crate::handles::integer(&left)?))
}

impl Answer {
    /// `left` as PTTL says it.
    pub(super) fn new(reply: Reply, left: i64) -> Self {
        let left = match (left, &reply) {
            (-1, _) | (-2, Reply::Nil) => Left::Forever,
            // Of a whole key that is not there, an empty answer.
            (-2, Reply::Array(items)) if items.is_empty() => Left::Forever,
            // It was there, and is gone since.
            (-2, _) => Left::For(Duration::ZERO),
            (left, _) => Left::For(Duration::from_millis(u64::try_from(left).unwrap_or_default())),
        };
        Self { reply, left }
    }
}

/// An answer in the newer protocol, as the older one has it; `None` for what it cannot be.
pub(super) fn reply(value: Value) -> Option<Reply> {
    Some(match value {
        Value::Nil => Reply::Nil,
        Value::Int(n) => Reply::Int(n),
        Value::BulkString(bytes) => Reply::Bytes(bytes.into()),
        Value::SimpleString(text) => Reply::Bytes(text.into()),
        Value::Okay => Reply::Bytes(Bytes::from_static(b"OK")),
        Value::Double(score) => Reply::Bytes(number::show(score).into()),
        Value::Array(items) | Value::Set(items) => Reply::Array(flat(items)?),
        Value::Map(pairs) => Reply::Array(flat(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect())?),
        _ => return None,
    })
}

/// Members and scores come as pairs in the newer protocol.
fn flat(items: Vec<Value>) -> Option<Vec<Reply>> {
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        match reply(item)? {
            Reply::Array(inner) => out.extend(inner),
            single @ (Reply::Nil | Reply::Int(_) | Reply::Bytes(_)) => out.push(single),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ranking_reads_the_same_in_both_protocols() {
        let (ada, ten) = (Value::BulkString("ada".into()), Value::BulkString("10".into()));
        let pairs = Value::Array(vec![Value::Array(vec![ada.clone(), Value::Double(10.0)])]);
        assert_eq!(reply(pairs), reply(Value::Array(vec![ada, ten])));
    }

    #[test]
    fn a_value_whose_key_is_gone_is_not_believed() {
        let left = |reply, left| Answer::new(reply, left).left;
        let value = || Reply::Bytes("v".into());
        assert_eq!(left(Reply::Nil, -2), Left::Forever);
        assert_eq!(left(Reply::Array(Vec::new()), -2), Left::Forever);
        assert_eq!(left(value(), -2), Left::For(Duration::ZERO));
        assert_eq!(left(value(), -1), Left::Forever);
        assert_eq!(left(value(), 7), Left::For(Duration::from_millis(7)));
        assert_eq!(left(value(), i64::MIN), Left::For(Duration::ZERO));
    }
}

//! Which server of a cluster owns a key: a connection of one's own leads to one server.

use redis::Value;

use super::link::Link;
use crate::{dial::Address, partition_of};

const SLOTS: u16 = 16_384;

/// The primary that owns a key's slot, by what the cluster says now; `None` when it does not say.
pub(super) async fn owner(link: &mut Link, key: &[u8]) -> Result<Option<Address>, redis::RedisError> {
    // CLUSTER SHARDS is its successor, and unknown to servers before 7.
    let ranges = link.send_one(redis::cmd("CLUSTER").arg("SLOTS")).await?;
    Ok(owner_of(&ranges, slot(key)))
}

/// The slot of a key: of what is between its first braces, if there is anything.
fn slot(key: &[u8]) -> u16 {
    let tag = || {
        let (_, behind) = key.split_at_checked(key.iter().position(|byte| *byte == b'{')? + 1)?;
        let (tag, _) = behind.split_at_checked(behind.iter().position(|byte| *byte == b'}')?)?;
        (!tag.is_empty()).then_some(tag)
    };
    partition_of(tag().unwrap_or(key), SLOTS)
}

/// Each range: its first and last slot, then its servers, the primary first: host, port, and more.
fn owner_of(ranges: &Value, slot: u16) -> Option<Address> {
    let Value::Array(ranges) = ranges else { return None };
    ranges.iter().find_map(|range| {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = range.as_slice() else { return None };
        if !(*first..=*last).contains(&i64::from(slot)) {
            return None;
        }
        let [Value::BulkString(host), Value::Int(port), ..] = primary.as_slice() else { return None };
        let host = std::str::from_utf8(host).ok().filter(|host| !host.is_empty() && *host != "?")?;
        Some(Address { host: host.to_owned(), port: u16::try_from(*port).ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_servers() {
        // Answers of CLUSTER KEYSLOT.
        for (key, expected) in [
            ("foo", 12_182),
            ("{foo}.a", 12_182),
            ("a{foo}{bar}", 12_182),
            ("{}foo", 9500),
            ("", 0),
            ("123456789", 12_739),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn the_owner_is_the_first_server_of_the_range() {
        let text = |text: &str| Value::BulkString(text.into());
        let server =
            |host: &str, port| Value::Array(vec![text(host), Value::Int(port), text("id"), Value::Array(vec![])]);
        let range = |first, last, servers: Vec<Value>| {
            Value::Array([vec![Value::Int(first), Value::Int(last)], servers].concat())
        };
        let ranges = Value::Array(vec![
            range(0, 99, vec![server("a", 1), server("b", 2)]),
            range(100, 199, vec![server("", 3)]),
            range(200, 299, vec![server("c", 70_000)]),
            range(300, 399, vec![]),
        ]);
        assert_eq!(owner_of(&ranges, 99), Some(Address { host: "a".to_owned(), port: 1 }));
        for slot in [100, 200, 300, 400] {
            assert_eq!(owner_of(&ranges, slot), None, "{slot}");
        }
        assert_eq!(owner_of(&Value::Nil, 0), None);
    }
}

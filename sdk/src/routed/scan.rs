//! Cursors: each is answered by the node that issued it.
//!
//! The node travels in the cursor's upper byte, so that any clone of a connection, in any process with the same
//! configuration, goes on where a scan began. A map from cursors to nodes would live in one process only, and for ever.

use redis::{Cmd, RedisResult, Value};

use super::{call::Call, connection::one, link::Work};
use crate::{
    error::{Error, ErrorKind},
    routing::NodeIndex,
};

/// Above what a server uses: its cursors count hash table buckets, and slots of a cluster.
const NODE_SHIFT: u32 = 56;

/// Where a command has its cursor, if it is a scan. Its name is word 0.
pub(super) fn cursor_at(name: Option<&str>) -> Option<usize> {
    match name? {
        "SCAN" => Some(1),
        "HSCAN" | "SSCAN" | "ZSCAN" => Some(2),
        _ => None,
    }
}

/// Sends a scan to the node of its cursor; cursor 0 may begin anywhere.
pub(super) async fn run(cmd: &Cmd, cursor_at: usize, call: &Call<'_>) -> RedisResult<Value> {
    let mut words = words_of(cmd)?;
    let cursor = words.get(cursor_at).and_then(|word| parse(word));
    let Some(cursor) = cursor else { return one(call.run().await?.0) }; // the server says what is wrong with it
    let (node, inner) = split(cursor);
    if node.is_some_and(|node| call.core.node(node).is_none()) {
        let text = "the cursor is none of this client's: it names a node that does not exist";
        return Err(Error::new(ErrorKind::Refused, text).into());
    }
    if let Some(word) = words.get_mut(cursor_at) {
        *word = inner.to_string().into_bytes();
    }
    let mut plain = Cmd::new();
    words.iter().for_each(|word| {
        plain.arg(word);
    });
    let at = Call { only: node, work: Work::One(&plain), ..*call };
    let (answer, index) = at.run().await?;
    tag(one(answer)?, index)
}

/// The words as they are sent: the crate keeps the cursor of its iterators apart from the arguments.
pub(super) fn words_of(cmd: &Cmd) -> RedisResult<Vec<Vec<u8>>> {
    let Value::Array(values) = redis::parse_redis_value(&cmd.get_packed_command())? else { return Ok(Vec::new()) };
    let word = |value| if let Value::BulkString(bytes) = value { bytes } else { Vec::new() };
    Ok(values.into_iter().map(word).collect())
}

fn parse(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn split(cursor: u64) -> (Option<NodeIndex>, u64) {
    let node = u8::try_from(cursor >> NODE_SHIFT).unwrap_or(0).checked_sub(1).map(NodeIndex);
    (node, cursor & ((1 << NODE_SHIFT) - 1))
}

fn tag(answer: Value, index: NodeIndex) -> RedisResult<Value> {
    let Value::Array(mut parts) = answer else { return Ok(answer) };
    if let Some(Value::BulkString(text)) = parts.first_mut()
        && let Some(cursor) = parse(text).filter(|cursor| *cursor != 0)
    {
        if cursor >> NODE_SHIFT != 0 {
            return Err(Error::new(ErrorKind::Protocol, "the server's cursor leaves no room for its node").into());
        }
        *text = (cursor | (u64::from(index.0) + 1) << NODE_SHIFT).to_string().into_bytes();
    }
    Ok(Value::Array(parts))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_carries_its_node_there_and_back() {
        for (cursor, node) in [(1, 0), (7 << 40, 3), ((1 << NODE_SHIFT) - 1, 31)] {
            let text = |cursor: u64| Value::BulkString(cursor.to_string().into_bytes());
            let answer = Value::Array(vec![text(cursor), Value::Array(Vec::new())]);
            let Value::Array(parts) = tag(answer, NodeIndex(node)).unwrap() else { unreachable!() };
            let tagged: u64 = redis::from_redis_value(parts.into_iter().next().unwrap()).unwrap();
            assert_eq!(split(tagged), (Some(NodeIndex(node)), cursor));
        }
        assert_eq!(split(0), (None, 0), "a new scan may begin anywhere");
        let huge = Value::Array(vec![Value::BulkString(u64::MAX.to_string().into_bytes())]);
        assert!(tag(huge, NodeIndex(0)).is_err());
    }

    #[test]
    fn a_key_that_looks_like_a_cursor_is_left_alone() {
        let words = words_of(redis::cmd("HSCAN").arg("123").arg(0)).unwrap();
        assert_eq!(words.get(cursor_at(Some("HSCAN")).unwrap()), Some(&b"0".to_vec()));
    }
}

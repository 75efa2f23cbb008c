//! The record's copies: read anywhere, replaced by a higher epoch only.

use redis::{Cmd, Value};

use super::record::{KEY, Record};

/// Replaces a copy unless it has an epoch as high. Answers 1, or the copy that stays.
///
/// The epoch is the second word in every version of the format, so that an older client never replaces what it cannot
/// read.
const REPLACE: &str = "\
local held = redis.call('GET', KEYS[1])
if held == ARGV[2] then return 1 end
local epoch = held and tonumber(string.match(held, '^%d+ (%d+) ')) or 0
if epoch >= tonumber(ARGV[1]) then return held end
redis.call('SET', KEYS[1], ARGV[2])
return 1
";

/// The command that replaces a copy.
pub(crate) fn replacement(record: &Record) -> Cmd {
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(REPLACE).arg(1).arg(KEY).arg(record.epoch).arg(record.encode());
    cmd
}

/// Whether the copy was replaced.
pub(super) fn was_replaced(answer: &Value) -> bool {
    *answer == Value::Int(1)
}

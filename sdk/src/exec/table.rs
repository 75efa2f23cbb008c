//! Which commands there are, and how many words each takes.

use archipelago_engine::{End, Kind};
use bytes::Bytes;

use super::{
    call::{Call, Running},
    claims, feeds, hashes, hyperloglogs, keys, lists, lpos, numbers, places, ranges, rules, sets, sorted_sets, stocks,
    streams, strings,
};

/// A command.
pub(super) struct Command {
    /// Its name, in small letters, as error texts have it.
    pub(super) name: &'static str,
    /// As Redis counts: the name included; negative means "at least".
    arity: i32,
    pub(super) run: for<'a> fn(Call<'a>) -> Running<'a>,
}

impl Command {
    pub(super) fn takes(&self, words: usize) -> bool {
        let expected = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { words >= expected } else { words == expected }
    }
}

/// One line for each: name, arity, handler, and what else the handler wants to know.
macro_rules! commands {
    ($($name:literal $arity:literal $handler:path $(, $extra:expr)*;)*) => {
        &[$(Command { name: $name, arity: $arity, run: |call| Box::pin($handler(call $(, $extra)*)) },)*]
    };
}

const COMMANDS: &[Command] = commands! {
    "get" 2 strings::get;
    "set" -3 strings::set;
    "getdel" 2 strings::getdel;
    "setnx" 3 strings::setnx;
    "setex" 4 strings::set_for, "EX";
    "psetex" 4 strings::set_for, "PX";
    "getset" 3 strings::getset;
    "strlen" 2 strings::strlen;
    "getrange" 4 strings::getrange;
    "mget" -2 strings::mget;
    "incr" 2 numbers::step, 1;
    "decr" 2 numbers::step, -1;
    "incrby" 3 numbers::incrby;
    "decrby" 3 numbers::decrby;
    "incrbyfloat" 3 numbers::incrbyfloat;
    "del" -2 keys::del;
    "unlink" -2 keys::del;
    "exists" -2 keys::exists;
    "type" 2 keys::kind;
    "expire" -3 keys::expire, keys::When::InSeconds;
    "pexpire" -3 keys::expire, keys::When::InMillis;
    "expireat" -3 keys::expire, keys::When::AtSecond;
    "pexpireat" -3 keys::expire, keys::When::AtMilli;
    "persist" 2 keys::persist;
    "ttl" 2 keys::ttl;
    "pttl" 2 keys::pttl;
    "ping" -1 keys::ping;
    "sadd" -3 sets::sadd;
    "srem" -3 sets::srem;
    "smembers" 2 sets::smembers;
    "sismember" 3 sets::sismember;
    "smismember" -3 sets::smismember;
    "scard" 2 sets::scard;
    "hset" -4 hashes::hset;
    "hget" 3 hashes::hget;
    "hsetnx" 4 hashes::hsetnx;
    "hstrlen" 3 hashes::hstrlen;
    "hkeys" 2 hashes::halves, 0;
    "hvals" 2 hashes::halves, 1;
    "hmget" -3 hashes::hmget;
    "hgetall" 2 hashes::hgetall;
    "hdel" -3 hashes::hdel;
    "hlen" 2 hashes::hlen;
    "hexists" 3 hashes::hexists;
    "hincrby" 4 hashes::hincrby;
    "hincrbyfloat" 4 hashes::hincrbyfloat;
    "zadd" -4 sorted_sets::zadd;
    "zincrby" 4 sorted_sets::zincrby;
    "zrem" -3 sorted_sets::zrem;
    "zscore" 3 sorted_sets::zscore;
    "zmscore" -3 sorted_sets::zmscore;
    "zcard" 2 sorted_sets::zcard;
    "zrange" -4 ranges::zrange;
    "zrank" 3 ranges::rank, false;
    "zrevrank" 3 ranges::rank, true;
    "zcount" 4 ranges::zcount;
    "geoadd" -5 places::geoadd;
    "geopos" -2 places::geopos;
    "geohash" -2 places::geohash;
    "geodist" -4 places::geodist;
    "geosearch" -7 places::geosearch;
    "pfadd" -2 hyperloglogs::pfadd;
    "pfcount" -2 hyperloglogs::pfcount;
    "pfmerge" -2 hyperloglogs::pfmerge;
    "lpush" -3 lists::push, End::Front, false;
    "rpush" -3 lists::push, End::Back, false;
    "lpushx" -3 lists::push, End::Front, true;
    "rpushx" -3 lists::push, End::Back, true;
    "lpop" -2 lists::pop, End::Front;
    "rpop" -2 lists::pop, End::Back;
    "lrange" 4 lists::lrange;
    "llen" 2 lists::llen;
    "lpos" -3 lpos::lpos;
    "lindex" 3 lists::lindex;
    "linsert" 5 lists::linsert;
    "lset" 4 lists::lset;
    "lrem" 4 lists::lrem;
    "ltrim" 4 lists::ltrim;
    "lclaim" 3 claims::lclaim;
    "xadd" -5 streams::xadd;
    "xrange" -4 streams::xrange, false;
    "xrevrange" -4 streams::xrange, true;
    "xlen" 2 streams::xlen;
    "xread" -4 streams::xread;
    "xdel" -3 streams::xdel;
    "xtrim" -4 streams::xtrim;
    "stream.claim" 2 claims::stream;
    "feed.append" -3 feeds::append;
    "feed.range" -4 feeds::range, false;
    "feed.revrange" -4 feeds::range, true;
    "feed.len" 2 feeds::len;
    "feed.rem" -3 feeds::rem;
    "feed.arrived" -3 feeds::arrived;
    "first.set" 3 rules::set_first;
    "first.get" 2 rules::get, Kind::First;
    "max.set" 3 rules::set_extreme, Kind::Max;
    "max.get" 2 rules::get, Kind::Max;
    "min.set" 3 rules::set_extreme, Kind::Min;
    "min.get" 2 rules::get, Kind::Min;
    "siblings.set" 3 rules::set_siblings;
    "siblings.get" 2 rules::siblings;
    "ewflag.set" 3 rules::set_flag, Kind::EnableWins;
    "ewflag.get" 2 rules::get, Kind::EnableWins;
    "dwflag.set" 3 rules::set_flag, Kind::DisableWins;
    "dwflag.get" 2 rules::get, Kind::DisableWins;
    "bestmax.add" -4 rules::submit, Kind::HighScores;
    "bestmax.top" 3 rules::top, Kind::HighScores;
    "bestmax.score" 3 rules::score, Kind::HighScores;
    "bestmax.rank" 3 rules::rank, Kind::HighScores;
    "bestmax.rem" -3 rules::remove, Kind::HighScores;
    "bestmax.card" 2 rules::count, Kind::HighScores;
    "bestmin.add" -4 rules::submit, Kind::LowScores;
    "bestmin.top" 3 rules::top, Kind::LowScores;
    "bestmin.score" 3 rules::score, Kind::LowScores;
    "bestmin.rank" 3 rules::rank, Kind::LowScores;
    "bestmin.rem" -3 rules::remove, Kind::LowScores;
    "bestmin.card" 2 rules::count, Kind::LowScores;
    "stock.restock" 4 stocks::restock;
    "stock.take" -4 stocks::take;
    "stock.return" 4 stocks::give_back;
    "stock.reserve" 5 stocks::reserve;
    "stock.confirm" 3 stocks::confirm;
    "stock.release" 3 stocks::release;
    "stock.transfer" -4 stocks::transfer;
    "stock.left" 2 stocks::left;
    "stock.rights" 2 stocks::rights;
};

/// The command of this name, in whatever letters.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Redis's answer to a name it does not know: cut to what a log line can bear, and on one line.
pub(super) fn unknown(name: &[u8], args: &[Bytes]) -> String {
    const MOST: usize = 128;
    let mut shown: Vec<u8> = Vec::new();
    for arg in args {
        let Some(room) = MOST.checked_sub(shown.len()).filter(|room| *room > 0) else {
            break;
        };
        shown.push(b'\'');
        shown.extend(printed(arg, room));
        shown.extend(b"' ");
    }
    let name: Vec<u8> = printed(name, MOST).collect();
    let text = [b"ERR unknown command '", name.as_slice(), b"', with args beginning with: ", &shown].concat();
    String::from_utf8_lossy(&text).replace(['\r', '\n'], " ")
}

/// As C prints a string: up to a zero byte.
fn printed(bytes: &[u8], most: usize) -> impl Iterator<Item = u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).take(most)
}

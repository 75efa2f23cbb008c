//! The command interpreter: Redis commands in, Redis replies out, over any [`Store`].
//!
//! Replies and error texts are those of Redis 7. A name is one thing, as in Redis: DEL, EXISTS, TYPE, EXPIRE and TTL act
//! on it whatever its type, and a command of another type answers `WRONGTYPE`. What differs, because several regions
//! take part:
//!
//! - Two regions may create one name with two types at the same time. Then TYPE and TTL show the first in the order
//!   string, set, hash, sorted set, then the types below; reads of each type find theirs; writes answer `WRONGTYPE`
//!   until DEL or a plain SET removes all of them.
//! - INCRBY answers the overflow error past ±2^53, and INCRBYFLOAT, HINCRBYFLOAT and ZINCRBY compute in doubles (Redis
//!   uses `long double` for the first two). Scores are shown with the fewest digits that read back the same, never with
//!   an exponent, whatever the server's version. Numbers are read in decimal only, and a string `inf` is no number.
//! - A HyperLogLog is a type of its own: GET answers `WRONGTYPE`, though TYPE says string, as Redis does. PFCOUNT and
//!   PFMERGE of several names read them one after the other.
//! - An expiry ends in the year 2255: what lies behind it is an invalid expire time. EXPIRE takes no NX, XX, GT or LT,
//!   ZADD no INCR (ZINCRBY is that), and ZRANGE no BYLEX.
//! - A plain SET over another type removes that and sets in one pipeline, but not in one step.
//! - What touches several names, or one name whatever its type (DEL, EXISTS, MGET, EXPIRE), is a pipeline, not a
//!   transaction: each type of each name is atomic for itself. SADD, HSET and ZADD are one step each, of up to 10,000
//!   members.
//! - Types that Redis has not go by words of their own. `FIRST.SET` and `FIRST.GET`: the first write wins. `MAX.SET`,
//!   `MAX.GET`, `MIN.SET`, `MIN.GET`: the extreme of all numbers. `EWFLAG.SET key on|off` and `EWFLAG.GET`: a flag where on
//!   wins; `DWFLAG`: where off wins. A flag's `.GET` answers `"1"` where it is on, `"0"` where it is off, and nil where
//!   nobody has set it; `.SET` takes these digits, too. `SIBLINGS.SET` and `SIBLINGS.GET`: concurrent values, all of them.
//!   `BESTMAX.ADD key score member [score member ...]`, `.TOP key count`, `.SCORE`, `.RANK`, `.REM`, `.CARD`: best scores;
//!   `BESTMIN`: where the lowest is the best. TYPE answers `first`, `max`, `min`, `flag-on`, `flag-off`, `siblings`,
//!   `best-max`, `best-min`.
//! - DEL of a key of more than 1,000 members, LTRIM and LREM of more elements, and the first write to such a key that has
//!   expired go in steps of 500, each atomic: readers see the members go. `PARTLYAPPLIED` says that half a minute, or
//!   the deadline of a stronger write, was not enough, and how many are gone; the same command goes on.
//! - LPOP and RPOP take at most 10,000 elements at once. Two regions may pop one element, as long as they do not know of
//!   each other: a pop is at least once.
//! - `LCLAIM key LEFT|RIGHT` takes one element that no other claim takes, in whatever region, as
//!   [`List::claim_front`](crate::List::claim_front) does: it asks the region where the element was inserted.
//!   `STREAM.CLAIM key` does the same for the oldest entry of a stream. They answer the element, or nil; `UNAVAILABLE`
//!   names the regions where elements wait that cannot be reached. They need a client: an interpreter of a store alone
//!   refuses them.
//! - What Redis computes at the server is computed here of one read: LPOS and GETRANGE read the whole value. Refused,
//!   as unknown commands, are words without a meaning that holds where regions write at once: APPEND, SETRANGE and
//!   SETBIT change a part of a value that another region replaces; SPOP, ZPOPMIN and ZPOPMAX would give one member to
//!   two regions (of a list, LCLAIM does not), and leave increments that they have not seen; LMOVE, SMOVE, RENAME and
//!   COPY are of two names, which no one step covers; SRANDMEMBER, HRANDFIELD and RANDOMKEY draw lots, which a reader
//!   does as well of SMEMBERS or HGETALL.
//! - A stock has commands of its own, and no others: `STOCK.RESTOCK key id units`, `STOCK.TAKE key id units [UPTO]`,
//!   `STOCK.RETURN key id units`, `STOCK.RESERVE key id units milliseconds`, `STOCK.CONFIRM key reservation`,
//!   `STOCK.RELEASE key reservation`, `STOCK.TRANSFER key REGION/INCARNATION units [UPTO]`, `STOCK.LEFT key` and
//!   `STOCK.RIGHTS key`. They act on this region's rights alone: `NORIGHTS` says that these do not suffice. DEL, SET and
//!   EXPIRE are refused where there is one.
//! - A stream is gone with its last entry, and what was removed does not bound the next id; `MS-*` is no id, XREAD never
//!   waits (no BLOCK), and there are no consumer groups. MAXLEN and MINID remove at most 10,000 entries at once, and all of
//!   those, `~` or not. Consumers in any region take each entry once by
//!   `STREAM.CLAIM`. An entry of another region may arrive with an id below some that are here already: a reader that
//!   goes on from the last id it has seen misses it.
//! - A feed has words of its own, beside those for any name: `FEED.APPEND key [MAXLEN n|MAXAGE milliseconds] value`,
//!   `FEED.RANGE key start end [COUNT n]`, `FEED.REVRANGE key end start [COUNT n]`, `FEED.LEN key`, `FEED.REM key id
//!   [id ...]`, and `FEED.ARRIVED key cursor|0|$ [COUNT n]` (from the start, or from now on), which answers a cursor, 1 if
//!   reading started over, and entries in the order in which they arrived in this region ([`Feed`](crate::Feed)), 1,000 at most: go on
//!   until none come. Behind them, where that is any, it says how many entries are in no order of arrival
//!   ([`Arrived::unordered`](crate::Arrived::unordered)). An append evicts 10,000 entries at most; `MAXLEN 0` is taken for 1, as
//!   [`Feed::keep_newest`](crate::Feed::keep_newest) does. TYPE answers `feed`.
//! - An error that is none of Redis's begins with `UNAVAILABLE` (nothing was done), `MAYBEAPPLIED` (a write was sent and
//!   no answer came) or `TIMEOUT` (a read was), and names the region. Where the keyspace asks for more than the local region
//!   ([`strength`](crate::strength)), `PARTLYAPPLIED` and `TOOFEWANSWERS` say which regions answered.

mod call;
mod claims;
mod feeds;
mod hashes;
mod hyperloglogs;
mod keys;
mod line;
mod lists;
mod lpos;
mod numbers;
mod parse;
mod place;
mod places;
mod ranges;
mod reply;
mod rules;
mod sets;
mod sorted_sets;
mod stocks;
mod streams;
mod strings;
mod table;

use std::sync::Arc;

use bytes::Bytes;

use self::{
    call::{Call, wrong_arity},
    place::Place,
};
pub use self::{
    line::{UnbalancedQuotes, split_line},
    reply::ExecReply,
};
use crate::{client::Keyspace, store::Store};

/// The most words a command may have: enough for the largest write a store takes.
const MAX_WORDS: usize = 32 * 1024;

/// Executes commands on one keyspace in one region.
///
/// A clone works on the same store. Use the typed handles where the types are known: they cost one command each, while a
/// read here also looks at the other types of the name (in the same round trip).
///
/// ```
/// use std::sync::Arc;
/// use archipelago::{Embedded, exec::{Interpreter, split_line}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let embedded = Embedded::builder().region("eu-west-1").build()?;
/// let eu = "eu-west-1".parse()?;
/// let interpreter = Interpreter::new(embedded.store(&eu, &eu, "default")?);
/// for (line, reply) in [
///     ("SET greeting \"hello world\"", "OK"),
///     ("get greeting", "\"hello world\""),
///     ("INCRBY views 3", "(integer) 3"),
///     ("SADD greeting x", "(error) WRONGTYPE Operation against a key holding the wrong kind of value"),
/// ] {
///     assert_eq!(interpreter.execute(&split_line(line)?).await.to_line(), reply);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Interpreter {
    place: Place,
}

impl Interpreter {
    /// An interpreter of commands on this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { place: Place::Store(store) }
    }

    /// An interpreter of commands on this keyspace, with the strengths it has.
    pub(crate) fn of_keyspace(keyspace: Keyspace) -> Self {
        Self { place: Place::Keyspace(Box::new(keyspace)) }
    }

    /// Executes one command: its name and arguments, as [`split_line`] yields them.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the wait: a write that was sent may still be applied.
    pub async fn execute(&self, args: &[Bytes]) -> ExecReply {
        let (command, rest) = match look_up(args) {
            Ok(found) => found,
            Err(text) => return ExecReply::Error(text),
        };
        let call = Call::new(&self.place, command.name, rest);
        (command.run)(call).await.unwrap_or_else(|failure| ExecReply::Error(failure.into_text()))
    }

    /// Whether a command may ask regions beside the local one, whatever the strengths: a claim does.
    ///
    /// ```
    /// use archipelago::exec::{Interpreter, split_line};
    /// assert!(Interpreter::asks_elsewhere(&split_line("LCLAIM jobs LEFT")?));
    /// assert!(!Interpreter::asks_elsewhere(&split_line("LPOP jobs")?));
    /// # Ok::<(), archipelago::exec::UnbalancedQuotes>(())
    /// ```
    #[must_use]
    pub fn asks_elsewhere(args: &[Bytes]) -> bool {
        let command = args.first().and_then(|name| table::find(name));
        command.is_some_and(|command| ["lclaim", "stream.claim"].contains(&command.name))
    }

    /// Whether there is a command of this name.
    pub(crate) fn knows(name: &[u8]) -> bool {
        // Plain servers have no stock.
        table::find(name).is_some_and(|command| !command.name.starts_with("stock."))
    }

    /// The error of a command that is refused before it runs: what a transaction is given up for.
    pub(crate) fn refusal(args: &[Bytes]) -> Option<String> {
        look_up(args).err()
    }
}

fn look_up(args: &[Bytes]) -> Result<(&'static table::Command, &[Bytes]), String> {
    let Some((name, rest)) = args.split_first() else { return Err("ERR empty command".into()) };
    if args.len() > MAX_WORDS {
        return Err(format!("ERR too many arguments, at most {MAX_WORDS}"));
    }
    let command = table::find(name).ok_or_else(|| table::unknown(name, rest))?;
    if command.takes(args.len()) { Ok((command, rest)) } else { Err(wrong_arity(command.name).into_text()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests;

//! What a Redis or Valkey command does, and so where and how it may run.
//!
//! A connection that routes has to know, for a command it has never seen before: whether it may go to a replica
//! ([`Access`]), which node it is for ([`Placement`], [`Command::keys`]), whether it may be sent again when no answer
//! came ([`Command::is_idempotent`]), how long it may keep its connection ([`Blocking`]), and whether a connection
//! that others share can take it at all ([`Refusal`]). This module answers from a table of the commands of Redis 6.2 to
//! 8 and Valkey 7.2 to 9, with JSON, search, time series, probabilistic types and vector sets. It does no I/O, never
//! allocates, and never panics, whatever the arguments.
//!
//! ```
//! use archipelago::commands::{self, Access, Placement};
//!
//! let cmd = redis::Cmd::zunionstore("sum", &["a", "b"]);
//! let command = commands::of_cmd(&cmd);
//! assert_eq!(command.access(), Access::Write);
//! assert_eq!(command.placement(), Placement::Keyed);
//! assert!(command.is_idempotent());
//! assert_eq!(command.keys().collect::<Vec<_>>(), [b"sum".as_slice(), b"a", b"b"]);
//! ```
//!
//! # When a command is idempotent
//!
//! When running it twice, one right behind the other, leaves the data as running it once does, and the second answer
//! serves the caller as well as the first would have. In detail:
//!
//! - Every read is.
//! - A write that puts something into a named place, or takes something named away, is: SET, HSET, SADD, ZADD, DEL, HDEL,
//!   EXPIREAT. Its answer may *count* differently: a repeated SADD or DEL answers 0, because the first one did the work.
//! - A relative lifetime (EXPIRE, SETEX, SET with EX) is, and counts from the last attempt.
//! - What depends on what was there is not: INCR, APPEND, LPUSH, LTRIM, XADD, ZADD with INCR; nor is storing a result
//!   over one of its own sources (`BITOP XOR a a b`, `SDIFFSTORE a b a`).
//! - What answers data that is then gone is not: GETDEL, GETSET, SET with GET, SPOP, LPOP, XREADGROUP.
//! - What *decides* is not, although its state is the same: SETNX, SET with NX, XX or IFEQ, EXPIRE with NX or GT, DELIFEQ,
//!   COPY without REPLACE, RENAME. The repetition would tell the winner that it lost.
//! - Scripts and functions are not, except in their `_RO` forms.
//! - A command the table does not know is not.
//!
//! Not promised: that nobody else wrote in between. A repeated SET also undoes what another client set meanwhile.

mod access;
mod arguments;
mod batch;
mod blocking;
mod command;
mod effect;
mod keys;
mod lookup;
mod placement;
mod refusal;
mod table;

#[cfg(test)]
mod tests;

pub use access::Access;
pub use arguments::Arguments;
pub use batch::{Batch, of_pipeline};
pub use blocking::Blocking;
pub use command::{Command, of_cmd};
pub use keys::Keys;
pub use placement::Placement;
pub use refusal::Refusal;

//! The commands, one row each.
//!
//! A test compares the rows with what real servers say about themselves; see `tests/tests/commands.rs`.

use super::{
    blocking::Wait,
    effect::{Effect, OptionRule, Rule},
    keys::KeySpec,
    placement::Placement,
    refusal::Refusal,
};

/// What the table says about a command, or about a subcommand.
#[derive(Debug)]
pub(super) struct Row {
    /// In capitals; a subcommand behind its container and a space. Empty for [`UNKNOWN`].
    pub(super) name: &'static str,
    pub(super) rule: Rule,
    /// [`Placement::Keyed`] holds only if the arguments have a key.
    pub(super) placement: Placement,
    pub(super) keys: KeySpec,
    pub(super) wait: Option<Wait>,
    pub(super) refusal: Option<Refusal>,
}

/// A command that is not in the table.
pub(super) static UNKNOWN: Row = once("", FIRST);

/// Longer than any name in the table, as a test checks.
const LONGEST: usize = 32;

/// The row of a command, or of its subcommand. `None` when there is none.
///
/// A container stands for the subcommands that have no row of their own.
pub(super) fn row_of(name: &[u8], subcommand: Option<&[u8]>) -> Option<&'static Row> {
    // A space would otherwise find the row of a subcommand; for the servers it is just an unknown name.
    if name.contains(&b' ') {
        return None;
    }
    let mut wanted = Capitals::default();
    let at = wanted.push(name).and_then(position)?;
    let is_container = ROWS.get(at.saturating_add(1)).is_some_and(|next| wanted.is_container_of(next));
    let of_subcommand = subcommand.filter(|_| is_container).and_then(|subcommand| {
        wanted.push(b" ")?;
        wanted.push(subcommand).and_then(position)
    });
    ROWS.get(of_subcommand.unwrap_or(at))
}

fn position(name: &[u8]) -> Option<usize> {
    ROWS.binary_search_by(|row| row.name.as_bytes().cmp(name)).ok()
}

/// A name in capitals, on the stack.
#[derive(Default)]
struct Capitals {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Capitals {
    /// The whole name so far. `None` when it is longer than any in the table.
    fn push(&mut self, part: &[u8]) -> Option<&[u8]> {
        let end = self.len.saturating_add(part.len());
        let place = self.bytes.get_mut(self.len..end)?;
        place.copy_from_slice(part);
        place.make_ascii_uppercase();
        self.len = end;
        self.bytes.get(..end)
    }

    /// Whether that row is one of its subcommands: these follow their container, for a space sorts before every letter.
    fn is_container_of(&self, row: &Row) -> bool {
        let name = self.bytes.get(..self.len).unwrap_or_default();
        row.name.as_bytes().strip_prefix(name).is_some_and(|rest| rest.starts_with(b" "))
    }
}

// Where the keys are.
const NONE: KeySpec = KeySpec::Nowhere;
const FIRST: KeySpec = KeySpec::Range { first: 1, last: 1, step: 1 };
const SECOND: KeySpec = KeySpec::Range { first: 2, last: 2, step: 1 };
const BOTH: KeySpec = KeySpec::Range { first: 1, last: 2, step: 1 };
const ALL: KeySpec = KeySpec::Range { first: 1, last: -1, step: 1 };
const SECOND_ON: KeySpec = KeySpec::Range { first: 2, last: -1, step: 1 };
const BUT_LAST: KeySpec = KeySpec::Range { first: 1, last: -2, step: 1 };
const PAIRS: KeySpec = KeySpec::Range { first: 1, last: -1, step: 2 };
const TRIPLES: KeySpec = KeySpec::Range { first: 1, last: -1, step: 3 };
const COUNTED_FIRST: KeySpec = KeySpec::Counted { at: 1, step: 1 };
const COUNTED_SECOND: KeySpec = KeySpec::Counted { at: 2, step: 1 };
const COUNTED_PAIRS: KeySpec = KeySpec::Counted { at: 1, step: 2 };

// What the options decide.
use Effect::{Assign, Derive, Once};
const BITFIELD: OptionRule = rule(Derive, 2, &[("INCRBY", Once), ("SET", Once)]);
const COPY: OptionRule = rule(Once, 3, &[("REPLACE", Derive)]);
const DELEX: OptionRule = rule(Assign, 2, &[("IFDEQ", Once), ("IFDNE", Once), ("IFEQ", Once), ("IFNE", Once)]);
const EXPIRE: OptionRule = rule(Derive, 3, &[("GT", Once), ("LT", Once), ("NX", Once), ("XX", Once)]);
const FUNCTION_LOAD: OptionRule = rule(Once, 2, &[("REPLACE", Assign)]);
const FUNCTION_RESTORE: OptionRule = rule(Once, 3, &[("FLUSH", Assign), ("REPLACE", Assign)]);
const HSETEX: OptionRule = rule(Derive, 2, &[("FNX", Once), ("FXX", Once), ("NX", Once), ("XX", Once)]);
const JSON_SET: OptionRule = rule(Derive, 4, &[("NX", Once), ("XX", Once)]);
const MSETEX: OptionRule = rule(Derive, 2, &[("NX", Once), ("XX", Once)]);
const RESTORE: OptionRule = rule(Once, 4, &[("REPLACE", Assign)]);
const SET: OptionRule = rule(
    Assign,
    3,
    &[
        ("GET", Once),
        ("IFDEQ", Once),
        ("IFDNE", Once),
        ("IFEQ", Once),
        ("IFNE", Once),
        ("KEEPTTL", Derive),
        ("NX", Once),
        ("XX", Once),
    ],
);
// `~` removes whole nodes as it likes, and may remove more the second time.
const XTRIM: OptionRule = rule(Derive, 3, &[("~", Once)]);
const ZADD: OptionRule =
    rule(Assign, 2, &[("GT", Derive), ("INCR", Once), ("LT", Derive), ("NX", Derive), ("XX", Derive)]);

const fn rule(default: Effect, from: usize, options: &'static [(&'static str, Effect)]) -> OptionRule {
    OptionRule { default, from, options }
}

// The kinds of rows.
const fn row(name: &'static str, keys: KeySpec, rule: Rule, placement: Placement) -> Row {
    Row { name, rule, placement, keys, wait: None, refusal: None }
}

const fn read(name: &'static str, keys: KeySpec) -> Row {
    row(name, keys, Rule::Always(Effect::Read), Placement::Keyed)
}

const fn assign(name: &'static str, keys: KeySpec) -> Row {
    row(name, keys, Rule::Always(Assign), Placement::Keyed)
}

const fn derive(name: &'static str, keys: KeySpec) -> Row {
    row(name, keys, Rule::Always(Derive), Placement::Keyed)
}

const fn once(name: &'static str, keys: KeySpec) -> Row {
    row(name, keys, Rule::Always(Once), Placement::Keyed)
}

const fn store(name: &'static str, keys: KeySpec) -> Row {
    row(name, keys, Rule::Store, Placement::Keyed)
}

const fn depends(name: &'static str, keys: KeySpec, rule: &'static OptionRule) -> Row {
    row(name, keys, Rule::Options(rule), Placement::Keyed)
}

const fn anywhere(name: &'static str) -> Row {
    keyless(name, Effect::Read, Placement::Anywhere)
}

const fn keyless(name: &'static str, effect: Effect, placement: Placement) -> Row {
    row(name, NONE, Rule::Always(effect), placement)
}

const fn refused(name: &'static str, refusal: Refusal) -> Row {
    Row { refusal: Some(refusal), ..once(name, NONE) }
}

impl Row {
    const fn waits(self, wait: Wait) -> Self {
        Self { wait: Some(wait), ..self }
    }

    const fn on(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }

    const fn naming(self, keys: KeySpec) -> Self {
        Self { keys, ..self }
    }
}

#[cfg(test)]
pub(super) fn rows() -> &'static [Row] {
    ROWS
}

/// In the order of the bytes of their names.
static ROWS: &[Row] = &[
    refused("ACL", Refusal::Server),
    anywhere("ACL CAT"),
    anywhere("ACL DRYRUN"),
    anywhere("ACL GENPASS"),
    anywhere("ACL GETUSER"),
    anywhere("ACL HELP"),
    anywhere("ACL LIST"),
    anywhere("ACL USERS"),
    anywhere("ACL WHOAMI"),
    once("APPEND", FIRST),
    refused("ASKING", Refusal::Routing),
    refused("AUTH", Refusal::Login),
    derive("BF.ADD", FIRST),
    read("BF.CARD", FIRST),
    read("BF.DEBUG", FIRST),
    read("BF.EXISTS", FIRST),
    read("BF.INFO", FIRST),
    derive("BF.INSERT", FIRST),
    once("BF.LOAD", FIRST),
    once("BF.LOADCHUNK", FIRST),
    derive("BF.MADD", FIRST),
    read("BF.MEXISTS", FIRST),
    once("BF.RESERVE", FIRST),
    read("BF.SCANDUMP", FIRST),
    refused("BGREWRITEAOF", Refusal::Server),
    refused("BGSAVE", Refusal::Server),
    read("BITCOUNT", FIRST),
    depends("BITFIELD", FIRST, &BITFIELD),
    read("BITFIELD_RO", FIRST),
    store("BITOP", SECOND_ON),
    read("BITPOS", FIRST),
    once("BLMOVE", BOTH).waits(Wait::Seconds(-1)),
    once("BLMPOP", COUNTED_SECOND).waits(Wait::Seconds(1)),
    once("BLPOP", BUT_LAST).waits(Wait::Seconds(-1)),
    once("BRPOP", BUT_LAST).waits(Wait::Seconds(-1)),
    once("BRPOPLPUSH", BOTH).waits(Wait::Seconds(-1)),
    once("BZMPOP", COUNTED_SECOND).waits(Wait::Seconds(1)),
    once("BZPOPMAX", BUT_LAST).waits(Wait::Seconds(-1)),
    once("BZPOPMIN", BUT_LAST).waits(Wait::Seconds(-1)),
    once("CF.ADD", FIRST),
    once("CF.ADDNX", FIRST),
    once("CF.COMPACT", FIRST),
    read("CF.COUNT", FIRST),
    read("CF.DEBUG", FIRST),
    once("CF.DEL", FIRST),
    read("CF.EXISTS", FIRST),
    read("CF.INFO", FIRST),
    once("CF.INSERT", FIRST),
    once("CF.INSERTNX", FIRST),
    once("CF.LOADCHUNK", FIRST),
    read("CF.MEXISTS", FIRST),
    once("CF.RESERVE", FIRST),
    read("CF.SCANDUMP", FIRST),
    refused("CLIENT", Refusal::Server),
    refused("CLIENT CACHING", Refusal::Server),
    refused("CLIENT CAPA", Refusal::Connection),
    anywhere("CLIENT GETNAME"),
    anywhere("CLIENT GETREDIR"),
    anywhere("CLIENT HELP"),
    anywhere("CLIENT ID"),
    refused("CLIENT IMPORT-SOURCE", Refusal::Connection),
    anywhere("CLIENT INFO"),
    anywhere("CLIENT LIST"),
    refused("CLIENT NO-EVICT", Refusal::Connection),
    refused("CLIENT NO-TOUCH", Refusal::Connection),
    refused("CLIENT REPLY", Refusal::Server),
    refused("CLIENT SETINFO", Refusal::Connection),
    refused("CLIENT SETNAME", Refusal::Connection),
    refused("CLIENT TRACKING", Refusal::Server),
    anywhere("CLIENT TRACKINGINFO"),
    refused("CLUSTER", Refusal::Server),
    anywhere("CLUSTER COUNT-FAILURE-REPORTS"),
    anywhere("CLUSTER COUNTKEYSINSLOT"),
    refused("CLUSTER FAILOVER", Refusal::Topology),
    anywhere("CLUSTER GETKEYSINSLOT"),
    anywhere("CLUSTER GETSLOTMIGRATIONS"),
    anywhere("CLUSTER HELP"),
    anywhere("CLUSTER INFO"),
    anywhere("CLUSTER KEYSLOT"),
    anywhere("CLUSTER LINKS"),
    anywhere("CLUSTER MYID"),
    anywhere("CLUSTER MYSHARDID"),
    anywhere("CLUSTER NODES"),
    anywhere("CLUSTER REPLICAS"),
    refused("CLUSTER REPLICATE", Refusal::Topology),
    anywhere("CLUSTER SHARDS"),
    anywhere("CLUSTER SLAVES"),
    anywhere("CLUSTER SLOT-STATS"),
    anywhere("CLUSTER SLOTS"),
    keyless("CLUSTERSCAN", Effect::Read, Placement::Cursor),
    once("CMS.INCRBY", FIRST),
    read("CMS.INFO", FIRST),
    once("CMS.INITBYDIM", FIRST),
    once("CMS.INITBYPROB", FIRST),
    store("CMS.MERGE", KeySpec::StoreCounted),
    read("CMS.QUERY", FIRST),
    anywhere("COMMAND"),
    anywhere("COMMAND COUNT"),
    anywhere("COMMAND DOCS"),
    anywhere("COMMAND GETKEYS"),
    anywhere("COMMAND GETKEYSANDFLAGS"),
    anywhere("COMMAND HELP"),
    anywhere("COMMAND INFO"),
    anywhere("COMMAND LIST"),
    refused("COMMANDLOG", Refusal::Server),
    anywhere("COMMANDLOG GET"),
    anywhere("COMMANDLOG HELP"),
    anywhere("COMMANDLOG LEN"),
    refused("CONFIG", Refusal::Server),
    anywhere("CONFIG GET"),
    anywhere("CONFIG HELP"),
    depends("COPY", BOTH, &COPY),
    anywhere("DBSIZE"),
    refused("DEBUG", Refusal::Server),
    once("DECR", FIRST),
    once("DECRBY", FIRST),
    assign("DEL", ALL),
    depends("DELEX", FIRST, &DELEX),
    once("DELIFEQ", FIRST),
    read("DIGEST", FIRST),
    refused("DISCARD", Refusal::Transaction),
    read("DUMP", FIRST),
    anywhere("ECHO"),
    once("EVAL", COUNTED_SECOND),
    once("EVALSHA", COUNTED_SECOND),
    read("EVALSHA_RO", COUNTED_SECOND),
    read("EVAL_RO", COUNTED_SECOND),
    refused("EXEC", Refusal::Transaction),
    read("EXISTS", ALL),
    depends("EXPIRE", FIRST, &EXPIRE),
    depends("EXPIREAT", FIRST, &EXPIRE),
    read("EXPIRETIME", FIRST),
    refused("FAILOVER", Refusal::Topology),
    once("FCALL", COUNTED_SECOND),
    read("FCALL_RO", COUNTED_SECOND),
    keyless("FLUSHALL", Effect::Assign, Placement::Writer),
    keyless("FLUSHDB", Effect::Assign, Placement::Writer),
    anywhere("FT.AGGREGATE"),
    keyless("FT.ALIASADD", Effect::Once, Placement::Writer),
    keyless("FT.ALIASDEL", Effect::Once, Placement::Writer),
    keyless("FT.ALIASUPDATE", Effect::Assign, Placement::Writer),
    keyless("FT.ALTER", Effect::Once, Placement::Writer),
    refused("FT.CONFIG", Refusal::Server),
    anywhere("FT.CONFIG GET"),
    anywhere("FT.CONFIG HELP"),
    keyless("FT.CREATE", Effect::Once, Placement::Writer),
    keyless("FT.CURSOR", Effect::Once, Placement::Cursor),
    keyless("FT.DICTADD", Effect::Assign, Placement::Writer),
    keyless("FT.DICTDEL", Effect::Assign, Placement::Writer),
    anywhere("FT.DICTDUMP"),
    keyless("FT.DROP", Effect::Once, Placement::Writer),
    keyless("FT.DROPINDEX", Effect::Once, Placement::Writer),
    anywhere("FT.EXPLAIN"),
    anywhere("FT.EXPLAINCLI"),
    anywhere("FT.HYBRID"),
    anywhere("FT.INFO"),
    anywhere("FT.PROFILE"),
    anywhere("FT.SEARCH"),
    anywhere("FT.SPELLCHECK"),
    once("FT.SUGADD", FIRST),
    assign("FT.SUGDEL", FIRST),
    read("FT.SUGGET", FIRST),
    read("FT.SUGLEN", FIRST),
    anywhere("FT.SYNDUMP"),
    keyless("FT.SYNUPDATE", Effect::Assign, Placement::Writer),
    anywhere("FT.TAGVALS"),
    anywhere("FT._LIST"),
    refused("FUNCTION", Refusal::Server),
    keyless("FUNCTION DELETE", Effect::Once, Placement::EveryPrimary),
    anywhere("FUNCTION DUMP"),
    keyless("FUNCTION FLUSH", Effect::Assign, Placement::EveryPrimary),
    anywhere("FUNCTION HELP"),
    anywhere("FUNCTION LIST"),
    depends("FUNCTION LOAD", NONE, &FUNCTION_LOAD).on(Placement::EveryPrimary),
    depends("FUNCTION RESTORE", NONE, &FUNCTION_RESTORE).on(Placement::EveryPrimary),
    anywhere("FUNCTION STATS"),
    depends("GEOADD", FIRST, &ZADD),
    read("GEODIST", FIRST),
    read("GEOHASH", FIRST),
    read("GEOPOS", FIRST),
    store("GEORADIUS", KeySpec::GeoStore),
    store("GEORADIUSBYMEMBER", KeySpec::GeoStore),
    read("GEORADIUSBYMEMBER_RO", FIRST),
    read("GEORADIUS_RO", FIRST),
    read("GEOSEARCH", FIRST),
    store("GEOSEARCHSTORE", BOTH),
    read("GET", FIRST),
    read("GETBIT", FIRST),
    once("GETDEL", FIRST),
    derive("GETEX", FIRST),
    read("GETRANGE", FIRST),
    once("GETSET", FIRST),
    assign("HDEL", FIRST),
    refused("HELLO", Refusal::Login),
    read("HEXISTS", FIRST),
    depends("HEXPIRE", FIRST, &EXPIRE),
    depends("HEXPIREAT", FIRST, &EXPIRE),
    read("HEXPIRETIME", FIRST),
    read("HGET", FIRST),
    read("HGETALL", FIRST),
    once("HGETDEL", FIRST),
    derive("HGETEX", FIRST),
    once("HINCRBY", FIRST),
    once("HINCRBYFLOAT", FIRST),
    read("HKEYS", FIRST),
    read("HLEN", FIRST),
    read("HMGET", FIRST),
    assign("HMSET", FIRST),
    refused("HOTKEYS", Refusal::Server),
    derive("HPERSIST", FIRST),
    depends("HPEXPIRE", FIRST, &EXPIRE),
    depends("HPEXPIREAT", FIRST, &EXPIRE),
    read("HPEXPIRETIME", FIRST),
    read("HPTTL", FIRST),
    read("HRANDFIELD", FIRST),
    read("HSCAN", FIRST),
    assign("HSET", FIRST),
    depends("HSETEX", FIRST, &HSETEX),
    once("HSETNX", FIRST),
    read("HSTRLEN", FIRST),
    read("HTTL", FIRST),
    read("HVALS", FIRST),
    once("INCR", FIRST),
    once("INCRBY", FIRST),
    once("INCRBYFLOAT", FIRST),
    once("INCREX", FIRST),
    anywhere("INFO"),
    once("JSON.ARRAPPEND", FIRST),
    read("JSON.ARRINDEX", FIRST),
    once("JSON.ARRINSERT", FIRST),
    read("JSON.ARRLEN", FIRST),
    once("JSON.ARRPOP", FIRST),
    once("JSON.ARRTRIM", FIRST),
    derive("JSON.CLEAR", FIRST),
    read("JSON.DEBUG", SECOND),
    once("JSON.DEL", FIRST),
    once("JSON.FORGET", FIRST),
    read("JSON.GET", FIRST),
    derive("JSON.MERGE", FIRST),
    read("JSON.MGET", BUT_LAST),
    derive("JSON.MSET", TRIPLES),
    once("JSON.NUMINCRBY", FIRST),
    once("JSON.NUMMULTBY", FIRST),
    once("JSON.NUMPOWBY", FIRST),
    read("JSON.OBJKEYS", FIRST),
    read("JSON.OBJLEN", FIRST),
    read("JSON.RESP", FIRST),
    depends("JSON.SET", FIRST, &JSON_SET),
    once("JSON.STRAPPEND", FIRST),
    read("JSON.STRLEN", FIRST),
    once("JSON.TOGGLE", FIRST),
    read("JSON.TYPE", FIRST),
    anywhere("KEYS"),
    anywhere("LASTSAVE"),
    refused("LATENCY", Refusal::Server),
    anywhere("LATENCY DOCTOR"),
    anywhere("LATENCY GRAPH"),
    anywhere("LATENCY HELP"),
    anywhere("LATENCY HISTOGRAM"),
    anywhere("LATENCY HISTORY"),
    anywhere("LATENCY LATEST"),
    read("LCS", BOTH),
    read("LINDEX", FIRST),
    once("LINSERT", FIRST),
    read("LLEN", FIRST),
    once("LMOVE", BOTH),
    once("LMPOP", COUNTED_FIRST),
    anywhere("LOLWUT"),
    once("LPOP", FIRST),
    read("LPOS", FIRST),
    once("LPUSH", FIRST),
    once("LPUSHX", FIRST),
    read("LRANGE", FIRST),
    once("LREM", FIRST),
    derive("LSET", FIRST),
    once("LTRIM", FIRST),
    refused("MEMORY", Refusal::Server),
    anywhere("MEMORY DOCTOR"),
    anywhere("MEMORY HELP"),
    anywhere("MEMORY MALLOC-STATS"),
    anywhere("MEMORY STATS"),
    read("MEMORY USAGE", SECOND),
    read("MGET", ALL),
    once("MIGRATE", KeySpec::Migrate),
    refused("MODULE", Refusal::Server),
    anywhere("MODULE HELP"),
    anywhere("MODULE LIST"),
    refused("MONITOR", Refusal::Server),
    once("MOVE", FIRST),
    assign("MSET", PAIRS),
    depends("MSETEX", COUNTED_PAIRS, &MSETEX),
    once("MSETNX", PAIRS),
    refused("MULTI", Refusal::Transaction),
    once("OBJECT", NONE),
    read("OBJECT ENCODING", SECOND),
    read("OBJECT FREQ", SECOND),
    anywhere("OBJECT HELP"),
    read("OBJECT IDLETIME", SECOND),
    read("OBJECT REFCOUNT", SECOND),
    derive("PERSIST", FIRST),
    depends("PEXPIRE", FIRST, &EXPIRE),
    depends("PEXPIREAT", FIRST, &EXPIRE),
    read("PEXPIRETIME", FIRST),
    assign("PFADD", FIRST),
    read("PFCOUNT", ALL),
    refused("PFDEBUG", Refusal::Server),
    derive("PFMERGE", ALL),
    refused("PFSELFTEST", Refusal::Server),
    anywhere("PING"),
    assign("PSETEX", FIRST),
    refused("PSUBSCRIBE", Refusal::Subscription),
    refused("PSYNC", Refusal::Server),
    read("PTTL", FIRST),
    keyless("PUBLISH", Effect::Once, Placement::Writer),
    once("PUBSUB", NONE),
    anywhere("PUBSUB CHANNELS"),
    anywhere("PUBSUB HELP"),
    anywhere("PUBSUB NUMPAT"),
    anywhere("PUBSUB NUMSUB"),
    anywhere("PUBSUB SHARDCHANNELS"),
    anywhere("PUBSUB SHARDNUMSUB"),
    refused("PUNSUBSCRIBE", Refusal::Subscription),
    refused("QUIT", Refusal::Closing),
    anywhere("RANDOMKEY"),
    refused("READONLY", Refusal::Routing),
    refused("READWRITE", Refusal::Routing),
    once("RENAME", BOTH),
    once("RENAMENX", BOTH),
    refused("REPLCONF", Refusal::Server),
    refused("REPLICAOF", Refusal::Topology),
    refused("RESET", Refusal::Closing),
    depends("RESTORE", FIRST, &RESTORE),
    depends("RESTORE-ASKING", FIRST, &RESTORE),
    anywhere("ROLE"),
    once("RPOP", FIRST),
    once("RPOPLPUSH", BOTH),
    once("RPUSH", FIRST),
    once("RPUSHX", FIRST),
    assign("SADD", FIRST),
    refused("SAVE", Refusal::Server),
    keyless("SCAN", Effect::Read, Placement::Cursor),
    read("SCARD", FIRST),
    refused("SCRIPT", Refusal::Server),
    keyless("SCRIPT EXISTS", Effect::Read, Placement::EveryNode),
    keyless("SCRIPT FLUSH", Effect::Read, Placement::EveryNode),
    anywhere("SCRIPT HELP"),
    keyless("SCRIPT LOAD", Effect::Read, Placement::EveryNode),
    anywhere("SCRIPT SHOW"),
    read("SDIFF", ALL),
    store("SDIFFSTORE", ALL),
    refused("SELECT", Refusal::Connection),
    depends("SET", FIRST, &SET),
    assign("SETBIT", FIRST),
    assign("SETEX", FIRST),
    once("SETNX", FIRST),
    assign("SETRANGE", FIRST),
    refused("SHUTDOWN", Refusal::Server),
    read("SINTER", ALL),
    read("SINTERCARD", COUNTED_FIRST),
    store("SINTERSTORE", ALL),
    read("SISMEMBER", FIRST),
    refused("SLAVEOF", Refusal::Topology),
    refused("SLOWLOG", Refusal::Server),
    anywhere("SLOWLOG GET"),
    anywhere("SLOWLOG HELP"),
    anywhere("SLOWLOG LEN"),
    read("SMEMBERS", FIRST),
    read("SMISMEMBER", FIRST),
    once("SMOVE", BOTH),
    store("SORT", KeySpec::SortStore),
    read("SORT_RO", FIRST),
    once("SPOP", FIRST),
    once("SPUBLISH", FIRST),
    read("SRANDMEMBER", FIRST),
    assign("SREM", FIRST),
    read("SSCAN", FIRST),
    refused("SSUBSCRIBE", Refusal::Subscription),
    read("STRLEN", FIRST),
    refused("SUBSCRIBE", Refusal::Subscription),
    read("SUBSTR", FIRST),
    read("SUNION", ALL),
    store("SUNIONSTORE", ALL),
    refused("SUNSUBSCRIBE", Refusal::Subscription),
    keyless("SWAPDB", Effect::Once, Placement::Writer),
    refused("SYNC", Refusal::Server),
    once("TDIGEST.ADD", FIRST),
    read("TDIGEST.BYRANK", FIRST),
    read("TDIGEST.BYREVRANK", FIRST),
    read("TDIGEST.CDF", FIRST),
    once("TDIGEST.CREATE", FIRST),
    read("TDIGEST.INFO", FIRST),
    read("TDIGEST.MAX", FIRST),
    once("TDIGEST.MERGE", KeySpec::StoreCounted),
    read("TDIGEST.MIN", FIRST),
    read("TDIGEST.QUANTILE", FIRST),
    read("TDIGEST.RANK", FIRST),
    derive("TDIGEST.RESET", FIRST),
    read("TDIGEST.REVRANK", FIRST),
    read("TDIGEST.TRIMMED_MEAN", FIRST),
    anywhere("TIME"),
    once("TOPK.ADD", FIRST),
    read("TOPK.COUNT", FIRST),
    once("TOPK.INCRBY", FIRST),
    read("TOPK.INFO", FIRST),
    read("TOPK.LIST", FIRST),
    read("TOPK.QUERY", FIRST),
    once("TOPK.RESERVE", FIRST),
    read("TOUCH", ALL),
    once("TS.ADD", FIRST),
    derive("TS.ALTER", FIRST),
    once("TS.CREATE", FIRST),
    once("TS.CREATERULE", BOTH),
    once("TS.DECRBY", FIRST),
    derive("TS.DEL", FIRST),
    once("TS.DELETERULE", BOTH),
    read("TS.GET", FIRST),
    once("TS.INCRBY", FIRST),
    read("TS.INFO", FIRST),
    once("TS.MADD", TRIPLES),
    anywhere("TS.MGET"),
    anywhere("TS.MRANGE"),
    anywhere("TS.MREVRANGE"),
    anywhere("TS.QUERYINDEX"),
    read("TS.RANGE", FIRST),
    read("TS.REVRANGE", FIRST),
    read("TTL", FIRST),
    read("TYPE", FIRST),
    assign("UNLINK", ALL),
    refused("UNSUBSCRIBE", Refusal::Subscription),
    refused("UNWATCH", Refusal::Transaction),
    derive("VADD", FIRST),
    read("VCARD", FIRST),
    read("VDIM", FIRST),
    read("VEMB", FIRST),
    read("VGETATTR", FIRST),
    read("VINFO", FIRST),
    read("VISMEMBER", FIRST),
    read("VLINKS", FIRST),
    read("VRANDMEMBER", FIRST),
    read("VRANGE", FIRST),
    derive("VREM", FIRST),
    derive("VSETATTR", FIRST),
    read("VSIM", FIRST),
    refused("WAIT", Refusal::Wait).waits(Wait::Millis(2)),
    refused("WAITAOF", Refusal::Wait).waits(Wait::Millis(3)),
    refused("WATCH", Refusal::Transaction).naming(ALL),
    assign("XACK", FIRST),
    assign("XACKDEL", FIRST),
    once("XADD", FIRST),
    once("XAUTOCLAIM", FIRST),
    once("XCFGSET", FIRST),
    once("XCLAIM", FIRST),
    assign("XDEL", FIRST),
    assign("XDELEX", FIRST),
    once("XGROUP", NONE),
    once("XGROUP CREATE", SECOND),
    derive("XGROUP CREATECONSUMER", SECOND),
    derive("XGROUP DELCONSUMER", SECOND),
    derive("XGROUP DESTROY", SECOND),
    anywhere("XGROUP HELP"),
    derive("XGROUP SETID", SECOND),
    once("XINFO", NONE),
    read("XINFO CONSUMERS", SECOND),
    read("XINFO GROUPS", SECOND),
    anywhere("XINFO HELP"),
    read("XINFO STREAM", SECOND),
    read("XLEN", FIRST),
    once("XNACK", FIRST),
    read("XPENDING", FIRST),
    read("XRANGE", FIRST),
    read("XREAD", KeySpec::Streams).waits(Wait::BlockOption),
    once("XREADGROUP", KeySpec::Streams).waits(Wait::BlockOption),
    read("XREVRANGE", FIRST),
    derive("XSETID", FIRST),
    depends("XTRIM", FIRST, &XTRIM),
    depends("ZADD", FIRST, &ZADD),
    read("ZCARD", FIRST),
    read("ZCOUNT", FIRST),
    read("ZDIFF", COUNTED_FIRST),
    store("ZDIFFSTORE", KeySpec::StoreCounted),
    once("ZINCRBY", FIRST),
    read("ZINTER", COUNTED_FIRST),
    read("ZINTERCARD", COUNTED_FIRST),
    store("ZINTERSTORE", KeySpec::StoreCounted),
    read("ZLEXCOUNT", FIRST),
    once("ZMPOP", COUNTED_FIRST),
    read("ZMSCORE", FIRST),
    once("ZPOPMAX", FIRST),
    once("ZPOPMIN", FIRST),
    read("ZRANDMEMBER", FIRST),
    read("ZRANGE", FIRST),
    read("ZRANGEBYLEX", FIRST),
    read("ZRANGEBYSCORE", FIRST),
    store("ZRANGESTORE", BOTH),
    read("ZRANK", FIRST),
    assign("ZREM", FIRST),
    derive("ZREMRANGEBYLEX", FIRST),
    once("ZREMRANGEBYRANK", FIRST),
    derive("ZREMRANGEBYSCORE", FIRST),
    read("ZREVRANGE", FIRST),
    read("ZREVRANGEBYLEX", FIRST),
    read("ZREVRANGEBYSCORE", FIRST),
    read("ZREVRANK", FIRST),
    read("ZSCAN", FIRST),
    read("ZSCORE", FIRST),
    read("ZUNION", COUNTED_FIRST),
    store("ZUNIONSTORE", KeySpec::StoreCounted),
];

//! What the table calls idempotent leaves a real server's data alike, whether it runs once or twice.

use archipelago::commands;
use archipelago::testing::servers::Server;
use archipelago_tests::random;
use redis::{Cmd, Pipeline, Value, aio::MultiplexedConnection};

use crate::{cmd, servers};

/// The data each sample meets.
const BEFORE: &[&str] = &[
    "SET string 10",
    "SET other abc",
    "SET dying 1 EX 1000",
    "RPUSH list c a b a d",
    "SADD set a b c",
    "SADD set2 b x",
    "HSET hash f 1 g 2",
    "ZADD zset 1 a 2 b 3 c",
    "ZADD zset2 5 b 6 x",
    "GEOADD geo 13.3 38.1 p 15.0 37.5 q",
    "PFADD hll a b",
    "PFADD hll2 c",
    "XADD stream 1-1 f v",
    "XADD stream 2-1 f v",
    "XADD stream 3-1 f v",
    "XGROUP CREATE stream group 0",
    "XREADGROUP GROUP group alice COUNT 1 STREAMS stream >",
];

/// Writes of all kinds. Those the server does not know, or refuses here, are no proof of anything and do no harm. A field's
/// lifetime is given as a point in time, for its dump has that to the millisecond.
const SAMPLES: &[&str] = &[
    "APPEND string 1",
    "BITFIELD string GET u8 0",
    "BITFIELD string SET u8 0 7 INCRBY u8 0 1",
    "BITOP AND string string other",
    "BITOP NOT dest string",
    "BITOP NOT string string",
    "BITOP XOR other other string",
    "COPY string dest",
    "COPY string other REPLACE",
    "DECR string",
    "DECRBY string 2",
    "DEL string set nothing",
    "DELIFEQ string 10",
    "EVAL return(redis.call('incr','string')) 0",
    "EXPIRE string 1000",
    "EXPIRE string 1000 NX",
    "EXPIRE dying 2000 GT",
    "EXPIREAT string 99999999999",
    "FLUSHALL",
    "FLUSHDB",
    "FUNCTION FLUSH",
    "GEOADD geo 13.0 38.0 p 14.0 38.0 r",
    "GEOADD geo NX 13.0 38.0 p",
    "GEORADIUS geo 15 37 200 km STORE dest",
    "GEORADIUS geo 15 37 200 km STORE geo",
    "GEORADIUSBYMEMBER geo p 500 km STOREDIST dest",
    "GEOSEARCHSTORE dest geo FROMLONLAT 15 37 BYRADIUS 200 km",
    "GEOSEARCHSTORE geo geo FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST",
    "GETDEL string",
    "GETEX string",
    "GETEX string EX 1000",
    "GETEX dying PERSIST",
    "GETSET string 1",
    "HDEL hash f h",
    "HEXPIREAT hash 99999999999 FIELDS 1 f",
    "HGETDEL hash FIELDS 1 f",
    "HGETEX hash EXAT 99999999999 FIELDS 1 f",
    "HINCRBY hash f 1",
    "HINCRBYFLOAT hash f 1.5",
    "HMSET hash f 3 h 4",
    "HPERSIST hash FIELDS 1 f",
    "HSET hash f 3 h 4",
    "HSETEX hash EXAT 99999999999 FIELDS 1 f 9",
    "HSETEX hash FNX FIELDS 1 n 9",
    "HSETNX hash n 1",
    "INCR string",
    "INCRBY string 5",
    "INCRBYFLOAT string 1.5",
    "LINSERT list BEFORE a z",
    "LMOVE list list LEFT RIGHT",
    "LMPOP 1 list LEFT",
    "LPOP list",
    "LPUSH list a",
    "LPUSHX list a",
    "LREM list 1 a",
    "LSET list 0 z",
    "LTRIM list 1 -1",
    "MOVE string 1",
    "MSET string 1 dest 2",
    "MSETEX 2 string 1 dest 2 EX 1000",
    "MSETNX dest 1 dest2 2",
    "PERSIST dying",
    "PEXPIRE string 1000000",
    "PEXPIREAT string 99999999999999",
    "PFADD hll z",
    "PFMERGE hll hll2",
    "PSETEX string 1000000 v",
    "RENAME string dest",
    "RENAMENX string dest",
    "RPOP list",
    "RPOPLPUSH list dest",
    "RPUSH list a",
    "RPUSHX list a",
    "SADD set d e",
    "SDIFFSTORE dest set set2",
    "SDIFFSTORE set2 set set2",
    "SET string v",
    "SET string v EX 1000",
    "SET dying v KEEPTTL",
    "SET dest v NX",
    "SET string v XX",
    "SET string v GET",
    "SETBIT string 7 1",
    "SETEX string 1000 v",
    "SETNX dest v",
    "SETRANGE string 5 abc",
    "SINTERSTORE set set set2",
    "SINTERSTORE dest set set2",
    "SMOVE set set2 a",
    "SORT list ALPHA",
    "SORT list ALPHA STORE dest",
    "SORT list ALPHA LIMIT 1 2 STORE list",
    "SPOP set",
    "SREM set a z",
    "SUNIONSTORE dest set set2",
    "SWAPDB 0 1",
    "UNLINK string nothing",
    "XACK stream group 1-1",
    "XADD stream * f v",
    "XADD stream 9-1 f v",
    "XAUTOCLAIM stream group bob 0 0",
    "XCLAIM stream group bob 0 1-1",
    "XDEL stream 1-1",
    "XGROUP CREATE stream other 0",
    "XGROUP CREATECONSUMER stream group carol",
    "XGROUP DELCONSUMER stream group alice",
    "XGROUP DESTROY stream group",
    "XGROUP SETID stream group 0",
    "XREADGROUP GROUP group alice COUNT 1 STREAMS stream >",
    "XSETID stream 9-9",
    "XTRIM stream MAXLEN 1",
    "XTRIM stream MINID 2-1",
    "ZADD zset 9 a 4 d",
    "ZADD zset NX 9 a 4 d",
    "ZADD zset GT CH 2 a 1 b",
    "ZADD zset INCR 1 a",
    "ZDIFFSTORE dest 2 zset zset2",
    "ZDIFFSTORE zset2 2 zset zset2",
    "ZINCRBY zset 1 a",
    "ZINTERSTORE dest 2 zset zset2",
    "ZMPOP 1 zset MIN",
    "ZPOPMAX zset",
    "ZPOPMIN zset",
    "ZRANGESTORE dest zset 1 -1",
    "ZRANGESTORE zset zset 1 -1",
    "ZREM zset a z",
    "ZREMRANGEBYLEX zset - [b",
    "ZREMRANGEBYRANK zset 0 0",
    "ZREMRANGEBYSCORE zset 1 2",
    "ZUNIONSTORE dest 2 zset zset2",
    "ZUNIONSTORE zset 2 zset zset2",
];

/// A value, in a form that is equal for equal values.
async fn value(connection: &mut MultiplexedConnection, key: &[u8]) -> Vec<Vec<u8>> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(connection).await.unwrap();
    if kind == "set" {
        // The dump of a set follows its hash table, which may be resized between two dumps of the same members.
        let mut members: Vec<Vec<u8>> = redis::cmd("SMEMBERS").arg(key).query_async(connection).await.unwrap();
        members.sort();
        return members;
    }
    vec![redis::cmd("DUMP").arg(key).query_async(connection).await.unwrap()]
}

/// Every key with its value, and whether it expires.
async fn state(connection: &mut MultiplexedConnection) -> Vec<(Vec<u8>, Vec<Vec<u8>>, bool)> {
    let mut keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(connection).await.unwrap();
    keys.sort();
    let mut state = Vec::new();
    for key in keys {
        let value = value(connection, &key).await;
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(connection).await.unwrap();
        state.push((key, value, ttl >= 0));
    }
    state
}

async fn prepare(connection: &mut MultiplexedConnection) {
    let mut pipeline = redis::pipe();
    pipeline.cmd("FLUSHALL");
    for line in BEFORE {
        pipeline.add_command(cmd(line));
    }
    let _: () = pipeline.query_async(connection).await.unwrap();
}

/// Whether a second run changes what the first one left.
async fn second_run_changes(connection: &mut MultiplexedConnection, pipeline: &Pipeline) -> bool {
    prepare(connection).await;
    let mut states = Vec::new();
    for _ in 0..2 {
        for cmd in pipeline.cmd_iter() {
            let _: Result<Value, _> = cmd.query_async(connection).await;
        }
        states.push(state(connection).await);
    }
    states[0] != states[1]
}

/// The samples that are called idempotent and are not; and how many of the others a second run does change.
async fn broken_promises(server: &Server, is_idempotent: impl Fn(&Cmd) -> bool) -> (Vec<&'static str>, usize) {
    let mut connection = server.connect().await.unwrap();
    let (mut broken, mut rightly_withheld) = (Vec::new(), 0);
    for line in SAMPLES {
        let mut pipeline = redis::pipe();
        pipeline.add_command(cmd(line));
        if second_run_changes(&mut connection, &pipeline).await {
            if is_idempotent(&cmd(line)) {
                broken.push(*line);
            } else {
                rightly_withheld += 1;
            }
        }
    }
    (broken, rightly_withheld)
}

#[tokio::test]
async fn what_is_called_idempotent_may_run_twice() {
    for server in servers().await {
        let (broken, withheld) = broken_promises(&server, |cmd| commands::of_cmd(cmd).is_idempotent()).await;
        assert!(broken.is_empty(), "{broken:#?}");
        assert!(withheld > 20, "the samples hold {withheld} commands that change something twice");
    }
}

#[tokio::test]
async fn a_promise_too_many_is_noticed() {
    let Some(server) = servers().await.into_iter().next() else { return };
    let (broken, _) = broken_promises(&server, |_| true).await;
    for line in ["INCR string", "ZADD zset INCR 1 a", "BITOP NOT string string", "ZUNIONSTORE zset 2 zset zset2"] {
        assert!(broken.contains(&line), "{line} is not noticed");
    }
}

/// Commands that are idempotent each by itself, on few keys, each key of one type.
const PARTS: &[&str] = &[
    "DEL set",
    "DEL string",
    "EXPIRE set 1000",
    "EXPIRE string 1000",
    "PERSIST set",
    "SADD set n",
    "SADD set2 n",
    "SREM set a n",
    "SREM set a b c n",
    "SET string 7",
    "SET string 8",
    "SET string 9 KEEPTTL",
    "SETRANGE string 1 xyz",
    "SETBIT string 7 1",
    "COPY string other REPLACE",
    "SUNIONSTORE dest set set2",
    "SDIFFSTORE set set2 dest",
    "SINTERSTORE set2 set dest",
    "ZADD zset 5 n",
    "ZADD zset NX 6 n",
    "ZADD zset XX 7 n",
    "ZADD zset GT 8 n",
    "ZREM zset n",
    "ZREMRANGEBYSCORE zset 6 9",
    "HSET hash f 3",
    "HDEL hash f g",
    "GET string",
];

#[tokio::test]
async fn a_batch_called_idempotent_may_run_twice() {
    let (mut promised, mut withheld) = (0, 0);
    let servers = servers().await;
    for server in &servers {
        let mut connection = server.connect().await.unwrap();
        for seed in random::seeds(0..150) {
            let mut rng = random::Rng::new(seed);
            let mut pipeline = redis::pipe();
            for _ in 0..2 + rng.below(3) {
                let line = rng.pick(PARTS);
                assert!(commands::of_cmd(&cmd(line)).is_idempotent(), "{line}");
                pipeline.add_command(cmd(line));
            }
            let is_promised = commands::of_pipeline(&pipeline).is_idempotent();
            let changes = second_run_changes(&mut connection, &pipeline).await;
            let lines: Vec<_> = pipeline
                .cmd_iter()
                .map(|cmd| String::from_utf8_lossy(&cmd.get_packed_command()).into_owned())
                .collect();
            assert!(!(is_promised && changes), "seed {seed}: {lines:#?}");
            promised += usize::from(is_promised);
            withheld += usize::from(changes);
        }
    }
    // Else the histories would prove nothing.
    assert!(servers.is_empty() || promised > 10 && withheld > 3, "{promised} promised, {withheld} rightly withheld");
}

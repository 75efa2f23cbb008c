//! A replica refuses exactly what the table calls a write.

use archipelago::commands::{self, Access};
use archipelago::testing::{
    poll,
    servers::{Options, Program, Server},
};
use redis::Value;

use crate::cmd;

/// Where it is not plain from the name. EVAL and its like are not here: a replica takes them, until their script writes.
const SAMPLES: &[&str] = &[
    "GET k",
    "SET k v",
    "GETEX k",
    "GETDEL k",
    "SORT k",
    "SORT_RO k",
    "GEORADIUS k 1 1 1 km",
    "GEORADIUS_RO k 1 1 1 km",
    "GEORADIUSBYMEMBER k m 1 km",
    "BITFIELD k GET u8 0",
    "BITFIELD_RO k GET u8 0",
    "PFCOUNT k",
    "TOUCH k",
    "XREAD STREAMS k 0",
    "XREADGROUP GROUP g c STREAMS k 0",
    "XINFO STREAM k",
    "XGROUP DESTROY k g",
    "OBJECT ENCODING k",
    "MEMORY USAGE k",
    "SCRIPT LOAD return",
    "SCRIPT EXISTS x",
    "SCRIPT FLUSH",
    "FUNCTION LIST",
    "FUNCTION FLUSH",
    "FUNCTION DELETE x",
    "FLUSHALL",
    "SWAPDB 0 1",
    "SCAN 0",
    "KEYS *",
    "DBSIZE",
    "RANDOMKEY",
    "PING",
    "EVAL_RO return 0",
];

#[tokio::test]
async fn a_replica_refuses_what_the_table_calls_a_write() {
    for program in [Program::Redis, Program::Valkey] {
        let Some(primary) = crate::started(program).await else { continue };
        let options = Options { replica_of: Some(primary.port()), ..Options::default() };
        let replica = Server::start(program, options).await.unwrap();
        poll::until("the replica follows", || async {
            (replica.info("master_link_status").await.unwrap() == "up").then_some(())
        })
        .await;
        let mut connection = replica.connect().await.unwrap();
        for line in SAMPLES {
            let cmd = cmd(line);
            let answer: Result<Value, _> = cmd.query_async(&mut connection).await;
            if answer.as_ref().is_err_and(|error| error.to_string().contains("unknown command")) {
                continue; // An older server.
            }
            let is_refused = answer.as_ref().is_err_and(|error| error.code() == Some("READONLY"));
            let is_write = commands::of_cmd(&cmd).access() == Access::Write;
            assert_eq!(is_refused, is_write, "{line}: {answer:?}");
        }
    }
}

//! The table finds the keys that COMMAND GETKEYS finds.

use archipelago::commands;
use archipelago::testing::servers::Server;
use redis::{Arg, Cmd, aio::MultiplexedConnection};

use crate::{cmd, said, servers};

/// Keys that only the right reading of the options finds, and counts that are wrong. Not here: GEORADIUS with STORE and
/// STOREDIST, of which the servers name both destinations and write the last.
const SAMPLES: &[&str] = &[
    "SORT k BY w GET # LIMIT 0 1 STORE d",
    "SORT k BY STORE STORE d",
    "SORT k STORE a STORE d",
    "SORT k LIMIT STORE STORE ASC",
    "SORT_RO k BY w",
    "GEORADIUS k 1 1 1 km STORE d",
    "GEORADIUS k 1 1 1 km COUNT 1 ASC STORE d",
    "GEORADIUSBYMEMBER k m 1 km STOREDIST d",
    "GEORADIUS_RO k 1 1 1 km",
    "XREAD STREAMS a 0",
    "XREAD COUNT 1 BLOCK 5 STREAMS a b c 0 0 0",
    "XREAD STREAMS STREAMS 0",
    "XREADGROUP GROUP g c STREAMS a >",
    "XREADGROUP GROUP STREAMS STREAMS COUNT 1 NOACK STREAMS a b > >",
    "MIGRATE h 1 k 0 5",
    "MIGRATE h 1 k 0 5 COPY REPLACE",
    "MIGRATE h 1 '' 0 5 KEYS a b",
    "MIGRATE h 1 '' 0 5 AUTH KEYS KEYS a b",
    "MIGRATE h 1 '' 0 5 AUTH2 KEYS KEYS COPY KEYS a",
    "EVAL s 0",
    "EVAL s 0 a",
    "EVAL s 2 a b c",
    "EVAL s -1 a",
    "EVAL s 9 a",
    "EVAL s x a",
    "ZUNION 0 a",
    "ZUNION 2 a b",
    "ZUNION 3 a b",
    "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
    "ZMPOP 2 a b MIN COUNT 5",
    "BZMPOP 5 2 a b MIN",
    "BLMPOP 5 1 a LEFT",
    "LMPOP 1 a RIGHT",
    "SINTERCARD 2 a b LIMIT 1",
    "MSET a 1 b 2",
    "BITOP AND d a b c",
];

type Keys = Vec<Vec<u8>>;

/// What the server says; `None` when it finds the arguments malformed, or does not know the command.
async fn said_keys(connection: &mut MultiplexedConnection, cmd: &Cmd) -> Option<Keys> {
    let mut question = redis::cmd("COMMAND");
    question.arg("GETKEYS");
    for word in cmd.args_iter() {
        let Arg::Simple(word) = word else { panic!("a word") };
        question.arg(word);
    }
    match question.query_async(connection).await {
        Ok(keys) => Some(keys),
        Err(error) if error.to_string().contains("no key arguments") => Some(Keys::new()),
        Err(_) => None,
    }
}

fn table_keys(cmd: &Cmd) -> Keys {
    commands::of_cmd(cmd).keys().map(<[u8]>::to_vec).collect()
}

/// Where `found` and the server differ, and how many questions the server answered.
async fn differences(server: &Server, cmds: &[Cmd], found: impl Fn(&Cmd) -> Keys) -> (Vec<String>, usize) {
    let mut connection = server.connect().await.unwrap();
    let (mut differences, mut answered) = (Vec::new(), 0);
    for cmd in cmds {
        let Some(said) = said_keys(&mut connection, cmd).await else { continue };
        answered += 1;
        let found = found(cmd);
        if found != said {
            differences.push(format!("{:?}: {found:?}, but the server says {said:?}", commands::of_cmd(cmd)));
        }
    }
    (differences, answered)
}

/// Every command of the server with every number of arguments up to some, and the samples.
async fn invocations(server: &Server) -> Vec<Cmd> {
    let said = said::commands(server).await;
    let generated = said.iter().flat_map(|said| (0..7).map(|more| said.with_arguments(more)));
    let all = generated.chain(SAMPLES.iter().map(|line| cmd(line)));
    all.filter(|cmd| {
        let command = commands::of_cmd(cmd);
        // The servers call a shard channel no key, though they find its slot as they do a key's. Refused commands are
        // not routed: only WATCH has its keys in the table, since an exclusive connection is asked for by key.
        command.name() != Some("SPUBLISH") && (command.refusal().is_none() || command.name() == Some("WATCH"))
    })
    .collect()
}

#[tokio::test]
async fn the_table_finds_the_keys_that_the_servers_find() {
    for server in servers().await {
        let (differences, answered) = differences(&server, &invocations(&server).await, table_keys).await;
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert!(answered > 500, "the server answered {answered} questions");
    }
}

#[tokio::test]
async fn a_key_too_many_or_too_few_is_noticed() {
    let Some(server) = servers().await.into_iter().next() else { return };
    let cmds = [cmd("ZUNIONSTORE d 2 a b WEIGHTS 1 2")];
    let (missed, _) = differences(&server, &cmds, |cmd| table_keys(cmd).into_iter().skip(1).collect()).await;
    assert_eq!(missed.len(), 1);
    let (invented, _) = differences(&server, &[cmd("EVAL s 0 a")], |_| vec![b"a".to_vec()]).await;
    assert_eq!(invented.len(), 1);
}

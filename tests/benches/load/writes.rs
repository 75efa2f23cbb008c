//! Mutations against the raw command with the same visible effect.

use std::{future::Future, pin::Pin, sync::Arc};

use archipelago::testing::servers::Server;
use archipelago::{Client, config::HistoryCheck};
use redis::{Cmd, aio::MultiplexedConnection};

use crate::{
    measure::{compare, heading, row},
    server::{client, raw, start},
};

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone, Copy)]
enum Write {
    Counter,
    Register,
    Set,
    SortedSet,
}

impl Write {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Counter, "INCRBY / counter.add"),
        (Self::Register, "SET / register.set"),
        (Self::Set, "SADD / set.add"),
        (Self::SortedSet, "ZADD / sorted_set.insert"),
    ];

    fn raw(self, task: usize, turn: usize) -> Cmd {
        let mut cmd;
        match self {
            Self::Counter => {
                cmd = redis::cmd("INCRBY");
                cmd.arg(format!("counter:{task}")).arg(1);
            }
            Self::Register => {
                cmd = redis::cmd("SET");
                cmd.arg(format!("register:{task}")).arg("\"a value of some length\"");
            }
            Self::Set => {
                cmd = redis::cmd("SADD");
                cmd.arg(format!("set:{task}")).arg(turn % 1000);
            }
            Self::SortedSet => {
                cmd = redis::cmd("ZADD");
                cmd.arg(format!("zset:{task}")).arg(turn).arg(turn % 1000);
            }
        }
        cmd
    }

    fn typed(self, client: &Client, task: usize, turn: usize) -> Call {
        match self {
            Self::Counter => {
                let counter = client.counter(format!("counter:{task}"));
                Box::pin(async move { assert!(counter.add(1).await.is_ok()) })
            }
            Self::Register => {
                let register = client.register::<String>(format!("register:{task}"));
                Box::pin(async move { register.set("a value of some length").await.unwrap() })
            }
            Self::Set => {
                let set = client.set(format!("set:{task}"));
                Box::pin(async move { assert!(set.add((turn % 1000).to_string()).await.is_ok()) })
            }
            Self::SortedSet => {
                let board = client.sorted_set(format!("zset:{task}"));
                Box::pin(async move { assert!(board.insert((turn % 1000).to_string(), turn as f64).await.is_ok()) })
            }
        }
    }
}

async fn raw_connections(server: &Server, count: usize) -> Arc<Vec<MultiplexedConnection>> {
    let client = raw(server);
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(client.get_multiplexed_async_connection().await.unwrap());
    }
    Arc::new(connections)
}

async fn compare_writes(server: &Server, tasks: usize, connections: usize, history_check: HistoryCheck) {
    let title = format!("Writes, {tasks} task(s) on {connections} connection(s), history check {history_check:?}");
    heading(&title);
    let client = client(server, connections, history_check).await;
    let raw = raw_connections(server, connections).await;
    for (write, name) in Write::ALL {
        let (raw, typed) = (raw.clone(), client.clone());
        let plain = move |task: usize, turn: usize| {
            let mut connection = raw[task % raw.len()].clone();
            async move {
                let value = connection.send_packed_command(&write.raw(task, turn)).await.unwrap();
                assert!(!matches!(value, redis::Value::ServerError(_)));
            }
        };
        row(name, &compare(tasks, plain, move |task, turn| write.typed(&typed, task, turn)).await);
    }
    client.shut_down().await;
}

pub async fn run() {
    let server = start().await;
    for history_check in [HistoryCheck::Heartbeat, HistoryCheck::Exact] {
        compare_writes(&server, 1, 1, history_check).await;
        compare_writes(&server, 50, 50, history_check).await;
        compare_writes(&server, 50, 1, history_check).await;
    }
}

const PIPELINE: usize = 500;

/// Adds what one write costs to a pipeline.
type Build = fn(&mut redis::Pipeline, usize);

fn plain(pipeline: &mut redis::Pipeline, write: Write, key: usize) {
    pipeline.add_command(write.raw(key, 0));
}

/// What a mutation's script does, as plain commands in MULTI: the same calls without Lua and without their logic.
fn native(pipeline: &mut redis::Pipeline, register: bool, key: usize) {
    let slot = key % 16;
    let (payload, records) = if register { (24, 40) } else { (6, 44) };
    pipeline.cmd("MULTI").ignore();
    pipeline.cmd("HMGET").arg(format!("{{n:{slot}}}:cells:{key}:{register}")).arg("x").arg("m").ignore();
    pipeline.cmd("INCR").arg(format!("{{n:{slot}}}:number")).ignore();
    if register {
        pipeline.cmd("TIME").ignore();
    }
    let entry = vec![0u8; records + 40];
    pipeline.cmd("XADD").arg(format!("{{n:{slot}}}:log")).arg("*").arg("d").arg(entry).ignore();
    let cells = format!("{{n:{slot}}}:cells:{key}:{register}");
    pipeline.cmd("HSET").arg(cells).arg("m").arg(vec![0u8; records]).ignore();
    pipeline.cmd("SET").arg(format!("{{n:{slot}}}:string:{key}")).arg(vec![b'1'; payload]).ignore();
    pipeline.cmd("EXEC").ignore();
}

pub async fn run_pipelined() {
    let server = start().await;
    heading(&format!("Pipelined writes, two tasks with {PIPELINE} in a pipeline"));
    let raw = raw_connections(&server, 1).await;
    let send_raw = |build: Build| {
        let raw = raw.clone();
        move |_, _| {
            let mut connection = raw[0].clone();
            async move {
                let mut pipeline = redis::pipe();
                (0..PIPELINE).for_each(|key| build(&mut pipeline, key));
                let answers = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await.unwrap();
                assert!(answers.iter().all(|answer| !matches!(answer, redis::Value::ServerError(_))));
            }
        }
    };
    for history_check in [HistoryCheck::Heartbeat, HistoryCheck::Exact] {
        let client = client(&server, 1, history_check).await;
        let typed = |register: bool| {
            let client = client.clone();
            move |_, _| {
                let client = client.clone();
                async move {
                    let mut batch = client.batch();
                    for key in 0..PIPELINE {
                        batch = if register {
                            batch.set(&client.register::<String>(format!("register:{key}")), "a value of some length")
                        } else {
                            batch.add(&client.counter(format!("counter:{key}")), 1)
                        };
                    }
                    assert!(batch.execute().await.iter().all(Result::is_ok));
                }
            }
        };
        let sides: [(&str, Build, bool); 4] = [
            ("INCRBY / counter.add", |p, key| plain(p, Write::Counter, key), false),
            ("native MULTI, same effects / counter.add", |p, key| native(p, false, key), false),
            ("SET / register.set", |p, key| plain(p, Write::Register, key), true),
            ("native MULTI, same effects / register.set", |p, key| native(p, true, key), true),
        ];
        for (name, build, register) in sides {
            let comparison = compare(2, send_raw(build), typed(register)).await.of_many(PIPELINE);
            row(&format!("{name} ({history_check:?})"), &comparison);
        }
        client.shut_down().await;
    }
}

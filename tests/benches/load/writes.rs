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
fn native(pipeline: &mut redis::Pipeline, write: Write, key: usize, turn: usize) {
    let slot = key % 16;
    let (kind, field) = match write {
        Write::Counter => ("counter", "m".to_owned()),
        Write::Register => ("register", "m".to_owned()),
        Write::Set => ("set", format!("m{}", turn % 1000)),
        Write::SortedSet => ("zset", format!("m{}", turn % 1000)),
    };
    let cells = format!("{{n:{slot}}}:cells:{kind}:{key}");
    let view = format!("{{n:{slot}}}:{kind}:{key}");
    let cell = vec![0_u8; if matches!(write, Write::Counter) { 44 } else { 40 }];
    let has_members = matches!(write, Write::Set | Write::SortedSet);
    pipeline.cmd("MULTI").ignore();
    let read = pipeline.cmd("HMGET").arg(&cells).arg("x").arg(&field);
    if has_members {
        read.arg("s").ignore()
    } else {
        read.ignore()
    };
    pipeline.cmd("INCR").arg(format!("{{n:{slot}}}:number")).ignore();
    if !matches!(write, Write::Counter) {
        pipeline.cmd("TIME").ignore();
    }
    pipeline.cmd("XADD").arg(format!("{{n:{slot}}}:log")).arg("*").arg("d").arg(vec![0_u8; cell.len() + 40]).ignore();
    let stored = pipeline.cmd("HSET").arg(&cells);
    if has_members {
        stored.arg("s").arg(turn);
    }
    stored.arg(&field).arg(&cell).ignore();
    match write {
        Write::Counter => pipeline.cmd("SET").arg(view).arg(turn).ignore(),
        Write::Register => pipeline.cmd("SET").arg(view).arg(vec![b'1'; 24]).ignore(),
        Write::Set => pipeline.cmd("SADD").arg(view).arg(turn % 1000).ignore(),
        Write::SortedSet => pipeline.cmd("ZADD").arg(view).arg(turn).arg(turn % 1000).ignore(),
    };
    pipeline.cmd("EXEC").ignore();
}

/// What no client can beat that keeps cells and a log by plain commands: those commands against the raw one alone.
pub async fn run_floor() {
    let server = start().await;
    for (tasks, connections) in [(1, 1), (50, 50), (50, 1)] {
        heading(&format!(
            "The same effects by plain commands in a MULTI, {tasks} task(s) on {connections} connection(s)"
        ));
        let raw = raw_connections(&server, connections).await;
        for (write, name) in Write::ALL {
            let name = name.split(" / ").next().unwrap_or(name);
            let (of_plain, of_native) = (raw.clone(), raw.clone());
            let plain = move |task: usize, turn: usize| {
                let mut connection = of_plain[task % of_plain.len()].clone();
                async move {
                    connection.send_packed_command(&write.raw(task, turn)).await.unwrap();
                }
            };
            let native = move |task: usize, turn: usize| {
                let mut connection = of_native[task % of_native.len()].clone();
                async move {
                    let mut pipeline = redis::pipe();
                    native(&mut pipeline, write, task, turn);
                    let answers = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await.unwrap();
                    assert!(answers.iter().all(|answer| !matches!(answer, redis::Value::ServerError(_))));
                }
            };
            row(&format!("{name} / MULTI"), &compare(tasks, plain, native).await);
        }
    }
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
            ("native MULTI, same effects / counter.add", |p, key| native(p, Write::Counter, key, 0), false),
            ("SET / register.set", |p, key| plain(p, Write::Register, key), true),
            ("native MULTI, same effects / register.set", |p, key| native(p, Write::Register, key, 0), true),
        ];
        for (name, build, register) in sides {
            let comparison = compare(2, send_raw(build), typed(register)).await.of_many(PIPELINE);
            row(&format!("{name} ({history_check:?})"), &comparison);
        }
        client.shut_down().await;
    }
}

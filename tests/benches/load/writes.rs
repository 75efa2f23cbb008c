//! Mutations against the raw command with the same visible effect.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use archipelago::testing::servers::Server;
use archipelago::{Client, config::HistoryCheck};
use redis::{Cmd, aio::MultiplexedConnection};

use crate::{
    measure::{Figures, heading, measure, row, seconds},
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

async fn compare(server: &Server, tasks: usize, connections: usize, history_check: HistoryCheck) {
    let title = format!("Writes, {tasks} task(s) on {connections} connection(s), history check {history_check:?}");
    heading(&title);
    let client = client(server, connections, history_check).await;
    let raw = raw_connections(server, connections).await;
    for (write, name) in Write::ALL {
        let raw = raw.clone();
        let plain = measure(tasks, move |task, turn| {
            let mut connection = raw[task % raw.len()].clone();
            async move {
                let value = connection.send_packed_command(&write.raw(task, turn)).await.unwrap();
                assert!(!matches!(value, redis::Value::ServerError(_)));
            }
        })
        .await;
        let client = client.clone();
        let typed = measure(tasks, move |task, turn| write.typed(&client, task, turn)).await;
        row(name, &plain, &typed);
    }
    client.shut_down().await;
}

pub async fn run() {
    let server = start().await;
    for history_check in [HistoryCheck::Heartbeat, HistoryCheck::Exact] {
        compare(&server, 1, 1, history_check).await;
        compare(&server, 50, 50, history_check).await;
        compare(&server, 50, 1, history_check).await;
    }
}

const PIPELINE: usize = 500;

/// How many writes a second two tasks get through when each sends pipelines.
async fn pipelined<F, Fut>(send: F) -> Figures
where
    F: Fn(usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let began = Instant::now();
    let length = seconds();
    let tasks: Vec<_> = (0..2)
        .map(|task| {
            let send = send.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while began.elapsed() < length {
                    send(task).await;
                    count += PIPELINE;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    Figures {
        per_second: count as f64 / began.elapsed().as_secs_f64(),
        p50: began.elapsed() / (count / PIPELINE) as u32,
    }
}

/// What the counter's script does, as plain commands in MULTI: the same calls without Lua and without their logic.
fn native_counter(pipeline: &mut redis::Pipeline, key: usize) {
    let slot = key % 16;
    pipeline.cmd("MULTI").ignore();
    pipeline.cmd("HMGET").arg(format!("{{n:{slot}}}:cells:{key}")).arg("x").arg("s").arg("m").ignore();
    pipeline.cmd("INCR").arg(format!("{{n:{slot}}}:number")).ignore();
    let log = format!("{{n:{slot}}}:log");
    pipeline
        .cmd("XADD")
        .arg(log)
        .arg("MAXLEN")
        .arg("~")
        .arg(1_000_000)
        .arg("*")
        .arg("d")
        .arg([0u8; 84].as_slice())
        .ignore();
    let cells = format!("{{n:{slot}}}:cells:{key}");
    pipeline.cmd("HSET").arg(cells).arg("s").arg(123_456).arg("m").arg([0u8; 44].as_slice()).ignore();
    pipeline.cmd("SET").arg(format!("{{n:{slot}}}:string:{key}")).arg(123_456).ignore();
    pipeline.cmd("EXEC").ignore();
}

pub async fn run_pipelined() {
    let server = start().await;
    heading(&format!("Pipelined writes, two tasks with {PIPELINE} in a pipeline"));
    let raw = raw_connections(&server, 1).await;
    let send_raw = |build: fn(&mut redis::Pipeline, usize)| {
        let raw = raw.clone();
        move |_| {
            let mut connection = raw[0].clone();
            async move {
                let mut pipeline = redis::pipe();
                (0..PIPELINE).for_each(|key| build(&mut pipeline, key));
                let answers = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await.unwrap();
                assert!(answers.iter().all(|answer| !matches!(answer, redis::Value::ServerError(_))));
            }
        }
    };
    let incr = pipelined(send_raw(|pipeline, key| {
        pipeline.add_command(Write::Counter.raw(key, 0));
    }))
    .await;
    let set = pipelined(send_raw(|pipeline, key| {
        pipeline.add_command(Write::Register.raw(key, 0));
    }))
    .await;
    let native = pipelined(send_raw(native_counter)).await;
    for history_check in [HistoryCheck::Heartbeat, HistoryCheck::Exact] {
        let client = client(&server, 1, history_check).await;
        let typed = |register: bool| {
            let client = client.clone();
            move |_| {
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
        let counter = pipelined(typed(false)).await;
        let register = pipelined(typed(true)).await;
        row(&format!("INCRBY / counter.add ({history_check:?})"), &incr, &counter);
        row(&format!("native MULTI, same effects / counter.add ({history_check:?})"), &native, &counter);
        row(&format!("SET / register.set ({history_check:?})"), &set, &register);
        client.shut_down().await;
    }
}

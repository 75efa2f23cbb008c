//! Bytes on the server, of a client's data against the native structures alone: growth of `used_memory`, without the log,
//! which is trimmed behind the regions that have it.

use std::sync::Arc;

use archipelago::{
    config::HistoryCheck,
    engine::{Key, Kind, Mutation},
    store::{Store, Write},
    testing::servers::Server,
};
use redis::{Cmd, Pipeline};

use crate::server::{client, start};

/// Members of sets, hashes and sorted sets in each measurement, in keys of one size.
const MEMBERS: usize = 100_000;
const STRINGS: usize = 20_000;

/// Distinct, as the bytes of ids are, and not numbers, which Redis packs.
fn member(n: usize) -> String {
    format!("member-{n:09}")
}

fn value(n: usize) -> String {
    format!("value-of-{n:011}")
}

fn entries(kind: Kind, first: usize, count: usize) -> Vec<(String, String)> {
    let payload = |n: usize| match kind {
        Kind::Set => String::new(),
        Kind::SortedSet => n.to_string(),
        _ => value(n),
    };
    (first..first + count).map(|n| (member(n), payload(n))).collect()
}

fn native(kind: Kind, name: &str, entries: &[(String, String)]) -> Cmd {
    let mut cmd = redis::cmd(match kind {
        Kind::Set => "SADD",
        Kind::SortedSet => "ZADD",
        _ => "HSET",
    });
    cmd.arg(name);
    for (member, payload) in entries {
        match kind {
            Kind::Set => cmd.arg(member),
            Kind::SortedSet => cmd.arg(payload).arg(member),
            _ => cmd.arg(member).arg(payload),
        };
    }
    cmd
}

async fn used(server: &Server) -> f64 {
    let field = server.info("used_memory").await.unwrap();
    field.trim().parse().unwrap()
}

async fn grown_natively(commands: &[Cmd]) -> f64 {
    let server = start().await;
    let before = used(&server).await;
    let mut connection = server.connect().await.unwrap();
    for chunk in commands.chunks(1000) {
        let mut pipeline = Pipeline::new();
        for cmd in chunk {
            pipeline.add_command(cmd.clone()).ignore();
        }
        let _: () = pipeline.query_async(&mut connection).await.unwrap();
    }
    used(&server).await - before
}

/// `packed` is the length up to which the server keeps a hash's values in one packed piece: 64 by default.
async fn grown_by_client(writes: &[Write], packed: u32) -> f64 {
    let server = start().await;
    // The name that Redis 6.2 knows, too.
    let packing = redis::cmd("CONFIG").arg("SET").arg("hash-max-ziplist-value").arg(packed).clone();
    let _: () = server.run(&packing).await.unwrap();
    let client = client(&server, 1, HistoryCheck::Exact).await;
    let store: Arc<dyn Store> = client.keyspace("default").unwrap().store();
    let before = used(&server).await;
    for chunk in writes.chunks(100) {
        assert!(store.write_all(chunk).await.iter().all(Result::is_ok));
    }
    let logs: Vec<String> = server.run(redis::cmd("KEYS").arg("*:log:*")).await.unwrap();
    for log in logs {
        let _: u64 = server.run(redis::cmd("XTRIM").arg(log).arg("MAXLEN").arg(1)).await.unwrap();
    }
    let grown = used(&server).await - before;
    client.shut_down().await;
    grown
}

fn line(what: &str, units: usize, native: f64, ours: f64) {
    let units = units as f64;
    println!("| {what} | {:.0} | {:.0} | {:.2} |", native / units, ours / units, ours / native);
}

pub async fn run() {
    println!("\n| bytes on the server | native | client | client / native |\n|---|---|---|---|");
    let name = |n: usize| format!("user:{n:08}");
    let text = |n: usize| format!("{n:0100}");
    let commands: Vec<_> = (0..STRINGS).map(|n| redis::cmd("SET").arg(name(n)).arg(text(n)).clone()).collect();
    let set = |n| Write { key: Key::new(Kind::String, name(n)), mutation: Mutation::set(text(n)), exclusive: false };
    let writes: Vec<_> = (0..STRINGS).map(set).collect();
    let native_bytes = grown_natively(&commands).await;
    line("a string of 100 bytes", STRINGS, native_bytes, grown_by_client(&writes, 64).await);
    line("the same, hash-max-listpack-value 256", STRINGS, native_bytes, grown_by_client(&writes, 256).await);
    for kind in [Kind::Set, Kind::Hash, Kind::SortedSet] {
        for size in [10, 1000, 100_000] {
            let (mut commands, mut writes) = (Vec::new(), Vec::new());
            for key in 0..MEMBERS / size {
                for first in (0..size).step_by(1000) {
                    let entries = entries(kind, key * size + first, size.min(1000));
                    commands.push(native(kind, &name(key), &entries));
                    let entries = entries.into_iter().map(|(member, payload)| (member.into(), payload.into()));
                    let key = Key::new(kind, name(key));
                    writes.push(Write { key, mutation: Mutation::assign(entries), exclusive: false });
                }
            }
            let (native_bytes, ours) = (grown_natively(&commands).await, grown_by_client(&writes, 64).await);
            line(&format!("a member of a {kind} of {size}"), MEMBERS, native_bytes, ours);
        }
    }
}

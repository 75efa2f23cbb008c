//! A key of many members is removed while servers go on answering: counterexample 29, on real servers.
//!
//! `ARCHIPELAGO_MEMBERS=1000000` is the million that the counterexample names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use archipelago::{
    Client,
    config::KeyspaceConfig,
    engine::{Body, Kind, Mutation, Outcome, Version, codec},
    store::{Query, Reply, Store, StoreError},
    testing::{
        poll,
        servers::{Options, Program, Server},
    },
};
use archipelago_tests::world::{Ground, World, b, read, settings, settle, store, write};
use bytes::Bytes;

const DEL: Mutation = Mutation::Clear { previous: false };

fn many() -> usize {
    std::env::var("ARCHIPELAGO_MEMBERS").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

/// As long as so many members may take on a busy machine: it ends only what has failed.
fn patience() -> Duration {
    poll::PATIENCE * 3 + Duration::from_millis(2) * u32::try_from(many()).unwrap()
}

async fn world() -> World {
    let slowlog = [("slowlog-log-slower-than", "500"), ("slowlog-max-len", "100000")];
    let more = slowlog.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let options = Options { more, ..Options::default() };
    let settings = KeyspaceConfig { collect_every: Duration::from_millis(100), partitions: 1, ..settings() };
    World::with(Ground::Servers(Program::Redis), options, settings).await.unwrap()
}

async fn fill(at: &dyn Store, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(1000) {
        let entries = some.iter().map(|n| (b(format!("member-{n:09}")), Bytes::new()));
        write(at, Kind::Set, "large", Mutation::assign(entries)).await.unwrap();
    }
}

async fn members(at: &dyn Store) -> BTreeSet<Bytes> {
    let Reply::Array(members) = read(at, Kind::Set, "large", Query::Members).await else { panic!("no array") };
    let name = |member| match member {
        Reply::Bytes(name) => name,
        other => panic!("{other:?}"),
    };
    members.into_iter().map(name).collect()
}

/// The longest that another client waits for a PING while something goes on.
async fn longest_wait<T>(server: &Server, work: impl Future<Output = T>) -> (T, Duration) {
    let mut connection = server.connect().await.unwrap();
    let (mut longest, mut work) = (Duration::ZERO, std::pin::pin!(work));
    loop {
        let asked = Instant::now();
        let mut answer = std::pin::pin!(async {
            let _: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
            asked.elapsed()
        });
        let done = tokio::select! {
            biased;
            done = &mut work => Some(done),
            took = &mut answer => {
                longest = longest.max(took);
                None
            }
        };
        // Now and then, not all the time: the machine has others to serve.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if let Some(done) = done {
            return (done, longest.max(answer.await));
        }
    }
}

/// The longest that a script of ours ran since the last look, if that was half a millisecond or more.
async fn longest_script(server: &Server) -> Duration {
    let slow: Vec<Vec<redis::Value>> = server.run(redis::cmd("SLOWLOG").arg("GET").arg(-1)).await.unwrap();
    let _: () = server.run(redis::cmd("SLOWLOG").arg("RESET")).await.unwrap();
    let micros = slow.iter().map(|entry| redis::from_redis_value_ref::<u64>(&entry[2]).unwrap());
    Duration::from_micros(micros.max().unwrap_or_default())
}

async fn memory(server: &Server) -> u64 {
    let info: String = server.run(redis::cmd("INFO").arg("memory")).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    line.trim().parse().unwrap()
}

/// The cells and the bytes of the largest entry behind a place, and how many entries there are.
async fn entries_behind(at: &dyn Store, mut place: Version) -> (usize, usize, usize) {
    let (mut cells, mut bytes, mut count) = (0, 0, 0);
    loop {
        let slice = at.log_after(0, place, 1000).await.unwrap();
        let Some(last) = slice.entries.last() else { return (cells, bytes, count) };
        place = last.id;
        for raw in &slice.entries {
            if let Body::Data(delta) = codec::decode_entry(&slice.origin, raw.id, &raw.bytes).unwrap().body {
                (cells, bytes, count) = (cells.max(delta.len()), bytes.max(raw.bytes.len()), count + 1);
            }
        }
    }
}

/// A million may take longer than one call goes on.
async fn delete(at: &dyn Store) -> Outcome {
    loop {
        match write(at, Kind::Set, "large", DEL).await {
            Err(StoreError::Partly(what)) => println!("{what}"),
            done => return done.unwrap(),
        }
    }
}

async fn shut_down(clients: Vec<Client>) {
    for client in clients {
        client.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n29_a_large_set_goes_while_servers_answer_and_leaves_nothing_behind() {
    let world = world().await;
    let idle = world.idle_clients().await;
    let stores: Vec<_> = idle.iter().map(store).collect();
    let (a, b_) = (&*stores[0], &*stores[1]);
    settle(&idle[0]).await;
    let baseline = memory(&world.servers[0]).await;
    fill(a, many()).await;
    idle[0].sync_until_idle(patience()).await.unwrap();
    let peak = memory(&world.servers[0]).await;
    let place = a.sync_state(0).await.unwrap().clock;
    longest_script(&world.servers[0]).await;

    let unseen: BTreeSet<Bytes> = (0..50).map(|n| b(format!("unseen-{n}"))).collect();
    let adds = async {
        for member in &unseen {
            let add = Mutation::assign([(member.clone(), Bytes::new())]);
            write(b_, Kind::Set, "large", add).await.unwrap();
        }
    };
    let began = Instant::now();
    let deletion = async { tokio::join!(delete(a), adds).0 };
    let (deleted, waited) = longest_wait(&world.servers[0], deletion).await;
    let took = began.elapsed();
    assert_eq!(deleted, Outcome::Cleared { existed: true, previous: None });
    let script = longest_script(&world.servers[0]).await;
    assert_eq!(members(a).await, BTreeSet::new());
    let (cells, bytes, entries) = entries_behind(a, place).await;
    assert!(cells <= 501 && bytes <= 64 * 1024, "an entry of {cells} cells and {bytes} bytes");
    assert!(entries >= many() / 501, "{entries} entries");
    println!(
        "DEL of {} members: {took:.2?}, the longest script {script:.2?}, the longest wait of another client {waited:.2?}; \
         {entries} entries of at most {bytes} bytes",
        many()
    );

    longest_script(&world.servers[1]).await;
    let (done, waited) = longest_wait(&world.servers[1], idle[0].sync_until_idle(patience())).await;
    done.unwrap();
    let script = longest_script(&world.servers[1]).await;
    println!("its joins: the longest script {script:.2?}, the longest wait of another client {waited:.2?}");
    for at in &stores {
        assert_eq!(members(&**at).await, unseen, "{}", at.region());
    }
    let mut clients = Vec::new();
    for at in 0..3 {
        clients.push(world.client(at).await);
    }
    let back = poll::within(patience(), || async {
        let now = memory(&world.servers[0]).await;
        (now < baseline + (peak - baseline) / 10).then_some(())
    });
    assert!(back.await.is_some(), "the memory is not free again");
    let collecting = longest_script(&world.servers[0]).await;
    println!("its collection: the longest script {collecting:.2?}");
    shut_down(clients).await;
    shut_down(idle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_ends_half_way_leaves_the_rest_to_another() {
    let world = world().await;
    let idle = world.idle_clients().await;
    let (one, other) = (store(&idle[0]), store(&idle[1]));
    fill(&*one, 20_000).await;
    settle(&idle[0]).await;
    let task = tokio::spawn({
        let one = one.clone();
        async move { write(&*one, Kind::Set, "large", DEL).await }
    });
    poll::until("some are gone", || async { (members(&*one).await.len() < 20_000).then_some(()) }).await;
    task.abort();
    let _ = task.await;
    settle(&idle[0]).await;
    assert_eq!(members(&*one).await, members(&*other).await);
    write(&*other, Kind::Set, "large", DEL).await.unwrap();
    settle(&idle[0]).await;
    for client in &idle {
        assert_eq!(members(&*store(client)).await, BTreeSet::new());
    }
    shut_down(idle).await;
}

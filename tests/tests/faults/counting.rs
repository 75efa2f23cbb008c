//! Nothing acknowledged is lost and nothing counts twice, whatever happens to servers and links meanwhile.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use archipelago::testing::{
    poll,
    proxy::{ChaosProxy, Direction},
    servers::{Options, Program},
};
use archipelago::{
    Client,
    config::KeyspaceConfig,
    engine::{Key, Kind, Mutation},
    store::{Query, Write},
};
use archipelago_tests::{
    random::{Rng, seeds},
    world::{Ground, REGIONS, World, converged, line, read, settings, store},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{add, shown};

const WORKERS: usize = 4;
const EACH: usize = 250;

#[derive(Default)]
struct Tally {
    attempts: AtomicUsize,
    acknowledged: AtomicI64,
    maybe: AtomicI64,
    refused: AtomicI64,
}

/// One worker, a process of its own: increments in all three regions, in random order.
async fn work(file: PathBuf, seed: u64, tally: Arc<Tally>) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_increment"))
        .arg(file)
        .args([seed.to_string(), EACH.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let count = match line.as_str() {
            "acknowledged" => &tally.acknowledged,
            "maybe" => &tally.maybe,
            "refused" => &tally.refused,
            other => panic!("{other}"),
        };
        count.fetch_add(1, Ordering::SeqCst);
        tally.attempts.fetch_add(1, Ordering::SeqCst);
    }
    assert!(process.wait().await.unwrap().success());
}

/// The configuration of a world as a file, for processes of their own.
fn file_of(world: &World) -> PathBuf {
    let regions = REGIONS.iter().zip(&world.servers);
    let regions = regions.map(|(name, server)| format!("[regions.{name}]\nurl = \"{}\"\n", server.url()));
    let keyspace = format!("[keyspaces.default]\nmode = \"active-active\"\npartitions = {}\n", settings().partitions);
    let text = regions.chain([keyspace]).collect::<String>();
    let file = std::env::temp_dir().join(format!("archipelago-{}.toml", world.servers[0].port()));
    std::fs::write(&file, text).unwrap();
    file
}

async fn reach(tally: &Tally, share: usize) {
    poll::until("the workers go on", || async {
        (tally.attempts.load(Ordering::SeqCst) >= WORKERS * EACH * share / 100).then_some(())
    })
    .await;
}

async fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut world = World::redis(Options::durable()).await;
    let drivers = [world.client(0).await, world.client(1).await, world.client(2).await];
    let tally = Arc::new(Tally::default());
    let mut workers = tokio::task::JoinSet::new();
    let file = file_of(&world);
    for worker in 0..WORKERS {
        workers.spawn(work(file.clone(), seed * 100 + worker as u64, tally.clone()));
    }
    let (victim, other) = (rng.below(3), rng.below(3));
    reach(&tally, 10).await;
    world.cut(other, (other + 1) % 3).await;
    reach(&tally, 25).await;
    world.servers[victim].kill();
    reach(&tally, 35).await;
    world.servers[victim].restart().await.unwrap();
    reach(&tally, 50).await;
    world.heal().await;
    reach(&tally, 60).await;
    world.cut(victim, (victim + 1) % 3).await;
    world.servers[(victim + 1) % 3].kill();
    world.servers[(victim + 1) % 3].restart().await.unwrap();
    reach(&tally, 80).await;
    world.heal().await;
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    std::fs::remove_file(file).unwrap();
    converged(&drivers[0]).await;
    let shown = shown(&drivers, "hits").await;
    let [acknowledged, maybe, refused] =
        [&tally.acknowledged, &tally.maybe, &tally.refused].map(|count| count.load(Ordering::SeqCst));
    println!("seed {seed}: acknowledged {acknowledged}, maybe applied {maybe}, shown {shown:?} (refused {refused})");
    assert!(shown.iter().all(|n| *n == shown[0]), "seed {seed}: {shown:?}");
    assert!(
        (acknowledged..=acknowledged + maybe).contains(&shown[0]),
        "seed {seed}: {acknowledged} <= {} <= {acknowledged} + {maybe}",
        shown[0]
    );
    for driver in &drivers {
        driver.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_regions_and_cut_links_lose_nothing_and_count_nothing_twice() {
    for seed in seeds(1..4) {
        run(seed).await;
    }
}

#[tokio::test]
async fn a_lost_reply_is_reported_as_maybe_applied_and_counts_once() {
    let world = World::redis(Options::default()).await;
    let mut config = world.config(0);
    let near = ChaosProxy::before(world.servers[0].address()).await.unwrap();
    for region in config.regions.values_mut() {
        region.response_timeout = Duration::from_millis(300);
    }
    config.regions.get_mut(REGIONS[0]).unwrap().url = near.url();
    let client = Client::builder().config(config).without_sync().build().await.unwrap();
    add(&client, "hits", 1).await;
    near.cut(Direction::ToClient);
    let error = client.counter("hits").add(10).await.unwrap_err();
    assert!(error.is_maybe_applied(), "{error}");
    assert!(error.region().is_some_and(|region| region.as_str() == REGIONS[0]));
    near.heal().await.unwrap();
    let read = poll::until("the connection comes back", || async { client.counter("hits").get().await.ok() }).await;
    assert_eq!(read, 11, "it was applied, once");
}

#[tokio::test]
async fn a_region_that_is_down_does_not_block_the_links_between_the_others() {
    let mut world = World::redis(Options::durable()).await;
    let [a, b] = [world.client(0).await, world.client(1).await];
    add(&a, "hits", 1).await;
    converged(&a).await;
    world.servers[2].kill();
    add(&a, "hits", 2).await;
    add(&b, "hits", 4).await;
    for client in [&a, &b] {
        poll::until("the two exchange", || async { (client.counter("hits").get().await.unwrap() == 7).then_some(()) })
            .await;
    }
    world.servers[2].restart().await.unwrap();
    converged(&a).await;
    let c = world.idle_client(2).await;
    assert_eq!(shown(&[c], "hits").await, [7]);
}

#[tokio::test]
async fn a_link_that_lags_past_the_log_cap_recovers_by_resync() {
    let lowest = KeyspaceConfig { log_cap: 1000, ..settings() };
    let ground = Ground::Servers(Program::Redis);
    let world = World::with(ground, Options::default(), lowest).await.unwrap();
    let clients = [world.client(0).await, world.client(1).await, world.client(2).await];
    add(&clients[0], "hits", 1).await;
    converged(&clients[0]).await;
    world.cut(0, 1).await;
    world.cut(1, 2).await;
    let a = store(&clients[0]);
    for round in 0..30 {
        let batch = (0..100).fold(clients[0].batch(), |batch, _| batch.add(&clients[0].counter("hits"), 1));
        assert!(batch.execute().await.iter().all(Result::is_ok), "round {round}");
    }
    let many: Vec<_> = (0..500)
        .map(|n| Write { key: Key::new(Kind::String, format!("k{n}")), mutation: Mutation::set("v"), exclusive: false })
        .collect();
    assert!(a.write_all(&many).await.iter().all(Result::is_ok));
    add(&clients[1], "hits", 10_000).await;
    world.heal().await;
    converged(&clients[0]).await;
    assert_eq!(shown(&clients, "hits").await, [13_001; 3]);
    let b = store(&clients[1]);
    for name in ["k0", "k250", "k499"] {
        assert_eq!(line(&read(&*b, Kind::String, name, Query::Value).await), "v");
    }
}

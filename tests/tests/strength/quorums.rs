//! Every acknowledged write of a majority is seen by every later read of a majority, while one of three regions is killed and
//! comes back.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use archipelago::{
    Client, Error, ErrorKind, Keyspace, ReadStrength, WriteStrength,
    testing::{Acknowledged, Effect, Saw, Tick, poll, servers::Options},
};
use archipelago_tests::{
    random::{Rng, seeds},
    world::{World, converged},
};

/// What all workers share.
struct Record {
    ticks: AtomicU64,
    acknowledged: AtomicU64,
    read: AtomicU64,
    is_over: AtomicBool,
    history: Mutex<Acknowledged>,
}

impl Record {
    fn tick(&self) -> Tick {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Says whether the write was acknowledged.
    async fn write<T>(&self, key: &str, effect: Effect, call: impl Future<Output = Result<T, Error>>) -> bool {
        let began = self.tick();
        let done = call.await;
        let ended = self.tick();
        let acknowledged = match done {
            Ok(_) => Some(ended),
            Err(error) => match error.kind() {
                ErrorKind::Unavailable => return false,
                ErrorKind::PartlyApplied | ErrorKind::MaybeApplied | ErrorKind::Server => None,
                other => panic!("{other:?}: {error}"),
            },
        };
        self.history.lock().unwrap().wrote(key, effect, began, acknowledged);
        self.acknowledged.fetch_add(u64::from(acknowledged.is_some()), Ordering::SeqCst);
        acknowledged.is_some()
    }

    async fn read(&self, key: &str, call: impl Future<Output = Result<Saw, Error>>) {
        let began = self.tick();
        match call.await {
            Ok(saw) => {
                let ended = self.tick();
                self.history.lock().unwrap().read(key, began, ended, saw);
                self.read.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                let of_few = [ErrorKind::TooFewAnswers, ErrorKind::Unavailable, ErrorKind::Timeout];
                assert!(of_few.contains(&error.kind()), "{:?}: {error}", error.kind());
            }
        }
    }
}

/// One worker of a region: writes by a majority, and reads what all of them wrote.
async fn work(keyspace: Keyspace, worker: u64, record: Arc<Record>) {
    let (hits, price, tags) = (keyspace.counter("hits"), keyspace.register::<u64>("price"), keyspace.set("tags"));
    for n in 0.. {
        if record.is_over.load(Ordering::SeqCst) {
            return;
        }
        let unique = worker * 1_000_000 + n;
        record.write("hits", Effect::Add(1), hits.add(1)).await;
        record.write("price", Effect::Set { writer: worker, value: unique }, price.set(&unique)).await;
        let is_there = record.write("tags", Effect::Insert(unique), tags.add(unique.to_string())).await;
        record.read("hits", async { Ok(Saw::Number(u64::try_from(hits.get().await?).unwrap())) }).await;
        record.read("price", async { Ok(Saw::Value(price.get().await?)) }).await;
        record.read("tags", async { members(&tags).await }).await;
        if is_there && n % 2 == 0 {
            record.write("tags", Effect::Remove(unique), tags.remove(unique.to_string())).await;
        }
    }
}

async fn members(tags: &archipelago::Set) -> Result<Saw, Error> {
    let members = tags.members().await?;
    let number = |member: &bytes::Bytes| std::str::from_utf8(member).unwrap().parse().unwrap();
    Ok(Saw::Members(members.iter().map(number).collect::<BTreeSet<u64>>()))
}

async fn more(count: &AtomicU64, by: u64) {
    let goal = count.load(Ordering::SeqCst) + by;
    poll::until("the workers go on", || async { (count.load(Ordering::SeqCst) >= goal).then_some(()) }).await;
}

/// Regions under load by majorities of these strengths, one of them killed in the middle.
async fn history(seed: u64, read: ReadStrength, write: WriteStrength) -> Acknowledged {
    let mut world = World::redis(Options::durable()).await;
    let clients: Vec<Client> = vec![world.client(0).await, world.client(1).await, world.client(2).await];
    converged(&clients[0]).await;
    let record = Arc::new(Record {
        ticks: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        read: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        history: Mutex::new(Acknowledged::new()),
    });
    let mut workers = tokio::task::JoinSet::new();
    for (worker, client) in (0..).zip(&clients) {
        let keyspace = client.keyspace("default").unwrap().with_read(read).with_write(write);
        workers.spawn(work(keyspace, worker, record.clone()));
    }
    let victim = Rng::new(seed).below(3);
    more(&record.acknowledged, 60).await;
    world.servers[victim].kill();
    // Writes of the two that are left, and reads of all three.
    more(&record.acknowledged, 60).await;
    more(&record.read, 60).await;
    world.servers[victim].restart().await.unwrap();
    more(&record.acknowledged, 60).await;
    world.cut(victim, (victim + 1) % 3).await;
    more(&record.acknowledged, 60).await;
    world.heal().await;
    more(&record.read, 30).await;
    record.is_over.store(true, Ordering::SeqCst);
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    for client in &clients {
        client.shut_down().await;
    }
    let history = record.history.lock().unwrap().clone();
    println!("seed {seed}: {} acknowledged writes, {} reads", history.acknowledged(), history.reads());
    history
}

#[tokio::test]
async fn reads_of_a_majority_see_every_acknowledged_write_of_a_majority() {
    for seed in seeds(0..2) {
        let history = history(seed, ReadStrength::Majority, WriteStrength::Majority).await;
        assert_eq!(history.check(), Ok(()), "seed {seed}");
    }
}

/// Proof that the check bites: without quorums that meet, some read misses something.
#[tokio::test]
async fn local_reads_of_local_writes_are_caught() {
    let history = history(0, ReadStrength::Local, WriteStrength::Local).await;
    assert!(history.check().is_err(), "links are never that fast");
}

//! What removals leave behind goes from every region, and nothing that was removed comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, time::Duration};

use archipelago::testing::{
    poll,
    servers::{Options, Program, Server},
};
use archipelago::{
    Client,
    config::KeyspaceConfig,
    engine::{Amount, Kind, Mutation},
    store::{Query, Reply, Store},
};
use archipelago_tests::{
    random::Rng,
    world::{Ground, World, b, converged, line, read, settings, store, write},
};

const KINDS: [Kind; 4] = [Kind::String, Kind::Set, Kind::Hash, Kind::SortedSet];

/// Members and values of this size, so that what stays behind shows in the memory.
const FILLER: &str = "0123456789012345678901234567890123456789012345678901234567890123456789";

async fn world(program: Program) -> Option<World> {
    let settings = KeyspaceConfig { collect_every: Duration::from_millis(100), ..settings() };
    World::with(Ground::Servers(program), Options::default(), settings).await
}

fn payload(kind: Kind, n: usize) -> String {
    if kind == Kind::SortedSet { n.to_string() } else { format!("{FILLER}{n}") }
}

fn assign(kind: Kind, member: String, n: usize) -> Mutation {
    let payload = if kind == Kind::Set { String::new() } else { payload(kind, n) };
    Mutation::assign([(if kind == Kind::String { b("") } else { b(member) }, b(payload))])
}

/// What one server holds of one kind: keys, fields of cells, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    keys: u64,
    cells: u64,
}

async fn held(server: &Server) -> Held {
    let all: Vec<String> = server.run(redis::cmd("KEYS").arg("*")).await.unwrap();
    // Leases come and go with those who hold them.
    let keys = all.iter().filter(|key| !key.contains(":lease:")).count() as u64;
    let names: Vec<Vec<u8>> = server.run(redis::cmd("KEYS").arg("*:cells:*")).await.unwrap();
    let mut cells = 0;
    for name in names {
        cells += server.run::<u64>(redis::cmd("HLEN").arg(name)).await.unwrap();
    }
    Held { keys, cells }
}

async fn memory(server: &Server) -> u64 {
    let info: String = server.run(redis::cmd("INFO").arg("memory")).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    line.trim().parse().unwrap()
}

/// Random adds, increments and removals of few names in all regions at once.
async fn churn(stores: &[&dyn Store], rng: &mut Rng, steps: usize) {
    for n in 0..steps {
        let kind = *rng.pick(&KINDS);
        let (at, name) = (*rng.pick(stores), format!("churned-{}", rng.below(20)));
        let member = format!("{FILLER}-{}", rng.below(60));
        let mutation = match rng.below(8) {
            0 | 1 if kind != Kind::String => Mutation::Remove { members: vec![b(member)] },
            0 => Mutation::Clear { previous: false },
            2 if kind == Kind::SortedSet => Mutation::Add { member: b(member), amount: Amount::Integer(1) },
            _ => assign(kind, member, n),
        };
        write(at, kind, &name, mutation).await.unwrap();
    }
}

/// Removes everything that was churned, from a region that has heard of all of it.
async fn remove_all(at: &dyn Store) {
    for kind in KINDS {
        for name in 0..20 {
            write(at, kind, &format!("churned-{name}"), Mutation::Clear { previous: false }).await.unwrap();
        }
    }
}

async fn shown(at: &dyn Store) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for kind in KINDS {
        for name in (0..20).map(|n| format!("churned-{n}")).chain(["kept".to_owned()]) {
            let query = match kind {
                Kind::String => Query::Value,
                Kind::Set => Query::Members,
                Kind::Hash => Query::All,
                _ => Query::RangeByRank { start: 0, stop: -1, reverse: false },
            };
            let reply = read(at, kind, &name, query).await;
            if reply != Reply::Nil && reply != Reply::Array(Vec::new()) {
                let mut words: Vec<String> = line(&reply).split(' ').map(str::to_owned).collect();
                words.sort();
                out.insert(format!("{kind}:{name} {}", words.join(" ")));
            }
        }
    }
    out
}

/// Every server back at what it held before, and nothing of what was removed to be seen anywhere.
async fn back_to(world: &World, clients: &[Client], before: &[Held], kept: &BTreeSet<String>) {
    for (at, before) in before.iter().enumerate() {
        let what = format!("region {at} forgets what was removed");
        poll::until(&what, || async { (held(&world.servers[at]).await == *before).then_some(()) }).await;
        assert_eq!(&shown(&*store(&clients[at])).await, kept, "region {at}");
    }
}

async fn prepare(world: &World) -> (Vec<Client>, Vec<Held>, BTreeSet<String>) {
    let mut clients = Vec::new();
    for at in 0..3 {
        clients.push(world.client(at).await);
    }
    for (kind, at) in KINDS.into_iter().zip([0, 1, 2, 0]) {
        write(&*store(&clients[at]), kind, "kept", assign(kind, "kept".to_owned(), 1)).await.unwrap();
    }
    converged(&clients[0]).await;
    let mut before = Vec::new();
    for server in &world.servers {
        before.push(held(server).await);
    }
    let kept = shown(&*store(&clients[0])).await;
    (clients, before, kept)
}

async fn all_up(program: Program) {
    let Some(world) = world(program).await else {
        println!("not run: no valkey-server in the path, and VALKEY_SERVER names none");
        return;
    };
    let (clients, before, kept) = prepare(&world).await;
    let stores: Vec<_> = clients.iter().map(store).collect();
    let stores: Vec<&dyn Store> = stores.iter().map(|store| &**store).collect();
    let mut rng = Rng::new(7);
    let baseline = memory(&world.servers[0]).await;
    churn(&stores, &mut rng, 2500).await;
    converged(&clients[0]).await;
    let peak = memory(&world.servers[0]).await;
    remove_all(stores[1]).await;
    converged(&clients[0]).await;
    back_to(&world, &clients, &before, &kept).await;
    // The logs are trimmed a second after everybody has them.
    poll::until("the memory is free again", || async {
        let now = memory(&world.servers[0]).await;
        (now < baseline + (peak - baseline) / 4).then_some(())
    })
    .await;
    for client in clients {
        client.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_leaves_nothing_behind() {
    all_up(Program::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_leaves_nothing_behind_on_valkey() {
    all_up(Program::Valkey).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_cut_off_holds_the_collection_and_brings_nothing_back() {
    let world = world(Program::Redis).await.unwrap();
    let (clients, before, kept) = prepare(&world).await;
    let stores: Vec<_> = clients.iter().map(store).collect();
    let stores: Vec<&dyn Store> = stores.iter().map(|store| &**store).collect();
    let mut rng = Rng::new(8);
    churn(&stores, &mut rng, 600).await;
    converged(&clients[0]).await;
    world.cut(2, 0).await;
    world.cut(2, 1).await;
    remove_all(stores[0]).await;
    poll::until("the other region hears of it", || async { (shown(stores[1]).await == kept).then_some(()) }).await;
    poll::until("what it waits for is named", || async {
        let named = clients[0].uncollected().await;
        named.iter().any(|line| line.contains("until us-east-1 holds more of ap-south-1")).then_some(())
    })
    .await;
    let waiting = held(&world.servers[0]).await;
    assert!(waiting.cells > before[0].cells, "{waiting:?} {before:?}");
    assert_ne!(shown(stores[2]).await, kept, "the region that is cut off shows all of it");
    world.heal().await;
    converged(&clients[0]).await;
    back_to(&world, &clients, &before, &kept).await;
    for client in clients {
        client.shut_down().await;
    }
}

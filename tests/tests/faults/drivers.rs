//! Who drives the links: takeover, clean ends, two at once, and clocks that differ.

use std::time::{Duration, UNIX_EPOCH};

use archipelago::testing::{poll, servers::Options};
use archipelago::{Client, Embedded, PhysicalKeys, engine::Kind};
use archipelago_tests::world::{REGIONS, World, converged, settle};

use crate::{add, shown};

/// Who holds the lease on the link from one region to another.
async fn holder(world: &World, from: usize, to: usize) -> Option<String> {
    let key = PhysicalKeys::new("default", 0).lease(&format!("link:{}", REGIONS[from]));
    world.servers[to].run(redis::cmd("GET").arg(key)).await.unwrap()
}

#[test]
fn when_a_driver_process_dies_another_takes_over() {
    let rest = tokio::runtime::Runtime::new().unwrap();
    let process = tokio::runtime::Runtime::new().unwrap();
    let world = rest.block_on(World::redis(Options::default()));
    let first = process.block_on(world.client(0));
    let held = rest.block_on(poll::until("the first takes its link", || holder(&world, 0, 1)));
    let second = rest.block_on(world.client(0));
    // As SIGKILL does: its tasks end where they stand, and nothing is given back.
    process.shutdown_background();
    rest.block_on(async {
        add(&second, "hits", 5).await;
        converged(&second).await;
        let idle = world.idle_clients().await;
        assert_eq!(shown(&idle, "hits").await, [5; 3]);
        let now = poll::until("another holder", || async { holder(&world, 0, 1).await.filter(|now| *now != held) });
        assert_ne!(now.await, held);
        second.shut_down().await;
    });
    // Its connections lie in a runtime that is gone.
    std::mem::forget(first);
}

/// A destination whose memory is full refuses every join: that its regions differ is only half of what an operator needs.
#[tokio::test]
async fn what_interrupts_a_link_is_told_with_what_is_missing() {
    let world = World::redis(Options::default()).await;
    let idle = world.idle_clients().await;
    add(&idle[0], "hits", 5).await;
    let limit = async |bytes: u32| {
        let mut cmd = redis::cmd("CONFIG");
        cmd.arg("SET").arg("maxmemory").arg(bytes);
        let _: () = world.servers[1].run(&cmd).await.unwrap();
    };
    limit(1).await;
    let error = idle[0].sync_until_idle(Duration::from_secs(3)).await.unwrap_err().to_string();
    let lacks = format!("{} lacks about", REGIONS[1]);
    assert!(error.contains(&lacks) && error.contains("its link was interrupted") && error.contains("OOM"), "{error}");
    assert_eq!(idle[2].counter("hits").get().await.unwrap(), 5, "a full region holds up nobody else");
    limit(0).await;
    settle(&idle[0]).await;
    assert_eq!(shown(&idle, "hits").await, [5; 3]);
}

/// An entry that came to harm in the log: the link tells of it and goes on, and its next start brings what the entry changed.
#[tokio::test]
async fn what_an_entry_that_cannot_be_decoded_changed_comes_when_the_link_starts_anew() {
    let world = World::redis(Options::default()).await;
    let idle = world.idle_clients().await;
    settle(&idle[0]).await;
    add(&idle[0], "hits", 5).await;
    spoil_the_last_entry(&world, &idle[0], "hits").await;
    let error = idle[0].sync_until_idle(Duration::from_secs(2)).await.unwrap_err().to_string();
    assert!(error.contains("could not be decoded") && error.contains("run `sync` again"), "{error}");
    assert_eq!(shown(&idle, "hits").await, [5, 0, 0]);
    add(&idle[0], "hits", 1).await;
    settle(&idle[0]).await;
    assert_eq!(shown(&idle, "hits").await, [6; 3]);
}

/// Its id, and its fields.
type LogEntry = (String, Vec<(String, Vec<u8>)>);

async fn spoil_the_last_entry(world: &World, client: &Client, name: &'static str) {
    let report = client.keyspace("default").unwrap().inspect(Kind::String, name).await.unwrap();
    let (_, log) = report.physical.iter().find(|(what, _)| what == "log").unwrap();
    let server = &world.servers[0];
    let mut last = redis::cmd("XREVRANGE");
    last.arg(log).arg("+").arg("-").arg("COUNT").arg(1);
    let last: Vec<LogEntry> = server.run(&last).await.unwrap();
    let (id, mut fields) = last.into_iter().next().unwrap();
    // A format that no build knows yet.
    fields[0].1[0] = 2;
    let (milliseconds, sequence) = id.split_once('-').unwrap();
    let next = format!("{milliseconds}-{}", sequence.parse::<u64>().unwrap() + 1);
    let _: u64 = server.run(redis::cmd("XDEL").arg(log).arg(&id)).await.unwrap();
    let mut append = redis::cmd("XADD");
    let _: String = server.run(append.arg(log).arg(next).arg(&fields[0].0).arg(&fields[0].1)).await.unwrap();
}

#[tokio::test]
async fn a_clean_shutdown_leaves_no_lease() {
    let world = World::redis(Options::default()).await;
    let client = world.client(0).await;
    for to in [1, 2] {
        poll::until("the links from here are driven", || holder(&world, 0, to)).await;
    }
    // Leases must come back although the scripts were flushed, too.
    for server in &world.servers {
        let _: () = server.run(redis::cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    }
    client.shut_down().await;
    for server in &world.servers {
        let left: Vec<String> = server.run(redis::cmd("KEYS").arg("*lease*")).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(client.counter("hits").add(1).await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn two_drivers_of_every_link_at_once_do_no_harm() {
    let world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    for round in 1..=3 {
        for client in &clients {
            let batch = (0..200).fold(client.batch(), |batch, n| {
                batch.add(&client.counter("hits"), 1).add(&client.set("tags"), format!("{round} {n}"))
            });
            assert!(batch.execute().await.iter().all(Result::is_ok));
        }
        tokio::join!(settle(&clients[0]), settle(&clients[1]), settle(&clients[0]));
        assert_eq!(shown(&clients, "hits").await, [600 * round; 3]);
        assert_eq!(clients[2].set("tags").members().await.unwrap().len(), 200 * usize::try_from(round).unwrap());
    }
}

#[tokio::test]
async fn slow_links_keep_many_joins_under_way() {
    let world = World::redis(Options::default()).await;
    for (from, to) in archipelago_tests::world::pairs() {
        world.proxy(from, to).delay(Duration::from_millis(40), Duration::from_millis(40));
    }
    let clients = [world.client(0).await, world.client(1).await, world.client(2).await];
    for _ in 0..20 {
        let batch = (0..100).fold(clients[0].batch(), |batch, n| batch.add(&clients[0].set("tags"), format!("{n}")));
        assert!(batch.execute().await.iter().all(Result::is_ok));
        add(&clients[0], "hits", 1).await;
    }
    converged(&clients[0]).await;
    assert_eq!(shown(&clients, "hits").await, [20; 3]);
}

/// Counterexample 32: limit 60 s, clocks A +40, B 0, C -30.
#[tokio::test]
async fn skewed_clocks_stop_no_link_and_the_report_names_the_two_that_are_far_apart() {
    let start = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let regions = Embedded::builder().region("a").region("b").region("c").manual_clock(start).build().unwrap();
    regions.set_clock_skew("a", 40_000_000).unwrap();
    regions.set_clock_skew("c", -30_000_000).unwrap();
    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        let builder = Client::builder().embedded(&regions).local_region(name).without_sync();
        clients.push(builder.build().await.unwrap());
    }
    for client in &clients {
        add(client, "hits", 1).await;
    }
    settle(&clients[0]).await;
    assert_eq!(shown(&clients, "hits").await, [3; 3]);
    let report = clients[1].clock_skew().await;
    let [one] = &report[..] else { panic!("{report:?}") };
    assert_eq!((one.ahead.as_str(), one.behind.as_str()), ("a", "c"));
    assert!(one.by.abs_diff(Duration::from_secs(70)) < Duration::from_secs(1), "{one:?}");
    // A clock that jumped a day ahead and was corrected stops nothing.
    regions.set_clock_skew("b", 86_400_000_000).unwrap();
    add(&clients[1], "hits", 1).await;
    clients[1].register::<String>("word").set("b").await.unwrap();
    settle(&clients[0]).await;
    regions.set_clock_skew("b", 0).unwrap();
    for client in &clients {
        add(client, "hits", 1).await;
        settle(client).await;
        client.register::<String>("word").set(client.local_region().as_str()).await.unwrap();
        settle(client).await;
        let word = clients[0].register::<String>("word").get().await.unwrap();
        assert_eq!(word.as_deref(), Some(client.local_region().as_str()), "overwriting works through retraction");
    }
    assert_eq!(shown(&clients, "hits").await, [7; 3]);
}

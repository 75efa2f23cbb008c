//! Histories a review found: what a region may and may not believe after some of its state, or a peer's, has gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use archipelago::testing::servers::{Options, Server};
use archipelago::{
    PhysicalKeys,
    engine::{Amount, Expiry, JoinReply, Key, Kind, Mutation, Version},
    partition_of,
    store::{Query, ResyncFailure},
};
use archipelago_tests::{
    carry,
    world::{World, line, read, settle, store, write},
};
use bytes::Bytes;

fn add(amount: i64) -> Mutation {
    Mutation::Add { member: Bytes::new(), amount: Amount::Integer(amount) }
}

fn keys_of(name: &str) -> PhysicalKeys {
    PhysicalKeys::new("default", partition_of(name.as_bytes(), 2))
}

async fn delete(server: &Server, key: &[u8]) {
    let gone: u64 = server.run(redis::cmd("DEL").arg(key)).await.unwrap();
    assert_eq!(gone, 1, "{}", String::from_utf8_lossy(key));
}

/// The walk once took an empty index for its end, whatever had emptied it: the receiver then claimed to hold keys that
/// it never got, and refused them from everybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resync_whose_sender_is_flushed_midway_never_completes() {
    let world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    let (a, b) = (store(&clients[0]), store(&clients[1]));
    for name in 0..40 {
        write(a.as_ref(), Kind::String, &format!("k{name}"), add(1)).await.unwrap();
    }
    let plan = a.begin_resync(0, None).await.unwrap();
    b.start_resync(0, &plan).await.unwrap();
    let slice = a.walk(0, &plan, &Bytes::new(), 5).await.unwrap();
    let after = slice.last.clone().unwrap();
    b.apply_slice(0, &plan, &slice).await.unwrap();
    let _: () = world.servers[0].run(&redis::cmd("FLUSHALL")).await.unwrap();
    let next = a.walk(0, &plan, &after, 5).await;
    assert!(matches!(next, Err(ResyncFailure::StartOver(_))), "{next:?}");
    // The links bring back what had arrived, and nothing believes in the rest.
    settle(&clients[0]).await;
    assert!(!b.sync_state(0).await.unwrap().applied.contains_key(&plan.sender));
}

/// A plan leaves out what the receiver remembers. One that has meanwhile lost it must not accept the plan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_lost_its_memory_refuses_a_plan_made_before() {
    let world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    let (a, b) = (store(&clients[0]), store(&clients[1]));
    for name in 0..10 {
        write(a.as_ref(), Kind::String, &format!("k{name}"), add(1)).await.unwrap();
    }
    settle(&clients[0]).await;
    let remembered = b.sync_state(0).await.unwrap().resynced.get(a.region()).copied();
    let plan = a.begin_resync(0, remembered).await.unwrap();
    assert!(plan.above > 0, "nothing is left out, so nothing is tested");
    let _: () = world.servers[1].run(&redis::cmd("FLUSHALL")).await.unwrap();
    let started = b.start_resync(0, &plan).await;
    assert!(matches!(started, Err(ResyncFailure::StartOver(_))), "{started:?}");
    // The check bites for the right reason: a whole plan is accepted.
    carry::resync(a.as_ref(), b.as_ref(), 0).await.unwrap();
}

/// A server whose clock ran ahead had dropped the view. The next write once took that for an expiry, and cleared live
/// data in every region.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_view_is_no_expiry() {
    let world = World::redis(Options::default()).await;
    let client = world.idle_client(0).await;
    let store = store(&client);
    let hour = Mutation::Expire(Expiry::In(3_600_000));
    write(store.as_ref(), Kind::String, "n", add(5)).await.unwrap();
    write(store.as_ref(), Kind::String, "n", hour.clone()).await.unwrap();
    let members =
        |names: &[&'static str]| Mutation::assign(names.iter().map(|name| (Bytes::from(*name), Bytes::new())));
    write(store.as_ref(), Kind::Set, "s", members(&["a", "b"])).await.unwrap();
    write(store.as_ref(), Kind::Set, "s", hour).await.unwrap();
    for (kind, name) in [(Kind::String, "n"), (Kind::Set, "s")] {
        delete(&world.servers[0], &keys_of(name).view(&Key::new(kind, name))).await;
    }
    write(store.as_ref(), Kind::String, "n", add(1)).await.unwrap();
    write(store.as_ref(), Kind::Set, "s", members(&["c"])).await.unwrap();
    assert_eq!(line(&read(store.as_ref(), Kind::String, "n", Query::Value).await), "6");
    assert_eq!(line(&read(store.as_ref(), Kind::Set, "s", Query::Count).await), "3");
    assert!(client.set("s").time_to_live().await.unwrap().is_some());
    assert!(client.counter("n").time_to_live().await.unwrap().is_some());
}

/// A record whose log was evicted or deleted was once in force for ever, and every write stale.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_opens_a_new_incarnation() {
    let world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    clients[0].counter("n").add(1).await.unwrap();
    for lost in ["log", "number"] {
        let report = clients[0].keyspace("default").unwrap().inspect(Kind::String, "n").await.unwrap();
        let key = report.physical.iter().find(|(_, key)| key.contains(lost)).unwrap().1.clone();
        delete(&world.servers[0], key.as_bytes()).await;
        clients[0].counter("n").add(1).await.unwrap();
    }
    settle(&clients[0]).await;
    assert_eq!(clients[1].counter("n").get().await.unwrap(), 3);
}

/// A join found no number to go on from, and failed with a Lua error until somebody wrote in that partition. So did every
/// read of that region's log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_numbers_stop_no_link() {
    let world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    clients[0].set("s").add("a").await.unwrap();
    settle(&clients[0]).await;
    let (a, b, partition) = (store(&clients[0]), store(&clients[1]), partition_of(b"s", 2));
    clients[1].set("s").add("b").await.unwrap();
    clients[1].set("s").remove("a").await.unwrap();
    for what in ["a join", "a read of the log"] {
        let report = clients[0].keyspace("default").unwrap().inspect(Kind::Set, "s").await.unwrap();
        let key = report.physical.iter().find(|(_, key)| key.contains("number")).unwrap().1.clone();
        delete(&world.servers[0], key.as_bytes()).await;
        if what == "a join" {
            let batch = carry::next_batch(&*b, &*a, partition, 100).await.unwrap();
            let reply = a.join(partition, &batch).await;
            // The new incarnation has forgotten its peers: a resync is next.
            assert!(matches!(reply, Ok(JoinReply::Gap(_))), "{reply:?}");
        } else {
            let slice = a.log_after(partition, Version::ZERO, 100).await;
            assert!(slice.is_ok(), "{slice:?}");
        }
    }
    settle(&clients[0]).await;
    for client in &clients {
        assert_eq!(line(&read(store(client).as_ref(), Kind::Set, "s", Query::Members).await), "b");
    }
}

/// A view is derived. Whatever somebody put in its place must stop neither a write nor a link, and a write that failed
/// behind its log entry must not be called "not applied".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_value_in_place_of_a_view_stops_no_link_and_hides_no_write() {
    let world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    let here = store(&clients[0]);
    let addition = |member: &'static str| Mutation::Add { member: member.into(), amount: Amount::Integer(1) };
    let assignment = |member: &'static str, payload: &'static str| Mutation::assign([(member.into(), payload.into())]);
    // Everyday writes: of a name that nobody has written, and of the same name again.
    for (kind, name, mutation, query) in [
        (Kind::String, "n", addition(""), Query::Value),
        (Kind::String, "r", assignment("", "v"), Query::Value),
        (Kind::Set, "s", assignment("a", ""), Query::Members),
        (Kind::Hash, "m", addition("f"), Query::All),
        (Kind::Hash, "h", assignment("f", "v"), Query::All),
        (Kind::SortedSet, "y", addition("f"), Query::Score("f".into())),
        (Kind::SortedSet, "z", assignment("f", "2"), Query::Score("f".into())),
    ] {
        for turn in 1..=2 {
            let view = keys_of(name).view(&Key::new(kind, name));
            for server in &world.servers[..2] {
                let _: u64 = server.run(redis::cmd("DEL").arg(&view)).await.unwrap();
                let _: u64 = server.run(redis::cmd("RPUSH").arg(&view).arg("foreign")).await.unwrap();
            }
            let written = write(here.as_ref(), kind, name, mutation.clone()).await;
            assert!(written.is_ok(), "{kind:?} {turn}: {written:?}");
            settle(&clients[0]).await;
            let shown = line(&read(here.as_ref(), kind, name, query.clone()).await);
            for other in &clients[1..] {
                let there = read(store(other).as_ref(), kind, name, query.clone()).await;
                assert_eq!(line(&there), shown, "{kind:?} {turn}");
            }
        }
    }
    assert_eq!(clients[0].counter("n").get().await.unwrap(), 2);
    assert_eq!(clients[1].map::<u32>("m").count("f").await.unwrap(), 2);
    assert_eq!(clients[2].map::<u32>("m").count("f").await.unwrap(), 2);
}

//! Sessions on real servers: no stale read, wherever it is served; nothing lost is taken for found.

use std::time::{Duration, Instant};

use archipelago::{
    Client, Config, Event,
    sessions::{Guarantee, Session},
    testing::{
        poll,
        proxy::{ChaosProxy, Direction},
        servers::{Options, Server},
    },
};
use futures_util::StreamExt;
use redis::AsyncCommands;

use crate::{
    visits::{Reader, USERS, stale_reads, stale_reads_without_tokens},
    world::{World, all_up, before},
};

/// Puts a line between the two servers, so that the replica can be held behind.
async fn line_of(world: &World) -> ChaosProxy {
    let line = before(world.us.address()).await;
    follow(&world.us.replicas()[0], line.port()).await;
    world.us.replicas_in_sync().await.unwrap();
    line
}

async fn follow(replica: &Server, port: u16) {
    let _: () = replica.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port)).await.unwrap();
    poll::until("in sync", || async { (replica.info("master_link_status").await.ok()? == "up").then_some(()) }).await;
}

/// How often a server ran a command that only these tests use.
async fn calls(server: &Server, command: &str) -> u64 {
    let text: String = server.run(redis::cmd("INFO").arg("commandstats")).await.unwrap();
    let prefix = format!("cmdstat_{command}:calls=");
    let calls = text.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

async fn offset(server: &Server) -> u64 {
    server.info("master_repl_offset").await.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_handed_over_by_its_token_reads_nothing_stale_and_mostly_at_the_replica() {
    let world = World::start().await;
    let line = line_of(&world).await;
    let (writing, writer) = world.client("local_replica = true").await;
    let (reading, reader) = world.client("local_replica = true").await;
    let reader_of = |wait| Reader::start(&world.text("local_replica = true"), wait);
    let (at_once, waiting) = (reader_of(Duration::ZERO), reader_of(Duration::from_millis(500)));

    let served_at_replica = async |what: &str, pairs: usize, reader: &Reader| {
        let (began, before) = (Instant::now(), calls(&world.us, "hget").await);
        let stale = stale_reads(&writer, reader, pairs).await;
        assert_eq!(stale, 0, "reads that missed the session's own write");
        let (reads, at_primary) = (USERS * pairs, calls(&world.us, "hget").await - before);
        let share = 100.0 - 100.0 * at_primary as f64 / reads as f64;
        println!("{what}: {reads} reads with tokens, none stale, {share:.1} % at the replica, {:?}", began.elapsed());
        share
    };
    line.delay(Duration::ZERO, Duration::from_millis(5));
    let stale = stale_reads_without_tokens([&writer, &reader], 100).await;
    println!("5 ms behind: {} reads without tokens, {stale} stale", USERS * 100);
    assert!(stale > 0, "the replica was not behind: this test would see nothing");
    served_at_replica("5 ms behind", 300, &at_once).await;
    line.delay(Duration::ZERO, Duration::from_millis(1));
    served_at_replica("1 ms behind", 300, &at_once).await;
    line.heal().await.unwrap();
    follow(&world.us.replicas()[0], world.us.port()).await;
    served_at_replica("healthy", 200, &at_once).await;
    // What decides here is not how fast this machine is today.
    let share = served_at_replica("healthy, waiting", 200, &waiting).await;
    assert!(share >= 70.0, "{share} % of the reads at a healthy replica");
    writing.shut_down().await;
    reading.shut_down().await;
}

#[tokio::test]
async fn inside_a_transaction_the_offset_does_not_contain_its_writes_yet() {
    let server = Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap();
    let mut connection = server.connect().await.unwrap();
    let field = |info: &str| -> u64 {
        info.lines().find_map(|line| line.strip_prefix("master_repl_offset:")).unwrap().trim().parse().unwrap()
    };
    let mut pipeline = redis::pipe();
    pipeline.cmd("INFO").arg("replication").cmd("MULTI").ignore().set("k", "v").ignore();
    pipeline.cmd("INFO").arg("replication").ignore().cmd("EXEC").cmd("INFO").arg("replication");
    let (ahead, (_, inside), behind): (String, (String, String), String) =
        pipeline.query_async(&mut connection).await.unwrap();
    assert_eq!(field(&inside), field(&ahead), "the write was done, and is not counted");
    assert!(field(&behind) > field(&inside), "the write is counted behind EXEC");
    // Right behind a write alone, it is counted.
    let mut pipeline = redis::pipe();
    pipeline.set("k", "w").ignore().cmd("INFO").arg("replication");
    let (alone,): (String,) = pipeline.query_async(&mut connection).await.unwrap();
    assert!(field(&alone) > field(&behind));
}

#[tokio::test]
async fn a_write_in_a_transaction_is_covered_and_reads_of_every_shape_are_answered() {
    let world = World::start().await;
    let line = line_of(&world).await;
    let (client, connection) = world.client("local_replica = true").await;
    let session = Session::new();
    let mut session_connection = connection.with_session(&session);
    line.cut(Direction::ToClient);
    let mut write = redis::pipe();
    write.atomic().hset("h", "f", 1).ignore().hset("h", "g", 2);
    let (added,): (i64,) = write.query_async(&mut session_connection).await.unwrap();
    assert_eq!(added, 1);
    for is_cut in [true, false] {
        if !is_cut {
            line.heal().await.unwrap();
            world.us.replicas_in_sync().await.unwrap();
        }
        let before = calls(&world.us, "hget").await;
        let mut read = redis::pipe();
        read.hget("h", "f").hget("h", "g");
        assert_eq!(read.query_async::<(i64, i64)>(&mut session_connection).await.unwrap(), (1, 2));
        read.atomic();
        assert_eq!(read.query_async::<(i64, i64)>(&mut session_connection).await.unwrap(), (1, 2));
        assert_eq!(session_connection.hget::<_, _, i64>("h", "g").await.unwrap(), 2);
        let wrong = session_connection.get::<_, String>("h").await.unwrap_err();
        assert_eq!(wrong.code(), Some("WRONGTYPE"));
        let at_primary = calls(&world.us, "hget").await - before;
        assert_eq!(at_primary, if is_cut { 5 } else { 0 }, "at the primary, cut: {is_cut}");
    }
    client.shut_down().await;
}

#[tokio::test]
async fn a_write_that_fails_is_covered_too() {
    let world = World::start().await;
    let (client, connection) = world.client("local_replica = true\n[routed]\nfailover = \"manual\"").await;
    let session = Session::new();
    let _: () = connection.clone().hset("h", "f", 1).await.unwrap();
    world.us.replicas_in_sync().await.unwrap();
    let refused = connection.with_session(&session).lpush::<_, _, i64>("h", 1).await.unwrap_err();
    assert_eq!(refused.code(), Some("WRONGTYPE"));
    assert!(session.token().len() > Session::new().token().len(), "the token is kept");

    // No answer at all: only the primary will do, until it has said where it stands.
    world.us_proxy.cut(Direction::ToClient);
    let unanswered: Result<(), _> = connection.with_session(&session).hset("h", "f", 2).await;
    assert!(unanswered.is_err());
    world.us_proxy.heal().await.unwrap();
    all_up(&connection).await;
    let explanation = connection.with_session(&session).explain(redis::cmd("HGET").arg("h").arg("f")).unwrap();
    assert_eq!(explanation.nodes[0].name, "us/primary");
    assert_eq!(connection.with_session(&session).hget::<_, _, i64>("h", "f").await.unwrap(), 2);
    let explanation = connection.with_session(&session).explain(redis::cmd("HGET").arg("h").arg("f")).unwrap();
    assert_eq!(explanation.nodes[0].name, "us/replica-1@eu", "{explanation}");
    client.shut_down().await;
}

#[tokio::test]
async fn a_session_that_waits_is_served_by_the_replica_once_it_has_come_so_far() {
    let world = World::start().await;
    let line = line_of(&world).await;
    let (client, connection) = world.client("local_replica = true").await;
    line.delay(Duration::ZERO, Duration::from_millis(20));
    let session = Session::builder().wait(Duration::from_secs(10)).build();
    let mut connection = connection.with_session(&session);
    let _: () = connection.hset("h", "f", 1).await.unwrap();
    let before = calls(&world.us, "hget").await;
    let options = archipelago::CallOptions::default().deadline(Duration::from_secs(20)).without_hedging();
    let found: i64 = connection.with_options(options).hget("h", "f").await.unwrap();
    assert_eq!((found, calls(&world.us, "hget").await), (1, before));
    client.shut_down().await;
}

#[tokio::test]
async fn without_the_right_to_ask_a_session_reads_at_the_primary() {
    let world = World::start().await;
    let line = line_of(&world).await;
    let _: () = world.us.run(redis::cmd("ACL").arg("SETUSER").arg("default").arg("-info")).await.unwrap();
    let (client, connection) = world.client("local_replica = true").await;
    line.cut(Direction::ToClient);
    for session in [Session::new(), Session::builder().guarantee(Guarantee::MonotonicReads).build()] {
        let mut connection = connection.with_session(&session);
        let _: () = connection.hset("h", "f", 1).await.unwrap();
        for _ in 0..3 {
            assert_eq!(connection.hget::<_, _, i64>("h", "f").await.unwrap(), 1);
        }
        let _: () = connection.del("h").await.unwrap();
    }
    client.shut_down().await;
}

#[tokio::test]
async fn with_monotonic_reads_what_was_seen_at_the_primary_is_seen_at_the_replica() {
    let world = World::start().await;
    let line = line_of(&world).await;
    let (client, connection) = world.client("local_replica = true").await;
    let _: () = connection.clone().hset("h", "f", 1).await.unwrap();
    world.us.replicas_in_sync().await.unwrap();
    line.cut(Direction::ToClient);
    let _: () = connection.clone().hset("h", "f", 2).await.unwrap();
    for (session, later) in [(Session::new(), 1), (Session::builder().guarantee(Guarantee::MonotonicReads).build(), 2)]
    {
        let connection = connection.with_session(&session);
        let mut at_primary = connection.with_options(archipelago::CallOptions::default().at_primary());
        assert_eq!(at_primary.hget::<_, _, i64>("h", "f").await.unwrap(), 2);
        assert_eq!(connection.clone().hget::<_, _, i64>("h", "f").await.unwrap(), later);
    }
    client.shut_down().await;
}

#[tokio::test]
async fn by_tag_reads_go_to_the_writer_after_a_write() {
    let world = World::start().await;
    let line = line_of(&world).await;
    let text = "local_replica = true\n[keyspaces.tagged]\nmode = \"routed\"\nsession = \"tag\"\n\
                routing = { local_replica = true }";
    let (client, _) = world.client(text).await;
    let connection = client.connection("tagged").unwrap();
    line.cut(Direction::ToClient);
    let session = Session::new();
    let _: () = connection.with_session(&session).hset("h", "f", 1).await.unwrap();
    let resumed = Session::from_token(&session.token()).unwrap();
    for session in [&session, &resumed] {
        let explanation = connection.with_session(session).explain(redis::cmd("HGET").arg("h").arg("f")).unwrap();
        assert_eq!(explanation.nodes[0].name, "us/primary");
    }
    let other = connection.with_session(&Session::new()).explain(redis::cmd("HGET").arg("h").arg("f")).unwrap();
    assert_eq!(other.nodes[0].name, "us/replica-1@eu", "others read anywhere");
    client.shut_down().await;
}

/// Without a cookie: the tag is in the region's Redis, where every process of the region finds it.
#[tokio::test]
async fn by_tag_a_users_other_processes_in_the_region_know_of_the_write() {
    let mut world = World::start().await;
    let line = line_of(&world).await;
    let text = "local_replica = true\n[routed]\nfailover = \"manual\"\n[keyspaces.tagged]\nmode = \"routed\"\n\
                session = \"tag\"\nrouting = { local_replica = true }";
    let (writing, _) = world.client(text).await;
    let (reading, _) = world.client(text).await;
    let (writer, reader) = (writing.connection("tagged").unwrap(), reading.connection("tagged").unwrap());
    let as_user = |connection: &archipelago::Connection, user: &str| {
        connection.with_session(&Session::builder().user(user).build())
    };
    line.cut(Direction::ToClient);
    let _: () = as_user(&writer, "ada").hset("h", "f", 1).await.unwrap();
    let keys: Vec<String> = world.eu.run(redis::cmd("KEYS").arg("archipelago:tag:*")).await.unwrap();
    let left: u64 = world.eu.run(redis::cmd("PTTL").arg(&keys)).await.unwrap();
    assert!(keys.len() == 1 && left <= 5_000, "{keys:?} {left}");
    assert!(!keys[0].contains("ada"), "names stay out of the servers");

    assert_eq!(as_user(&reader, "ada").hget::<_, _, Option<i64>>("h", "f").await.unwrap(), Some(1));
    assert_eq!(as_user(&reader, "bob").hget::<_, _, Option<i64>>("h", "f").await.unwrap(), None, "at the replica");
    let _: () = world.eu.run(redis::cmd("DEL").arg(&keys)).await.unwrap();
    assert_eq!(as_user(&reader, "ada").hget::<_, _, Option<i64>>("h", "f").await.unwrap(), None, "the tag is over");
    // Where nobody can be asked, the writer is.
    world.eu.kill();
    assert_eq!(as_user(&reader, "bob").hget::<_, _, Option<i64>>("h", "f").await.unwrap(), Some(1));
    writing.shut_down().await;
    reading.shut_down().await;
}

/// The primary is at 1000, its replica at 900 is promoted, and goes on to 1005 and further.
#[tokio::test]
async fn a_promotion_that_lost_the_write_is_not_taken_for_a_replica_that_has_it() {
    let mut old = Server::redis(Options::default()).await.unwrap().with_replicas(2).await.unwrap();
    let eu = Server::redis(Options::default()).await.unwrap();
    let line = before(old.address()).await;
    for replica in old.replicas() {
        follow(replica, line.port()).await;
    }
    let (primary, replica) = (before(old.address()).await, before(old.replicas()[1].address()).await);
    let config = format!(
        "local = \"eu\"\n[regions.us]\nurl = \"{}\"\nweight = 2\nreplicas = {{ eu = [\"{}\"] }}\n[regions.eu]\n\
         url = \"{}\"\n[routed]\nfailover = \"manual\"\n[keyspaces.profiles]\nmode = \"routed\"\n\
         routing = {{ local_replica = true }}\n",
        primary.url(),
        replica.url(),
        eu.url(),
    );
    let config: Config = config.parse().unwrap();
    let client = Client::builder().config(config).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    all_up(&connection).await;

    let (kept, lost) = (Session::new(), Session::new());
    let _: () = connection.with_session(&kept).hset("h", "kept", 1).await.unwrap();
    old.replicas_in_sync().await.unwrap();
    line.cut(Direction::ToClient);
    let _: () = connection.with_session(&lost).hset("h", "lost", 1).await.unwrap();
    let at = offset(&old).await;
    old.kill();
    let [new, copy] = old.replicas() else { unreachable!() };
    let _: () = new.run(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await.unwrap();
    follow(copy, new.port()).await;
    while offset(new).await <= at + 100 {
        let _: () = new.run(redis::cmd("HSET").arg("h").arg("later").arg(1)).await.unwrap();
    }
    poll::until("the copy is as far", || async {
        let far: u64 = copy.info("slave_repl_offset").await.ok()?.parse().ok()?;
        (far > at).then_some(())
    })
    .await;
    assert_eq!(copy.info("master_replid2").await.unwrap().len(), 40);
    let mut events = client.events();
    primary.point_at(new.address());
    primary.disconnect().await;
    primary.heal().await.unwrap();
    poll::until("the client is back", || async { connection.clone().hset::<_, _, _, ()>("h", "back", 1).await.ok() })
        .await;
    all_up(&connection).await;

    let before = calls(new, "hget").await;
    assert_eq!(connection.with_session(&kept).hget::<_, _, i64>("h", "kept").await.unwrap(), 1);
    assert_eq!(calls(new, "hget").await, before, "both histories have it: served at the replica");

    let found: Option<i64> = connection.with_session(&lost).hget("h", "lost").await.unwrap();
    assert_eq!(found, None, "nobody has it");
    assert_eq!(calls(new, "hget").await, before + 1, "said by the primary");
    loop {
        if let Event::HistoryLost { region } = events.next().await.unwrap() {
            assert_eq!(region.as_str(), "us");
            break;
        }
    }
    poll::until("the replica serves the session again", || async {
        let before = calls(new, "hget").await;
        let _: Option<i64> = connection.with_session(&lost).hget("h", "lost").await.unwrap();
        (calls(new, "hget").await == before).then_some(())
    })
    .await;
    client.shut_down().await;
}

//! The writer moves: planned without loss, unplanned without two writers, and the old one comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use archipelago::{
    Client, Config, Connection, Error, ErrorKind, Event,
    promotion::{PromoteOptions, Promoted, RejoinOptions, Rejoined, Step, promote, rejoin},
    routing::RoutingConfig,
    sessions::Session,
    testing::{
        poll,
        proxy::ChaosProxy,
        servers::{Options, Server},
    },
};
use futures_util::StreamExt;
use redis::AsyncCommands;
use tokio::sync::RwLock;

use crate::world::{World, before};

/// `us` with a replica in `eu` and one in `ap`; `eu` and `ap` with primaries of their own.
struct Stage {
    us: Server,
    eu: Server,
    ap: Server,
}

/// What a process reaches: each server behind a proxy of its own.
struct View {
    proxies: Vec<ChaosProxy>,
}

const NODES: [&str; 5] = ["us", "us@eu", "us@ap", "eu", "ap"];

impl Stage {
    async fn start() -> Self {
        let us = Server::redis(Options::default()).await.unwrap().with_replicas(2).await.unwrap();
        let [eu, ap] =
            [Options::default(), Options::default()].map(|options| async { Server::redis(options).await.unwrap() });
        Self { us, eu: eu.await, ap: ap.await }
    }

    fn servers(&self) -> [&Server; 5] {
        let replicas = self.us.replicas();
        [&self.us, &replicas[0], &replicas[1], &self.eu, &self.ap]
    }

    /// The operator's configuration: the servers themselves, for servers follow each other at these addresses.
    fn config(&self) -> Config {
        config_of(self.servers().map(Server::url))
    }

    async fn view(&self) -> View {
        let mut proxies = Vec::new();
        for server in self.servers() {
            proxies.push(before(server.address()).await);
        }
        View { proxies }
    }
}

fn config_of(urls: [String; 5]) -> Config {
    let [us, us_eu, us_ap, eu, ap] = urls;
    let text = format!(
        "local = \"eu\"\n\
         [regions.us]\nurl = \"{us}\"\nweight = 2\nreplicas = {{ eu = [\"{us_eu}\"], ap = [\"{us_ap}\"] }}\n\
         [regions.eu]\nurl = \"{eu}\"\n[regions.ap]\nurl = \"{ap}\"\n\
         [routed]\nfailover = \"manual\"\nlease_ms = 1000\n[keyspaces.profiles]\nmode = \"routed\"\n"
    );
    text.parse().unwrap()
}

impl View {
    fn config(&self) -> Config {
        config_of(std::array::from_fn(|at| self.proxies[at].url()))
    }

    async fn client(&self) -> (Client, Connection) {
        let client = Client::builder().config(self.config()).build().await.unwrap();
        let connection = client.connection("profiles").unwrap();
        (client, connection)
    }

    fn cut(&self, nodes: &[&str]) {
        for (proxy, name) in self.proxies.iter().zip(NODES) {
            if nodes.contains(&name) {
                proxy.black_hole();
            }
        }
    }
}

async fn planned(stage: &Stage, to: &str) -> Result<Promoted, Error> {
    promote(&stage.config(), &PromoteOptions::to(to), |step| println!("{step}")).await
}

async fn forced(config: &Config, to: &str) -> Result<Promoted, Error> {
    promote(config, &PromoteOptions { force: true, ..PromoteOptions::to(to) }, |step| println!("{step}")).await
}

/// Increments until told to stop: how many were acknowledged, how many may have been applied, and the last moment.
fn incrementing(connection: &Connection, key: &'static str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Tally> {
    let (mut connection, stop) = (connection.clone(), stop.clone());
    tokio::spawn(async move {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            match connection.incr::<_, _, i64>(key, 1).await {
                Ok(_) => {
                    tally.acknowledged += 1;
                    let now = Instant::now();
                    tally.longest = tally.longest.max(tally.last.map_or(Duration::ZERO, |last| now - last));
                    tally.last = Some(now);
                }
                Err(error) => match Error::of(&error).map(Error::kind) {
                    Some(ErrorKind::MaybeApplied) => tally.maybe_applied += 1,
                    Some(ErrorKind::Unavailable) => tally.refused += 1,
                    other => panic!("{other:?}: {error}"),
                },
            }
            tokio::task::yield_now().await;
        }
        tally
    })
}

#[derive(Debug, Default)]
struct Tally {
    acknowledged: i64,
    maybe_applied: i64,
    refused: i64,
    last: Option<Instant>,
    longest: Duration,
}

async fn count(server: &Server, key: &str) -> i64 {
    server.run::<Option<i64>>(redis::cmd("GET").arg(key)).await.unwrap().unwrap_or(0)
}

#[tokio::test]
async fn a_planned_promotion_loses_nothing_and_clients_follow() {
    let stage = Stage::start().await;
    let view = stage.view().await;
    let (client, connection) = view.client().await;
    let mut events = client.events();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4).map(|_| incrementing(&connection, "n", &stop)).collect();
    poll::until("writes", || async { (count(&stage.us, "n").await > 100).then_some(()) }).await;

    let promoted = planned(&stage, "eu").await.unwrap();
    assert_eq!((promoted.region.as_str(), promoted.from.as_str(), promoted.epoch), ("us", "us/primary", 1));
    assert_eq!(promoted.to, "us/replica-1@eu");
    assert_eq!(promoted.following, ["us/primary", "us/replica-1@ap"], "{promoted:?}");
    let new = &stage.us.replicas()[0];
    let at_switch = count(new, "n").await;
    poll::until("writes at the new writer", || async { (count(new, "n").await > at_switch + 100).then_some(()) }).await;
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut maybe_applied) = (0, 0);
    for writer in writers {
        let tally = writer.await.unwrap();
        println!("{tally:?}, writes paused for {:?} ms", promoted.paused_ms);
        acknowledged += tally.acknowledged;
        maybe_applied += tally.maybe_applied;
    }
    let n = count(new, "n").await;
    assert!((acknowledged..=acknowledged + maybe_applied).contains(&n), "{n} of {acknowledged} + {maybe_applied}");
    let event = poll_event(&mut events, |event| matches!(event, Event::Promoted { .. })).await;
    assert_eq!(event.to_string(), "us/replica-1@eu writes us's data instead of us/primary, by epoch 1");
    // The old writer and the other replica follow the new one.
    new.run::<()>(redis::cmd("SET").arg("name").arg("Ada")).await.unwrap();
    for follower in [&stage.us, &stage.us.replicas()[1]] {
        poll::until("the followers", || async {
            (follower.run::<Option<String>>(redis::cmd("GET").arg("name")).await.ok()?? == "Ada").then_some(())
        })
        .await;
    }
    // Who comes now, knows; and back it goes.
    let (late, mut connection) = view.client().await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada");
    poll::until("a write", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Bob").await.ok() }
    })
    .await;
    let back = planned(&stage, "us").await.unwrap();
    assert_eq!((back.to.as_str(), back.epoch), ("us/primary", 2));
    poll::until("a write at the old and new writer", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Cid").await.ok() }
    })
    .await;
    assert_eq!(stage.us.run::<String>(redis::cmd("GET").arg("name")).await.unwrap(), "Cid");
    late.shut_down().await;
    client.shut_down().await;
}

async fn poll_event(
    events: &mut (impl futures_util::Stream<Item = Event> + Unpin),
    is_it: impl Fn(&Event) -> bool,
) -> Event {
    loop {
        let event = tokio::time::timeout(poll::PATIENCE, events.next()).await.unwrap().unwrap();
        if is_it(&event) {
            return event;
        }
    }
}

/// With automatic failover every client used to leave for the other region in the moment between the old writer's end and
/// the record, and new clients began there.
#[tokio::test]
async fn a_promotion_is_no_failover() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let mut events = client.events();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = incrementing(&connection, "n", &stop);
    poll::until("writes", || async { (count(&world.us, "n").await > 100).then_some(()) }).await;
    let promoted = promote(&world.direct_config(), &PromoteOptions::to("eu"), |_| {}).await.unwrap();
    let new = &world.us.replicas()[0];
    let at_switch = count(new, "n").await;
    poll::until("writes at the new writer", || async { (count(new, "n").await > at_switch + 100).then_some(()) }).await;
    stop.store(true, Ordering::Relaxed);
    let tally = writing.await.unwrap();
    assert_eq!((tally.maybe_applied, tally.refused), (0, 0), "{tally:?}");
    assert_eq!((count(new, "n").await, count(&world.eu, "n").await), (tally.acknowledged, 0));
    let promoted_event = poll_event(&mut events, |event| {
        assert!(!matches!(event, Event::Switched { .. } | Event::MayLack { .. }), "{event}");
        matches!(event, Event::Promoted { .. })
    });
    assert!(promoted_event.await.to_string().contains(&promoted.to));
    // Whoever comes now goes there from the first call on.
    for n in 0..5 {
        let late = Client::builder().config(world.config("")).build().await.unwrap();
        let mut connection = late.connection("profiles").unwrap();
        assert_eq!(connection.incr::<_, _, i64>("late", 1).await.unwrap(), n + 1);
        assert_eq!(late.active_region().unwrap().as_str(), "us");
        late.shut_down().await;
    }
    client.shut_down().await;
}

#[tokio::test]
async fn who_is_cut_off_with_the_old_writer_stops_before_the_new_one_starts() {
    let stage = Stage::start().await;
    let (cut_off, majority, operator) = (stage.view().await, stage.view().await, stage.view().await);
    let (lonely, lonely_connection) = cut_off.client().await;
    let (client, connection) = majority.client().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = [incrementing(&lonely_connection, "old", &stop), incrementing(&connection, "both", &stop)];
    poll::until("writes", || async {
        (count(&stage.us, "old").await > 50 && count(&stage.us, "both").await > 50).then_some(())
    })
    .await;
    // The old writer is alive, and out of reach for everybody but one client, which reaches nothing else.
    for replica in stage.us.replicas() {
        replica.run::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1)).await.unwrap();
    }
    cut_off.cut(&["us@eu", "us@ap", "eu", "ap"]);
    majority.cut(&["us"]);
    operator.cut(&["us"]);
    let mut config = operator.config();
    // Servers follow each other at their own addresses.
    let direct = stage.config();
    for name in ["eu", "ap"] {
        config.regions.get_mut(name).unwrap().url = direct.regions[name].url.clone();
    }
    config.regions.get_mut("us").unwrap().replicas = direct.regions["us"].replicas.clone();
    config.regions.get_mut("us").unwrap().connect_timeout = Duration::from_millis(500);
    let error = promote(&config, &PromoteOptions::to("eu"), |_| {}).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("--force"), "{error}");
    let promoted = forced(&config, "eu").await.unwrap();
    assert!(promoted.behind.as_ref().unwrap().seconds.is_some(), "{promoted:?}");
    assert_eq!(promoted.following, ["us/replica-1@ap"], "{promoted:?}");
    let new = &stage.us.replicas()[0];
    let at_promotion = count(new, "both").await;
    poll::until("writes at the new writer", || async { (count(new, "both").await > at_promotion + 50).then_some(()) })
        .await;
    stop.store(true, Ordering::Relaxed);
    let [old, both] = writing;
    let (old, both) = (old.await.unwrap(), both.await.unwrap());
    println!("cut off: {old:?}\nmajority: {both:?}");
    assert!(old.refused > 0, "it was never told to stop");
    // What it wrote after the cut is acknowledged, kept at the old writer, and before the new one's first write.
    assert!(old.last.unwrap() + both.longest > both.last.unwrap() - both.longest, "the clocks are one");
    assert!(count(&stage.us, "old").await >= old.acknowledged);

    // It comes back: nobody uses it, and what it took is kept before it follows.
    let taken = count(&stage.us, "old").await;
    assert!(taken > count(new, "old").await, "nothing was written to the old writer alone: the test sees nothing");
    let mut kept = Vec::new();
    let options = RejoinOptions { node: "us/primary".to_owned() };
    let rejoined: Rejoined = rejoin(&direct, &options, &mut kept, |_| {}).await.unwrap();
    assert!(rejoined.had_diverged && rejoined.kept >= 1, "{rejoined:?}");
    let lines = String::from_utf8(kept).unwrap();
    let line = lines.lines().find(|line| line.contains("\"key\":\"old\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let dump = line["dump"].as_str().unwrap();
    let bytes: Vec<u8> =
        (0..dump.len()).step_by(2).map(|at| u8::from_str_radix(&dump[at..at + 2], 16).unwrap()).collect();
    new.run::<()>(redis::cmd("RESTORE").arg("old:kept").arg(0).arg(bytes)).await.unwrap();
    assert_eq!(count(new, "old:kept").await, taken, "what was kept can be looked at");
    let expected = count(new, "both").await;
    poll::until("the old writer follows", || async { (count(&stage.us, "both").await == expected).then_some(()) })
        .await;
    let error =
        rejoin(&direct, &RejoinOptions { node: promoted.to.clone() }, &mut Vec::new(), |_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    lonely.shut_down().await;
    client.shut_down().await;
}

#[tokio::test]
async fn without_a_majority_nothing_is_promoted_and_nothing_changes() {
    let mut stage = Stage::start().await;
    stage.us.kill();
    stage.eu.kill();
    let error = forced(&stage.config(), "ap").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("2 are needed"), "{error}");
    assert_eq!(stage.us.replicas()[1].info("role").await.unwrap(), "slave");
    // Later it works: the attempt left nothing behind that would be in the way.
    stage.eu.restart().await.unwrap();
    // It is no half of a promotion either: the next one asks the majority and waits out the leases itself.
    let mut steps = Vec::new();
    let options = PromoteOptions { force: true, ..PromoteOptions::to("ap") };
    let promoted = promote(&stage.config(), &options, |step| steps.push(step)).await.unwrap();
    assert_eq!((promoted.from.as_str(), promoted.to.as_str()), ("us/primary", "us/replica-1@ap"));
    assert!(
        steps.contains(&Step::Recorded(2)) && steps.iter().any(|step| matches!(step, Step::Waiting(_))),
        "{steps:?}"
    );
}

#[tokio::test]
async fn a_replica_that_cannot_catch_up_ends_the_attempt_and_writes_go_on() {
    let stage = Stage::start().await;
    let line = before(stage.us.address()).await;
    let replica = &stage.us.replicas()[0];
    replica.run::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(line.port())).await.unwrap();
    poll::until("the replica", || async { (replica.info("master_link_status").await.ok()? == "up").then_some(()) })
        .await;
    let view = stage.view().await;
    let (client, mut connection) = view.client().await;
    line.cut(archipelago::testing::proxy::Direction::ToClient);
    poll::until("a write", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Ada").await.ok() }
    })
    .await;
    let options = PromoteOptions { timeout: Duration::from_millis(300), ..PromoteOptions::to("eu") };
    let error = promote(&stage.config(), &options, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("behind") && error.to_string().contains("nothing was changed"), "{error}");
    let _: () = connection.set("name", "Bob").await.unwrap();
    assert_eq!(stage.us.info("role").await.unwrap(), "master");
    client.shut_down().await;
}

#[tokio::test]
async fn a_promotion_that_was_interrupted_is_completed_by_the_next() {
    let stage = Stage::start().await;
    let new = &stage.us.replicas()[0];
    // As it stands when the operator's process dies between two steps.
    for server in [&stage.eu, &stage.ap, new] {
        if std::ptr::eq(server, new) {
            new.run::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await.unwrap();
        }
        server
            .run::<()>(redis::cmd("SET").arg("archipelago:topology").arg("1 1 {\"us\":\"us/replica-1@eu\"}"))
            .await
            .unwrap();
    }
    let promoted = planned(&stage, "eu").await.unwrap();
    assert_eq!((promoted.to.as_str(), promoted.epoch), ("us/replica-1@eu", 1));
    assert_eq!(promoted.following, ["us/replica-1@ap"]);
    // The old writer was never paused: it may have taken more.
    assert!(promoted.not_following[0].1.contains("rejoin"), "{promoted:?}");
    let rejoined =
        rejoin(&stage.config(), &RejoinOptions { node: "us/primary".into() }, &mut Vec::new(), |_| {}).await.unwrap();
    assert!(!rejoined.had_diverged, "{rejoined:?}");
}

#[tokio::test]
async fn mistakes_are_named() {
    let stage = Stage::start().await;
    for (to, region, what) in [
        ("mars", None, "unknown region \"mars\", known: ap, eu, us"),
        ("us", None, "nothing can be promoted there"),
        ("eu", Some("ap"), "none is configured"),
    ] {
        let options = PromoteOptions { region: region.map(str::to_owned), ..PromoteOptions::to(to) };
        let error = promote(&stage.config(), &options, |_| {}).await.unwrap_err();
        assert!(error.to_string().contains(what), "{to}: {error}");
    }
    let error =
        rejoin(&stage.config(), &RejoinOptions { node: "x".into() }, &mut Vec::new(), |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("us/replica-1@eu"), "{error}");
    // A record that nobody can read is not followed, and not overwritten.
    stage.eu.run::<()>(redis::cmd("SET").arg("archipelago:topology").arg("9 4 what")).await.unwrap();
    let error = planned(&stage, "eu").await.unwrap_err();
    assert!(error.to_string().contains("another version"), "{error}");
    let view = stage.view().await;
    let (client, connection) = view.client().await;
    poll::until("a write all the same", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Ada").await.ok() }
    })
    .await;
    client.shut_down().await;
}

/// What one user saw.
#[derive(Debug, Default)]
struct Visits {
    pairs: u64,
    refused_writes: u64,
    unanswered_reads: u64,
}

/// A user whose requests alternate between two processes, each of which knows only the cookie: what was acknowledged is
/// there at the next request.
async fn visit(
    connections: [Connection; 2],
    user: usize,
    writing: Arc<RwLock<()>>,
    pairs: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Visits {
    let (key, mut cookie, mut visits) = (format!("user:{user}"), String::new(), Visits::default());
    let session_of = |cookie: &str| Session::from_token(cookie).unwrap_or_else(|_| Session::new());
    for visit in 1_i64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let [here, there] = [visit, visit + 1].map(|at| &connections[at as usize % 2]);
        let session = session_of(&cookie);
        let written = {
            let _until_it_ends = writing.read().await;
            here.with_session(&session).hset::<_, _, _, i64>(&key, "visit", visit).await
        };
        cookie = session.token();
        if let Err(error) = written {
            let kind = Error::of(&error).map(Error::kind);
            assert!(matches!(kind, Some(ErrorKind::Unavailable | ErrorKind::MaybeApplied)), "{error}");
            visits.refused_writes += 1;
            continue;
        }
        let session = session_of(&cookie);
        match there.with_session(&session).hget::<_, _, Option<i64>>(&key, "visit").await {
            Ok(found) => assert_eq!(found, Some(visit), "user {user} read something older, {visits:?}"),
            Err(error) => {
                assert!(Error::of(&error).is_some(), "{error}");
                visits.unanswered_reads += 1;
                continue;
            }
        }
        visits.pairs += 1;
        pairs.fetch_add(1, Ordering::Relaxed);
    }
    visits
}

#[tokio::test]
async fn sessions_read_their_own_writes_while_the_writer_dies_and_a_replica_takes_over() {
    let mut stage = Stage::start().await;
    let view = stage.view().await;
    let (mut clients, mut connections) = (Vec::new(), Vec::new());
    for region in ["eu", "ap"] {
        let mut config = view.config();
        for keyspace in config.keyspaces.values_mut() {
            keyspace.routing = Some(RoutingConfig { local_replica: true, ..RoutingConfig::default() });
        }
        let client = Client::builder().config(config).local_region(region).build().await.unwrap();
        connections.push(client.connection("profiles").unwrap());
        clients.push(client);
    }
    let connections: [Connection; 2] = connections.try_into().unwrap();
    let (writing, pairs, stop) =
        (Arc::new(RwLock::new(())), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let users: Vec<_> = (0..10)
        .map(|user| tokio::spawn(visit(connections.clone(), user, writing.clone(), pairs.clone(), stop.clone())))
        .collect();
    let so_many_more = async |more: u64| {
        let before = pairs.load(Ordering::Relaxed);
        let are_there = || async { (pairs.load(Ordering::Relaxed) >= before + more).then_some(()) };
        poll::until("visits", are_there).await;
    };
    so_many_more(1_000).await;
    {
        // What a dead server had acknowledged and nobody has is lost, whoever asks. Here nothing is.
        let _no_write = writing.write().await;
        stage.us.replicas_in_sync().await.unwrap();
        stage.us.kill();
    }
    let promoted = forced(&stage.config(), "eu").await.unwrap();
    assert_eq!(promoted.to, "us/replica-1@eu");
    so_many_more(1_000).await;
    stop.store(true, Ordering::Relaxed);
    let mut sum = Visits::default();
    for user in users {
        let visits = user.await.unwrap();
        sum.pairs += visits.pairs;
        sum.refused_writes += visits.refused_writes;
        sum.unanswered_reads += visits.unanswered_reads;
    }
    println!("{sum:?}, none stale");
    for client in clients {
        client.shut_down().await;
    }
}

//! What calls say about nodes: who is blamed, who is asked as well, and who is given up and returns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use archipelago::{
    Client, Config, Connection, Error, ErrorKind, Event,
    testing::{
        poll,
        proxy::{Direction, Shape, Slow},
        servers::Server,
    },
};
use futures_util::{FutureExt, StreamExt, future::join_all};
use redis::{AsyncCommands, RedisResult};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::world::{World, all_up};

/// The other region has other data: for tests that look at one region's data only.
const STAY: &str = "[routed]\nfailover = \"manual\"";

/// No attempt is given up for being late.
const PATIENT: &str = "[routed]\nfailover = \"manual\"\ndeadline_ms = 60000\n\
                       [resilience.latency]\ntimeout_floor_ms = 60000\ntimeout_cap_ms = 60000";

/// No probe says anything.
const NO_PROBES: &str = "[routed]\nfailover = \"manual\"\nprobe_interval_ms = 600000";

async fn with_a_value(world: &World, config: Config) -> (Client, Connection) {
    let _: () = world.us.run(redis::cmd("SET").arg("name").arg("Ada")).await.unwrap();
    world.us.replicas_in_sync().await.unwrap();
    let client = Client::builder().config(config).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    (client, connection)
}

async fn is_down(events: &mut (impl futures_util::Stream<Item = Event> + Unpin), name: &str) {
    let down = async {
        while let Some(event) = events.next().await {
            if matches!(&event, Event::NodeDown { node, .. } if &**node == name) {
                return;
            }
        }
    };
    tokio::time::timeout(poll::PATIENCE, down).await.unwrap();
}

/// How often a server ran a command.
async fn runs(server: &Server, command: &str) -> u64 {
    let info: String = server.run(redis::cmd("INFO").arg("commandstats")).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

fn slow(latency: u64) -> Shape {
    Shape::latency(Duration::from_millis(latency))
}

#[tokio::test]
async fn a_silent_node_whose_calls_are_all_overtaken_is_given_up() {
    let world = World::start().await;
    // Each read is answered by its hedge, and no probe goes out: only what was overtaken can tell.
    let routing = format!("{NO_PROBES}\n[resilience.budget]\nhedge_share = 1.0\nhedge_capacity = 1000");
    let (client, mut connection) = with_a_value(&world, world.config(&routing)).await;
    poll::until("the copy", || async {
        let explanation = connection.explain(redis::cmd("GET").arg("name")).unwrap();
        explanation.nodes.iter().all(|node| node.availability == "up").then_some(())
    })
    .await;
    let mut events = client.events();
    world.us_proxy.black_hole();
    let reading = async {
        loop {
            assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada");
        }
    };
    tokio::select! {
        () = is_down(&mut events, "us/primary") => {}
        () = reading => {}
    }
    client.shut_down().await;
}

#[tokio::test]
async fn a_node_that_is_back_is_used_again_and_given_up_again() {
    let mut world = World::start().await;
    let (client, connection) = with_a_value(&world, world.config(STAY)).await;
    all_up(&connection).await;
    let mut events = client.events();
    for _ in 0..2 {
        world.us.pause().unwrap();
        is_down(&mut events, "us/primary").await;
        assert_eq!(connection.clone().get::<_, String>("name").await.unwrap(), "Ada");
        world.us.resume().unwrap();
        poll::until("a write", || async { connection.clone().set::<_, _, ()>("other", 1).await.ok() }).await;
    }
    client.shut_down().await;
}

#[tokio::test]
async fn hedges_are_one_in_twenty_reads_at_most() {
    let world = World::start().await;
    let (client, connection) = with_a_value(&world, world.config(PATIENT)).await;
    all_up(&connection).await;
    let mut warm = connection.clone();
    for _ in 0..20 {
        let _: i64 = warm.strlen("name").await.unwrap();
    }
    let before = runs(&world.us.replicas()[0], "strlen").await;
    // Each of these would like one.
    world.us_proxy.shape(Direction::ToClient, slow(300));
    let reads = 600;
    let read = |_| {
        let mut connection = connection.clone();
        async move { assert_eq!(connection.strlen::<_, i64>("name").await.unwrap(), 3) }
    };
    join_all((0..reads).map(read)).await;
    let hedges = runs(&world.us.replicas()[0], "strlen").await - before;
    assert!((1..=10 + (reads + 20) / 20).contains(&hedges), "{hedges}");
    client.shut_down().await;
}

#[tokio::test]
async fn a_hedge_brings_no_other_regions_data() {
    let world = World::start().await;
    // No copy of the data anywhere: the other region is a last resort, not a second opinion.
    let text = format!(
        "local = \"eu\"\n[regions.us]\nurl = \"{}\"\nweight = 2\n[regions.eu]\nurl = \"{}\"\n[keyspaces.profiles]\nmode = \"routed\"\n{PATIENT}",
        world.us_proxy.url(),
        world.eu_proxy.url(),
    );
    let (client, mut connection) = with_a_value(&world, text.parse().unwrap()).await;
    let is_up = || async {
        let explanation = connection.explain(redis::cmd("GET").arg("name")).unwrap();
        explanation.nodes.iter().all(|node| node.availability == "up").then_some(())
    };
    poll::until("both regions", is_up).await;
    // Longer than a hedge waits, shorter than a probe.
    world.us_proxy.shape(Direction::ToClient, slow(120));
    for _ in 0..5 {
        assert_eq!(connection.get::<_, Option<String>>("name").await.unwrap().as_deref(), Some("Ada"));
    }
    client.shut_down().await;
}

#[tokio::test]
async fn an_applications_own_error_blames_nobody_whoever_answers_it() {
    let world = World::start().await;
    let (client, connection) = with_a_value(&world, world.config(PATIENT)).await;
    all_up(&connection).await;
    let mut events = client.events();
    let wrong = || {
        let mut connection = connection.clone();
        async move {
            let answer: RedisResult<i64> = connection.llen("name").await;
            assert_eq!(answer.unwrap_err().code(), Some("WRONGTYPE"));
        }
    };
    for _ in 0..50 {
        wrong().await;
    }
    // Now the copy answers it first, while the primary's answer is under way.
    world.us_proxy.shape(Direction::ToClient, slow(300));
    for _ in 0..8 {
        wrong().await;
    }
    world.us_proxy.shape(Direction::ToClient, Shape::default());
    let _: () = connection.clone().set("other", 1).await.unwrap();
    if let Some(event) = events.next().now_or_never() {
        panic!("{}", event.unwrap());
    }
    client.shut_down().await;
}

#[tokio::test]
async fn a_connection_that_hangs_is_replaced_and_its_node_kept() {
    let world = World::start().await;
    // Three probes would take a minute to give the node up, and calls cannot.
    let routing = "[routed]\nfailover = \"manual\"\nprobe_timeout_ms = 1000\n\
                   [resilience.breaker]\nconsecutive_failures = 200\nminimum_calls = 10000";
    let (client, connection) = with_a_value(&world, world.config(routing)).await;
    all_up(&connection).await;
    let mut events = client.events();
    let hang = Slow { percent: 100.0, delay: Duration::from_secs(600) };
    let sent = world.us_proxy.counters().bytes_to_server;
    world.us_proxy.shape(Direction::ToClient, Shape { slow: Some(hang), ..Shape::default() });
    // Whatever is answered now holds up the rest of this connection, and no other.
    poll::until("a probe", || async { (world.us_proxy.counters().bytes_to_server > sent).then_some(()) }).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.us_proxy.shape(Direction::ToClient, Shape::default());
    poll::until("a write", || async { connection.clone().set::<_, _, ()>("other", 1).await.ok() }).await;
    if let Some(event) = events.next().now_or_never() {
        panic!("{}", event.unwrap());
    }
    client.shut_down().await;
}

/// A server that lets everybody in and serves nobody, as while it loads its data.
async fn serve_nobody(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut words = Vec::new();
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        for _ in 0..line.trim_start_matches('*').trim().parse().unwrap_or(0) {
            line.clear();
            stream.read_line(&mut line).await?;
            let mut word = vec![0; line.trim_start_matches('$').trim().parse::<usize>().unwrap_or(0) + 2];
            stream.read_exact(&mut word).await?;
            words.push(String::from_utf8_lossy(&word).trim().to_uppercase());
        }
        let answer: &[u8] = match words.first().map(String::as_str) {
            Some("ROLE") => b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
            Some("CLIENT") => b"+OK\r\n",
            _ => b"-LOADING Redis is loading the dataset in memory\r\n",
        };
        stream.write_all(answer).await?;
    }
}

#[tokio::test]
async fn a_server_that_lets_in_and_serves_nobody_is_not_stormed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let connections = connections.clone();
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve_nobody(stream));
            }
        }
    });
    let text = format!("[regions.us]\nurl = \"{url}\"\n[keyspaces.profiles]\nmode = \"routed\"");
    let began = Instant::now();
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    let reads = (0..4).map(|_| {
        let mut connection = connection.clone();
        async move {
            for _ in 0..8 {
                let answer: RedisResult<Option<String>> = connection.get("name").await;
                let error = answer.unwrap_err();
                assert_eq!(Error::of(&error).unwrap().kind(), ErrorKind::Unavailable, "{error}");
            }
        }
    });
    join_all(reads).await;
    client.shut_down().await;
    // Each of two, after 50, 100, 200, 400, 800 ms, then every second: without the pauses it was one every 40 ms.
    let most = 2 * (6 + began.elapsed().as_secs() as usize);
    let made = connections.load(Ordering::Relaxed);
    assert!(made <= most, "{made} connections in {:?}", began.elapsed());
}

//! Every fault of the proxy, seen by a client of a real server behind it.
//!
//! Bounds are one-sided: a busy machine makes everything slower, so a delay is only measured as "at least", and that
//! something stays silent can hide a defect, never invent one.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use archipelago::testing::{
    poll,
    proxy::{ChaosProxy, Direction, Pace, Shape, Slow},
    servers::{Options, Server},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long to look whether nothing comes.
const SILENCE: Duration = Duration::from_millis(200);

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A server, a proxy before it, and a connection through both.
struct Stage {
    server: Server,
    proxy: ChaosProxy,
    client: TcpStream,
}

impl Stage {
    async fn set() -> Self {
        let server = Server::redis(Options::default()).await.unwrap();
        let proxy = ChaosProxy::before(server.address()).await.unwrap();
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let mut stage = Self { server, proxy, client };
        assert_eq!(stage.call("PING\r\n").await.unwrap(), "+PONG\r\n");
        stage
    }

    async fn call(&mut self, command: &str) -> io::Result<String> {
        call(&mut self.client, command).await
    }

    /// How long a call takes.
    async fn timed(&mut self) -> Duration {
        let start = Instant::now();
        assert_eq!(self.call("PING\r\n").await.unwrap(), "+PONG\r\n");
        start.elapsed()
    }

    async fn new_client(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.proxy.address()).await
    }

    async fn at_the_server(&self, key: &str) -> Option<String> {
        self.server.run(redis::cmd("GET").arg(key)).await.unwrap()
    }

    async fn healed(&mut self) {
        self.proxy.heal().await.unwrap();
        self.client = self.new_client().await.unwrap();
        assert_eq!(self.call("PING\r\n").await.unwrap(), "+PONG\r\n");
    }
}

async fn call(client: &mut TcpStream, command: &str) -> io::Result<String> {
    client.write_all(command.as_bytes()).await?;
    answer(client).await
}

async fn answer(client: &mut TcpStream) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let read = timeout(poll::PATIENCE, client.read(&mut bytes)).await.expect("an answer, or an end");
    Ok(String::from_utf8_lossy(&bytes[..read?]).into_owned())
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(SILENCE, client.read(&mut [0; 64])).await.is_err()
}

#[tokio::test]
async fn latency_is_added_in_each_direction_and_can_be_taken_away() {
    let mut stage = Stage::set().await;
    for (there, back) in [(60, 0), (0, 60), (30, 40)] {
        stage.proxy.delay(MS(there), MS(back));
        assert!(stage.timed().await >= MS(there + back));
    }
    stage.proxy.delay(Duration::ZERO, Duration::ZERO);
    // The fastest of many: one that is not delayed by the machine.
    let mut fastest = Duration::MAX;
    for _ in 0..200 {
        fastest = fastest.min(stage.timed().await);
    }
    assert!(fastest < MS(30), "{fastest:?}");
}

#[tokio::test]
async fn what_is_under_way_does_not_hold_up_what_follows() {
    let mut stage = Stage::set().await;
    stage.proxy.delay(MS(500), Duration::ZERO);
    // A hundred calls sent one after the other, each on its way before the first has arrived: one latency together, not
    // a hundred (which would be 50 seconds).
    let start = Instant::now();
    for _ in 0..100 {
        stage.client.write_all(b"PING\r\n").await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answers = vec![0; 7 * 100];
    timeout(poll::PATIENCE, stage.client.read_exact(&mut answers)).await.expect("one latency").unwrap();
    assert!(start.elapsed() >= MS(500));
    assert_eq!(answers, b"+PONG\r\n".repeat(100));
}

#[tokio::test]
async fn jitter_keeps_the_order() {
    let mut stage = Stage::set().await;
    let shape = Shape { jitter: MS(20), ..Shape::default() };
    stage.proxy.shape(Direction::ToServer, shape);
    stage.proxy.shape(Direction::ToClient, shape);
    for number in 0..200 {
        stage.client.write_all(format!("RPUSH row {number}\r\n").as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let row = poll::until("all have arrived", || async {
        let row: Vec<u32> = stage.server.run(redis::cmd("LRANGE").arg("row").arg(0).arg(-1)).await.unwrap();
        (row.len() == 200).then_some(row)
    });
    assert_eq!(row.await, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn some_segments_are_slow() {
    let mut stage = Stage::set().await;
    let slow = |percent| Shape { slow: Some(Slow { percent, delay: MS(60) }), ..Shape::default() };
    stage.proxy.shape(Direction::ToClient, slow(100.0));
    assert!(stage.timed().await >= MS(60));
    stage.proxy.shape(Direction::ToClient, slow(20.0));
    let mut slow_ones = 0;
    for _ in 0..100 {
        slow_ones += u32::from(stage.timed().await >= MS(60));
    }
    assert!((1..100).contains(&slow_ones), "{slow_ones} of 100");
}

#[tokio::test]
async fn bandwidth_bounds_how_much_passes() {
    let mut stage = Stage::set().await;
    let value = "x".repeat(20_000);
    stage.proxy.shape(Direction::ToServer, Shape { pace: Pace::BytesPerSecond(50_000), ..Shape::default() });
    let start = Instant::now();
    assert_eq!(stage.call(&format!("SET big {value}\r\n")).await.unwrap(), "+OK\r\n");
    // All but the last portion had to wait.
    assert!(start.elapsed() >= MS(19_500 * 1000 / 50_000), "{:?}", start.elapsed());
    assert_eq!(stage.at_the_server("big").await, Some(value));
}

#[tokio::test]
async fn a_drip_lets_some_bytes_pass_at_a_time() {
    let mut stage = Stage::set().await;
    stage.proxy.shape(Direction::ToClient, Shape { pace: Pace::Drip { bytes: 2, every: MS(30) }, ..Shape::default() });
    let start = Instant::now();
    stage.client.write_all(b"PING\r\n").await.unwrap();
    let mut pong = [0; 7];
    let first = stage.client.read(&mut pong).await.unwrap();
    assert!(first < 7, "the answer came at once");
    stage.client.read_exact(&mut pong[first..]).await.unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
    assert!(start.elapsed() >= MS(3 * 30), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_cut_towards_the_client_loses_the_answer_of_a_command_that_was_executed() {
    let mut stage = Stage::set().await;
    stage.proxy.cut(Direction::ToClient);
    stage.client.write_all(b"SET written yes\r\n").await.unwrap();
    poll::until("the server executes", || async { stage.at_the_server("written").await }).await;
    assert!(is_silent(&mut stage.client).await);
    poll::until("lost bytes", || async { (stage.proxy.counters().bytes_lost == 5).then_some(()) }).await;
    // The stream is out of step: the next answer would be taken for the lost one's.
    stage.proxy.heal().await.unwrap();
    assert_eq!(answer(&mut stage.client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    stage.healed().await;
}

#[tokio::test]
async fn a_cut_towards_the_server_loses_the_command_and_spares_connections_that_lost_nothing() {
    let mut stage = Stage::set().await;
    let mut idle = stage.new_client().await.unwrap();
    assert_eq!(call(&mut idle, "PING\r\n").await.unwrap(), "+PONG\r\n");
    stage.proxy.cut(Direction::ToServer);
    stage.client.write_all(b"SET written yes\r\n").await.unwrap();
    assert!(is_silent(&mut stage.client).await);
    assert_eq!(stage.at_the_server("written").await, None);
    stage.proxy.heal().await.unwrap();
    assert_eq!(call(&mut idle, "PING\r\n").await.unwrap(), "+PONG\r\n");
    stage.healed().await;
    assert_eq!(stage.at_the_server("written").await, None);
}

#[tokio::test]
async fn a_black_hole_is_silent_and_open_and_afterwards_everything_arrives() {
    let mut stage = Stage::set().await;
    stage.proxy.black_hole();
    stage.client.write_all(b"SET old yes\r\n").await.unwrap();
    let mut new = stage.new_client().await.expect("accepted");
    new.write_all(b"SET new yes\r\n").await.unwrap();
    assert!(is_silent(&mut stage.client).await && is_silent(&mut new).await);
    assert_eq!((stage.at_the_server("old").await, stage.at_the_server("new").await), (None, None));
    stage.proxy.heal().await.unwrap();
    assert_eq!(answer(&mut stage.client).await.unwrap(), "+OK\r\n");
    assert_eq!(answer(&mut new).await.unwrap(), "+OK\r\n");
    assert_eq!(stage.proxy.counters().bytes_lost, 0);
}

#[tokio::test]
async fn a_connection_that_hangs_is_silent_and_the_others_are_not() {
    let mut stage = Stage::set().await;
    let mut other = stage.new_client().await.unwrap();
    stage.proxy.hang(0);
    stage.client.write_all(b"SET late yes\r\n").await.unwrap();
    assert!(is_silent(&mut stage.client).await);
    assert_eq!(stage.at_the_server("late").await, None);
    assert_eq!(call(&mut other, "PING\r\n").await.unwrap(), "+PONG\r\n");
    assert_eq!(call(&mut stage.new_client().await.unwrap(), "PING\r\n").await.unwrap(), "+PONG\r\n");
    stage.proxy.heal().await.unwrap();
    assert_eq!(answer(&mut stage.client).await.unwrap(), "+OK\r\n");
    assert_eq!(stage.proxy.counters().bytes_lost, 0);
}

#[tokio::test]
async fn refused_means_refused_and_open_connections_go_on() {
    let mut stage = Stage::set().await;
    for _ in 0..20 {
        stage.proxy.refuse().await;
        assert_eq!(stage.new_client().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(stage.call("PING\r\n").await.unwrap(), "+PONG\r\n");
        stage.proxy.heal().await.unwrap();
        assert_eq!(call(&mut stage.new_client().await.unwrap(), "PING\r\n").await.unwrap(), "+PONG\r\n");
    }
}

#[tokio::test]
async fn a_reset_hits_all_connections_at_once_and_new_ones_are_fine() {
    let mut stage = Stage::set().await;
    let mut other = stage.new_client().await.unwrap();
    assert_eq!(call(&mut other, "PING\r\n").await.unwrap(), "+PONG\r\n");
    stage.proxy.reset();
    assert_eq!(answer(&mut stage.client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(answer(&mut other).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(stage.proxy.counters().resets, 2);
    stage.healed().await;
}

#[tokio::test]
async fn a_close_is_a_plain_end_even_with_bytes_unread() {
    let mut stage = Stage::set().await;
    // What the server does not get any more: dropped with unread bytes, the socket would say RST.
    stage.proxy.black_hole();
    stage.client.write_all(b"PING\r\n").await.unwrap();
    stage.proxy.close();
    assert_eq!(answer(&mut stage.client).await.unwrap(), "");
    assert_eq!(stage.proxy.counters().resets, 0);
    stage.healed().await;
}

#[tokio::test]
async fn disconnected_and_pointed_at_another_server() {
    let mut stage = Stage::set().await;
    let other = Server::redis(Options::default()).await.unwrap();
    stage.proxy.point_at(other.address());
    assert_eq!(stage.call("SET where first\r\n").await.unwrap(), "+OK\r\n", "open connections stay where they are");
    stage.proxy.disconnect().await;
    assert!(answer(&mut stage.client).await.is_err());
    assert_eq!(stage.new_client().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    stage.healed().await;
    assert_eq!(stage.call("SET where second\r\n").await.unwrap(), "+OK\r\n");
    assert_eq!(stage.at_the_server("where").await.as_deref(), Some("first"));
    assert_eq!(other.run::<String>(redis::cmd("GET").arg("where")).await.unwrap(), "second");
}

#[tokio::test]
async fn the_end_of_one_stream_lets_the_answers_pass() {
    let mut stage = Stage::set().await;
    stage.proxy.delay(MS(50), MS(50));
    // QUIT: the server answers and closes. Both have to arrive, in this order.
    stage.client.write_all(b"PING\r\nQUIT\r\n").await.unwrap();
    let mut all = String::new();
    timeout(poll::PATIENCE, stage.client.read_to_string(&mut all)).await.expect("an end").unwrap();
    assert_eq!(all, "+PONG\r\n+OK\r\n");
}

#[tokio::test]
async fn a_server_that_is_killed_or_missing_ends_the_connection() {
    let mut stage = Stage::set().await;
    stage.server.kill();
    assert!(answer(&mut stage.client).await.map_or(true, |read| read.is_empty()));
    let mut new = stage.new_client().await.unwrap();
    assert_eq!(answer(&mut new).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn counters_count_and_a_dropped_proxy_frees_everything() {
    let mut stage = Stage::set().await;
    let second = stage.new_client().await.unwrap();
    poll::until("two", || async { (stage.proxy.counters().open == 2).then_some(()) }).await;
    drop(second);
    poll::until("one", || async { (stage.proxy.counters().open == 1).then_some(()) }).await;
    let counters = stage.proxy.counters();
    assert_eq!((counters.connections, counters.bytes_to_server, counters.bytes_to_client), (2, 6, 7));
    let address = stage.proxy.address();
    stage.proxy.black_hole();
    drop(stage.proxy);
    assert!(answer(&mut stage.client).await.map_or(true, |read| read.is_empty()), "open connections end");
    poll::until("the port is free", || async { std::net::TcpListener::bind(address).ok() }).await;
}

#[tokio::test]
async fn a_sender_waits_when_too_much_is_under_way() {
    let mut stage = Stage::set().await;
    stage.proxy.black_hole();
    // The kernel's buffers take some of it; an unbounded proxy would take all.
    let flood = vec![b'x'; 64 * 1024 * 1024];
    assert!(timeout(SILENCE, stage.client.write_all(&flood)).await.is_err());
    let mut stage = Stage::set().await;
    stage.proxy.delay(Duration::from_secs(3600), Duration::ZERO);
    assert!(timeout(SILENCE * 5, stage.client.write_all(&flood)).await.is_err());
}

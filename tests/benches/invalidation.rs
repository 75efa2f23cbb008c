//! How long a value stays in the near cache of another process after it was written here.
//!
//! `cargo bench -p archipelago-tests --bench invalidation`; `LOAD_SECONDS` sets how long each part writes (default 10).
//!
//! Two processes with a client each, and one redis-server: this one writes a register 200 times a second and notes when each
//! call begins and when it is acknowledged, the other one watches it and notes when it has the new value, by which time
//! nobody there is served the old one. Both read the same clock, CLOCK_MONOTONIC of this machine, so nothing is subtracted.
//! Then the same while tasks of the other process read the value without a pause, as many as there are processors, and more:
//! then both processes and the server wait for a turn on a processor, some milliseconds each, and the call itself, which has
//! nothing to do with the cache, says how long.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no API, and stops at what it does not expect")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago::{
    Client, Config,
    config::{KeyspaceConfig, RegionConfig},
    near::Tracking,
    testing::{
        poll,
        servers::{Options, Server},
    },
};
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::AsyncReadExt,
    time::{MissedTickBehavior, interval},
};

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(5);
const KEY: &str = "k";
/// The word that makes a process the reader.
const READER: &str = "reader";

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [READER, url, tasks] => read(url, tasks.parse().unwrap()).await,
        _ => measure_all().await,
    }
}

async fn measure_all() {
    let seconds = std::env::var("LOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let writes = seconds * 1_000 / u64::try_from(PAUSE.as_millis()).unwrap();
    let processors = std::thread::available_parallelism().unwrap().get();
    println!("{writes} writes, one each {PAUSE:?}, seen in another process; {processors} processors.");
    println!("{:<34} {:>8} {:>8} {:>8} {:>12}", "", "p50", "p99", "max", "reads/s");
    for readers in [0, 1, processors, 4 * processors] {
        let server = Server::redis(Options::default()).await.unwrap();
        let (mut reader, client) = (Reader::start(&server.url(), readers), client(&server.url()).await);
        let mut writes = written(&client, writes).await;
        reader.wait_for(writes.len() as u64);
        let (seen, reads) = reader.finish();
        writes.iter_mut().for_each(|write| write.seen = seen_at(&seen, write.number));
        let what =
            if readers == 0 { "nobody reads".to_owned() } else { format!("{readers} task(s) read without a pause") };
        let reads = reads as f64 / (writes.last().unwrap().seen - writes[0].began) as f64 * 1e9;
        let row = |what: &str, of: fn(&Written) -> u64, reads: &str| {
            let mut all = Histogram::<u64>::new(3).unwrap();
            writes.iter().for_each(|write| all.record(of(write) / 1_000).unwrap());
            let at = |share| format!("{:.2} ms", all.value_at_quantile(share) as f64 / 1e3);
            println!("{what:<34} {:>8} {:>8} {:>8} {reads:>12}", at(0.5), at(0.99), at(1.0));
        };
        println!("{what}:");
        row("  seen, since the call", |write| write.seen.saturating_sub(write.began), &format!("{reads:.0}"));
        row("  seen, since its acknowledgement", |write| write.seen.saturating_sub(write.acknowledged), "");
        row("  the call itself", |write| write.acknowledged - write.began, "");
        client.shut_down().await;
    }
}

/// When a write began, when it was acknowledged, and when it was seen, in nanoseconds of the machine's clock.
struct Written {
    number: u64,
    began: u64,
    acknowledged: u64,
    seen: u64,
}

/// Writes 1, 2, 3 and so on at a steady pace.
async fn written(client: &Client, count: u64) -> Vec<Written> {
    let register = client.register::<u64>(KEY);
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut writes = Vec::new();
    for number in 1..=count {
        pace.tick().await;
        let began = now();
        register.set(&number).await.unwrap();
        writes.push(Written { number, began, acknowledged: now(), seen: 0 });
    }
    writes
}

/// When the value of a write, or of a later one, was seen first.
fn seen_at(seen: &[(u64, u64)], number: u64) -> u64 {
    let at = seen.partition_point(|(value, _)| *value < number);
    seen.get(at).unwrap().1
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap()
}

async fn client(url: &str) -> Client {
    let config = Config {
        regions: [("here".to_owned(), RegionConfig::new(url))].into(),
        keyspaces: [("default".to_owned(), KeyspaceConfig::default())].into(),
        ..Config::default()
    };
    Client::builder().config(config).local_region("here").without_sync().build().await.unwrap()
}

/// The other process, as this one sees it.
struct Reader {
    child: Child,
    stop: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    seen: Vec<(u64, u64)>,
}

impl Reader {
    /// Starts it and waits until the server tells it what changes.
    fn start(url: &str, tasks: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([READER, url, &tasks.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stop, lines) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut reader = Self { child, stop, lines, seen: Vec::new() };
        assert_eq!(reader.line(), "ready");
        reader
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Until it has seen this value.
    fn wait_for(&mut self, value: u64) {
        while self.seen.last().is_none_or(|(last, _)| *last < value) {
            let line = self.line();
            let (value, at) = line.split_once(' ').unwrap();
            self.seen.push((value.parse().unwrap(), at.parse().unwrap()));
        }
    }

    /// What it saw when, and how often its tasks read.
    fn finish(mut self) -> (Vec<(u64, u64)>, u64) {
        drop(self.stop.take());
        let reads = self.line().parse().unwrap();
        (std::mem::take(&mut self.seen), reads)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does, until its input ends: a line for each value that it sees, and when.
async fn read(url: &str, tasks: usize) {
    let client = client(url).await;
    let near = client.near("default").unwrap();
    let value = near.register::<u64>(KEY);
    let mut changes = value.watch();
    changes.next().await.unwrap().unwrap();
    poll::until("tracking", || async { (near.stats().tracking == Tracking::On).then_some(()) }).await;
    let reads = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..tasks)
        .map(|_| {
            let (value, reads) = (value.clone(), reads.clone());
            tokio::spawn(async move {
                let mut read = 0_u64;
                loop {
                    value.get().await.unwrap();
                    read += 1;
                    if read.is_multiple_of(1_024) {
                        reads.fetch_add(1_024, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let mut out = std::io::stdout();
    let mut say = |line: String| {
        writeln!(out, "{line}").unwrap();
        out.flush().unwrap();
    };
    say("ready".to_owned());
    let (mut input, mut nothing) = (tokio::io::stdin(), [0]);
    loop {
        tokio::select! {
            change = changes.next() => {
                if let Some(value) = change.unwrap().unwrap() {
                    say(format!("{value} {}", now()));
                }
            }
            _ = input.read(&mut nothing) => break,
        }
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    say(reads.load(Ordering::Relaxed).to_string());
}

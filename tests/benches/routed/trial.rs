//! One trial: clients in steady traffic, a fault, and what became of their calls.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use archipelago::{Client, Connection};
use tokio::task::JoinHandle;

use crate::{
    peer::{Packages, Peer, Profile},
    report::median,
    traffic::{Call, Traffic, USUAL, now},
    world::{KEY, Way, World},
};

/// Before the fault.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// SIGKILL: its connections are refused.
    Kill,
    /// SIGSTOP: its connections stay, nobody answers.
    Pause,
    /// Its packets vanish.
    BlackHole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Player {
    /// This library, with every default.
    Archipelago,
    /// redis-py's MultiDBClient, with every default.
    Default,
    /// redis-py's MultiDBClient, as hasty as its options allow.
    Tuned,
}

/// What became of one client's calls.
#[derive(Debug)]
pub struct Outcome {
    /// Seconds from the first read after the fault to the first answer.
    pub next_read: f64,
    /// The slowest read that was answered, of those that ended after the fault.
    pub slowest_read: f64,
    /// When the last read began that failed or was slow, from the fault on.
    pub last_trouble: f64,
    /// When its routing left the region, from the fault on; of our client only.
    pub left: Option<f64>,
    pub round_trip: f64,
    pub per_second: f64,
    pub reads: usize,
    /// What reads failed with.
    pub read_errors: BTreeMap<String, usize>,
    pub writes: usize,
    /// What writes failed with.
    pub write_errors: BTreeMap<String, usize>,
    /// Writes that were applied twice, or elsewhere than the client said.
    pub untrue: usize,
}

impl Player {
    /// How long it needs to recover.
    pub fn observed(self) -> Duration {
        match self {
            Self::Archipelago | Self::Tuned => Duration::from_millis(2_500),
            Self::Default => Duration::from_secs(12),
        }
    }
}

/// A client in steady traffic.
enum Playing {
    Ours { client: Client, traffic: Traffic, leaving: JoinHandle<f64> },
    Peer(Peer),
}

pub async fn run(
    world: &mut World,
    packages: Option<&Packages>,
    (fault, rate): (Fault, u64),
    players: &[Player],
) -> Vec<Outcome> {
    let way = if fault == Fault::BlackHole { Way::Proxied } else { Way::Direct };
    let mut playing = Vec::new();
    for player in players {
        playing.push(start(world, packages, *player, way, rate).await);
    }
    // At any point between two calls and two probes.
    tokio::time::sleep(WARM_UP + Duration::from_millis(fastrand::u64(..300))).await;
    let struck = strike(world, fault);
    let mut all_calls = Vec::new();
    let mut waiting: Vec<_> = players.iter().zip(playing).collect();
    waiting.sort_by_key(|(player, _)| player.observed());
    let began = Instant::now();
    for (player, playing) in waiting {
        tokio::time::sleep(player.observed().saturating_sub(began.elapsed())).await;
        all_calls.push((player, stop(playing).await));
    }
    heal(world, fault).await;
    let mut outcomes = Vec::new();
    for player in players {
        let (_, (calls, left)) = all_calls.iter().find(|(of, _)| *of == player).unwrap();
        let left = left.map(|left| left - struck);
        let untrue = if fault == Fault::Kill { 0 } else { untrue_writes(world, calls).await };
        outcomes.push(Outcome { left, untrue, ..judge(calls, struck, player.observed()) });
    }
    world.fill().await;
    outcomes
}

async fn start(world: &World, packages: Option<&Packages>, player: Player, way: Way, rate: u64) -> Playing {
    let profile = match player {
        Player::Archipelago => {
            let (client, connection) = world.client(way).await;
            let traffic = Traffic::start(&connection, rate);
            return Playing::Ours { client, traffic, leaving: tokio::spawn(left_at(connection)) };
        }
        Player::Default => Profile::Default,
        Player::Tuned => Profile::Tuned,
    };
    let [us, _, eu] = world.urls(way);
    Playing::Peer(Peer::start(packages.unwrap(), profile, [&us, &eu], rate))
}

/// When reads no longer go to the region's primary.
async fn left_at(connection: Connection) -> f64 {
    loop {
        let explanation = connection.explain(redis::cmd("GET").arg(KEY)).unwrap();
        if explanation.nodes.first().is_none_or(|first| first.name != "us/primary") {
            return now();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every call, and when the region was left.
async fn stop(playing: Playing) -> (Vec<Call>, Option<f64>) {
    match playing {
        Playing::Ours { client, traffic, leaving } => {
            let calls = traffic.stop().await;
            leaving.abort(); // which does nothing to one that has ended
            let left = leaving.await.unwrap_or(f64::INFINITY);
            client.shut_down().await;
            (calls, Some(left))
        }
        Playing::Peer(peer) => (tokio::task::spawn_blocking(move || peer.stop()).await.unwrap(), None),
    }
}

/// Answers when it was in effect.
fn strike(world: &mut World, fault: Fault) -> f64 {
    match fault {
        Fault::Kill => world.us.kill(),
        Fault::Pause => world.us.pause().unwrap(),
        Fault::BlackHole => world.proxies[0].black_hole(),
    }
    now()
}

async fn heal(world: &mut World, fault: Fault) {
    match fault {
        Fault::Kill => world.us.restart().await.unwrap(),
        Fault::Pause => world.us.resume().unwrap(),
        Fault::BlackHole => world.proxies[0].heal().await.unwrap(),
    }
    world.us.replicas_in_sync().await.unwrap();
    // What stood in sockets is executed now.
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn judge(calls: &[Call], struck: f64, observed: Duration) -> Outcome {
    let (mut reads, writes): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.write.is_none());
    reads.sort_by(|a, b| a.at.total_cmp(&b.at));
    let after = || reads.iter().filter(|call| call.at >= struck);
    let first = after().map(|call| call.at).next().unwrap_or(struck);
    let answered = after().filter(|call| call.error.is_none()).map(|call| call.end()).min_by(f64::total_cmp);
    let hit = || reads.iter().filter(|call| call.end() >= struck);
    let greatest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let is_trouble = |call: &&&Call| call.error.is_some() || call.took > USUAL;
    let errors = |calls: &[&Call]| {
        let mut kinds = BTreeMap::new();
        calls.iter().filter_map(|call| call.error.clone()).for_each(|error| *kinds.entry(error).or_default() += 1);
        kinds
    };
    Outcome {
        next_read: answered.map_or(observed.as_secs_f64(), |end| end - first),
        slowest_read: greatest(&mut hit().filter(|call| call.error.is_none()).map(|call| call.took)),
        last_trouble: greatest(&mut hit().filter(is_trouble).map(|call| call.at - struck)),
        left: None,
        round_trip: median(reads.iter().filter(|call| call.end() < struck).map(|call| call.took)),
        per_second: calls.iter().filter(|call| call.at < struck).count() as f64 / elapsed(calls, struck),
        reads: reads.len(),
        read_errors: errors(&reads),
        writes: writes.len(),
        write_errors: errors(&writes),
        untrue: 0,
    }
}

fn elapsed(calls: &[Call], until: f64) -> f64 {
    until - calls.iter().map(|call| call.at).fold(until, f64::min)
}

/// Writes whose result is not what the regions hold: applied more than once, not at all in spite of an answer, or in
/// spite of an error that says no.
async fn untrue_writes(world: &World, calls: &[Call]) -> usize {
    let writes: Vec<_> = calls.iter().filter(|call| call.write.is_some()).collect();
    if writes.is_empty() {
        return 0;
    }
    let mut get = redis::cmd("MGET");
    get.arg(writes.iter().filter_map(|call| call.write.as_deref()).collect::<Vec<_>>());
    let us: Vec<Option<u64>> = world.us.run(&get).await.unwrap();
    let eu: Vec<Option<u64>> = world.eu.run(&get).await.unwrap();
    let applied = us.iter().zip(&eu).map(|(us, eu)| us.unwrap_or(0) + eu.unwrap_or(0));
    let is_true = |call: &Call, applied: u64| match call.error.as_deref() {
        None => applied == 1,
        Some("Unavailable") => applied == 0,
        Some(_) => applied <= 1,
    };
    writes.iter().zip(applied).filter(|(call, applied)| !is_true(call, *applied)).count()
}

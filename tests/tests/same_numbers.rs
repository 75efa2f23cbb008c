//! Embedded regions compute what Redis has computed inside: counts of HyperLogLogs, distances, geohashes. Random commands
//! through the interpreter, on embedded regions and on servers: every reply has to be the same.
//!
//! `ARCHIPELAGO_SEEDS=0..100` runs more; a failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use archipelago::{
    exec::{Interpreter, split_line},
    testing::servers::{Options, Program},
};
use archipelago_tests::{
    random::{Rng, seeds},
    world::{self, Ground, World},
};

/// From `-most` to `most`, often near the ends and near zero. Never at the upper end itself: that score lies outside of
/// the cells in which servers search.
#[allow(clippy::cast_precision_loss, reason = "a random number")]
fn coordinate(rng: &mut Rng, most: f64) -> f64 {
    let share = (rng.next() >> 11) as f64 / (1_u64 << 53) as f64;
    match rng.below(8) {
        0 | 1 => -most,
        2 => most - share / 1000.0,
        3 => share / 1e6,
        _ => (2.0 * share - 1.0) * most,
    }
}

fn position(rng: &mut Rng) -> String {
    format!("{} {}", coordinate(rng, 180.0), coordinate(rng, 85.051_128_78))
}

fn geo(rng: &mut Rng) -> String {
    let member = rng.below(30);
    let unit = *rng.pick(&["m", "km", "mi", "ft"]);
    let far = *rng.pick(&[0, 1, 100, 5000, 20_000, 30_000_000]);
    let around = if rng.one_in(2) { format!("FROMMEMBER {member}") } else { format!("FROMLONLAT {}", position(rng)) };
    match rng.below(8) {
        0..=2 => format!("GEOADD g {} {member}", position(rng)),
        3 => format!("GEOPOS g {member} {}", rng.below(30)),
        4 => format!("GEODIST g {member} {} {unit}", rng.below(30)),
        5 => format!("GEOHASH g {member} {}", rng.below(30)),
        6 => format!("GEOSEARCH g {around} BYRADIUS {far} {unit} ASC WITHDIST WITHHASH WITHCOORD"),
        // Boxes around the poles and the date line are where servers differ from each other: small ones here.
        _ => format!("GEOSEARCH g FROMLONLAT 10 50 BYBOX {0} {0} km DESC WITHDIST COUNT 9", far.min(1000)),
    }
}

fn hyperloglog(rng: &mut Rng) -> String {
    let name = |rng: &mut Rng| *rng.pick(&["p", "q", "r"]);
    let names = |rng: &mut Rng| (0..=rng.below(3)).map(|_| name(rng)).collect::<Vec<_>>().join(" ");
    match rng.below(8) {
        0..=3 => {
            let most = *rng.pick(&[3, 100, 2000]);
            let elements: Vec<_> = (0..rng.below(most)).map(|_| format!("{:x}", rng.next() >> rng.below(64))).collect();
            format!("PFADD {} {}", name(rng), elements.join(" "))
        }
        4 | 5 => format!("PFCOUNT {}", names(rng)),
        6 => format!("PFMERGE {}", names(rng)),
        _ if rng.one_in(10) => format!("DEL {}", name(rng)),
        _ => format!("EXISTS {}", name(rng)),
    }
}

async fn compare(program: Program, seeds: Vec<u64>, command: impl Fn(&mut Rng) -> String) {
    for seed in seeds {
        let Some(servers) = World::with(Ground::Servers(program), Options::default(), world::settings()).await else {
            println!("not run: no valkey-server in the path, and VALKEY_SERVER names none");
            return;
        };
        let embedded = World::with(Ground::Embedded, Options::default(), world::settings()).await.unwrap();
        let (server, computed) = (servers.idle_client(0).await, embedded.idle_client(0).await);
        let (server, computed) = (Interpreter::new(world::store(&server)), Interpreter::new(world::store(&computed)));
        let mut rng = Rng::new(seed);
        for step in 0..300 {
            let words = split_line(command(&mut rng)).unwrap();
            let [theirs, ours] = [server.execute(&words).await, computed.execute(&words).await];
            let shown = String::from_utf8_lossy(&words.join(&b' ')).chars().take(200).collect::<String>();
            assert_eq!(ours.to_line(), theirs.to_line(), "seed {seed} step {step}: {shown}");
        }
    }
}

#[tokio::test]
async fn places_have_the_numbers_of_redis() {
    compare(Program::Redis, seeds(0..3), geo).await;
}

#[tokio::test]
async fn places_have_the_numbers_of_valkey() {
    compare(Program::Valkey, seeds(10..12), geo).await;
}

#[tokio::test]
async fn hyperloglogs_have_the_numbers_of_redis() {
    compare(Program::Redis, seeds(0..2), hyperloglog).await;
}

#[tokio::test]
async fn hyperloglogs_have_the_numbers_of_valkey() {
    compare(Program::Valkey, seeds(10..11), hyperloglog).await;
}

//! Random histories through the engine and through the Redis scripts at once: every answer, cell, view and log entry
//! has to be the same.
//!
//! The engine is given as `now` the id of the entry that Redis appended, so both take the same versions. What Redis
//! answers without an entry changed nothing, and the engine has to agree on that, too. `ARCHIPELAGO_SEEDS=0..100` runs
//! more; a failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod claims;
mod closing;
mod entries;
mod joins;
mod large_keys;
mod lists;
mod pair;
mod settled;
mod stock;
mod values;

use archipelago::config::KeyspaceConfig;
use archipelago::engine::{Key, Kind, Mutation};
use archipelago::testing::servers::{Options, Program};
use archipelago_tests::{
    carry,
    random::{Rng, seeds},
    world::{self, Ground, World},
};
use pair::{Pair, link, push, read_push, resync};

/// The types whose values are what was assigned and added, and all others: mixed, each would be met too seldom.
const PLAIN: &[Kind] = Kind::ALL.split_at(4).0;
const RULED: &[Kind] = Kind::ALL.split_at(4).1;

async fn world(program: Program) -> Option<World> {
    let settings = KeyspaceConfig { partitions: 1, ..world::settings() };
    World::with(Ground::Servers(program), Options::default(), settings).await
}

async fn pairs(world: &World) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for at in 0..3 {
        pairs.push(Pair::open(world, at).await);
    }
    pairs
}

type RandomWrite = fn(&mut Rng, &Pair) -> (Key, Mutation);

fn plain(rng: &mut Rng, at: &Pair) -> (Key, Mutation) {
    values::write(rng, PLAIN, |key| at.context(key))
}

fn ruled(rng: &mut Rng, at: &Pair) -> (Key, Mutation) {
    values::write(rng, RULED, |key| at.context(key))
}

fn feeds(rng: &mut Rng, at: &Pair) -> (Key, Mutation) {
    values::write(rng, &[Kind::Feed], |key| at.context(key))
}

async fn history(program: Program, seed: u64, steps: usize, write: RandomWrite) {
    let Some(world) = world(program).await else {
        println!("not run: no valkey-server in the path, and VALKEY_SERVER names none");
        return;
    };
    let mut pairs = pairs(&world).await;
    let mut rng = Rng::new(seed);
    let mut late = Vec::new();
    for step in 0..steps {
        let place = format!("seed {seed} step {step}");
        let at = rng.below(3);
        match rng.below(12) {
            0..=6 => {
                let (key, mutation) = write(&mut rng, &pairs[at]);
                let mutation = claims::random(&mut rng, &pairs[at], &key).unwrap_or(mutation);
                let mutation = if key.kind == Kind::Stock && !rng.one_in(10) {
                    Mutation::Stock(stock::change(&mut rng, &pairs, at, &key))
                } else {
                    mutation
                };
                pairs[at].write(&key, &mutation, &place).await;
            }
            7 | 8 => {
                let to = (at + 1 + rng.below(2)) % 3;
                let limit = 1 + rng.below(20);
                link(&mut pairs, at, to, limit, &place).await;
            }
            9 => late.extend(read_push(&mut pairs, at, &mut rng, &place).await),
            // Whatever its age; also back to where it was read.
            10 if !late.is_empty() => {
                let pushed = rng.pick(&late).clone();
                push(&mut pairs, at, &pushed, &place).await;
            }
            _ if rng.one_in(6) => {
                let to = (at + 1 + rng.below(2)) % 3;
                let remembers = rng.one_in(2);
                resync(&mut pairs, at, to, remembers, &place).await;
            }
            _ if rng.one_in(2) => drop(pairs[at].collect(&place).await),
            _ => pairs[at].publish(&place).await,
        }
        if step % 7 == 0 {
            pairs[at].compare(&place).await;
        }
    }
    let place = format!("seed {seed} end");
    for (from, to) in world::pairs() {
        link(&mut pairs, from, to, 100_000, &place).await;
    }
    for pair in &mut pairs {
        pair.compare(&place).await;
    }
    collect_all(&mut pairs, &place).await;
}

/// Everything that is dead goes, once everybody has said what they hold.
async fn collect_all(pairs: &mut [Pair], place: &str) {
    for _ in 0..8 {
        for pair in &mut *pairs {
            pair.collect(place).await;
            pair.republish(place).await;
        }
        for (from, to) in world::pairs() {
            link(pairs, from, to, 100_000, place).await;
        }
    }
    for pair in pairs {
        pair.compare(place).await;
        let dead = pair.partition.keys().flat_map(|(_, state)| state.fields.values()).filter(|f| f.cells.has_dead());
        assert_eq!(dead.count(), 0, "{place}: dead cells stay");
        pair.compare_index(place).await;
    }
}

#[tokio::test]
async fn the_scripts_do_what_the_engine_does() {
    for seed in seeds(0..20) {
        history(Program::Redis, seed, 300, plain).await;
    }
}

#[tokio::test]
async fn the_scripts_do_what_the_engine_does_on_valkey() {
    for seed in seeds(100..105) {
        history(Program::Valkey, seed, 300, plain).await;
    }
}

#[tokio::test]
async fn the_scripts_have_the_rules_of_the_engine() {
    for seed in seeds(200..220) {
        history(Program::Redis, seed, 300, ruled).await;
    }
}

#[tokio::test]
async fn the_scripts_have_the_rules_of_the_engine_on_valkey() {
    for seed in seeds(300..305) {
        history(Program::Valkey, seed, 300, ruled).await;
    }
}

/// One list and nothing else, so that paths become deep and counters long.
#[tokio::test]
async fn the_scripts_make_the_positions_that_the_engine_makes() {
    for seed in seeds(400..404) {
        history(Program::Redis, seed, 500, lists::write).await;
    }
    for seed in seeds(500..501) {
        history(Program::Valkey, seed, 500, lists::write).await;
    }
}

/// Keys of more fields than one step clears.
#[tokio::test]
async fn the_scripts_take_steps_where_the_engine_does() {
    for seed in seeds(600..603) {
        let world = world(Program::Redis).await.unwrap();
        let mut pairs = pairs(&world).await;
        let (mut rng, mut steps) = (Rng::new(seed), 0);
        for step in 0..120 {
            let (key, mutation) = large_keys::write(&mut rng);
            steps += pairs[0].write_in_steps(&key, &mutation, &format!("seed {seed} step {step}")).await;
        }
        let place = format!("seed {seed} end");
        resync(&mut pairs, 0, 1, false, &place).await;
        pairs[1].compare(&place).await;
        println!("seed {seed}: {steps} steps");
        assert!(steps > 10, "{place}: {steps} steps");
    }
}

/// Cells that no history of these lengths brings together.
#[tokio::test]
async fn the_scripts_join_any_cells_as_the_engine_does() {
    for seed in seeds(800..808) {
        let program = if seed % 4 == 3 { Program::Valkey } else { Program::Redis };
        let Some(world) = world(program).await else { continue };
        println!("seed {seed}");
        let mut pairs = pairs(&world).await;
        let mut rng = Rng::new(seed);
        link(&mut pairs, 1, 0, 100, "first").await;
        let mut cursor = carry::cursor(&*pairs[1].store, &*pairs[0].store, 0).await.unwrap();
        let first = cursor.id;
        for step in 0..400 {
            joins::join(&mut pairs, 1, 0, &mut cursor, &mut rng, joins::Times { first, step }).await;
        }
    }
}

/// Feeds and nothing else, so that readers meet entries that come, go and come back.
#[tokio::test]
async fn entries_arrive_in_the_order_of_the_engine() {
    for seed in seeds(600..604) {
        history(Program::Redis, seed, 400, feeds).await;
    }
    for seed in seeds(700..701) {
        history(Program::Valkey, seed, 400, feeds).await;
    }
}

/// What one region has settled and another has more of.
#[tokio::test]
async fn the_scripts_give_up_and_take_what_is_settled_as_the_engine_does() {
    for seed in seeds(800..820) {
        settled::history(Program::Redis, seed).await;
    }
    for seed in seeds(900..902) {
        settled::history(Program::Valkey, seed).await;
    }
}

#[tokio::test]
async fn the_scripts_keep_the_sums_of_what_was_closed_as_the_engine_does() {
    let mut awaited = 0;
    for seed in seeds(1000..1010) {
        awaited += closing::history(Program::Redis, seed).await;
    }
    for seed in seeds(1100..1102) {
        awaited += closing::history(Program::Valkey, seed).await;
    }
    assert!(awaited > 0, "no collection waited for a closed incarnation");
}

/// Proof that the comparison bites: one increment more in the engine alone.
#[tokio::test]
#[should_panic(expected = "planted: other cells")]
async fn one_altered_cell_is_found() {
    let world = world(Program::Redis).await.unwrap();
    let mut pairs = pairs(&world).await;
    let mut rng = Rng::new(7);
    for step in 0..40 {
        let (key, mutation) = values::write(&mut rng, &Kind::ALL, |key| pairs[0].context(key));
        pairs[0].write(&key, &mutation, &format!("before {step}")).await;
    }
    pairs[0].compare("before").await;
    pairs[0].alter();
    pairs[0].compare("planted").await;
}

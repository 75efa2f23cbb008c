//! The scripts of a region's gate and [`Gate`], in Rust, do the same: random histories on a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use redis::{AsyncCommands, Cmd, aio::MultiplexedConnection, cmd};
use tokio::time::Instant;

use super::{
    commands::Commands,
    region::{NotDone, Region},
    user::User,
};
use crate::{
    Client,
    homes::assignment::{Effect, Epoch, Gate, GateRefusal, Round},
    testing::servers::{Options, Server},
};

/// What a region should be.
#[derive(Default)]
struct Model {
    gate: Gate,
    keys: BTreeMap<String, (Option<Round>, Option<String>)>,
}

impl Model {
    fn apply(&mut self, effect: Effect) {
        if effect == Effect::Clear {
            self.keys.clear();
        }
    }

    fn contents(&self) -> BTreeMap<String, String> {
        self.keys.iter().filter_map(|(key, (_, value))| Some((key.clone(), value.clone()?))).collect()
    }
}

/// The same answer, refusals by what they say about the gate.
fn same<T>(gate: Gate, expected: Result<T, GateRefusal>, found: Result<(), NotDone>) {
    match (expected, found) {
        (Ok(_), Ok(())) => {}
        (Err(_), Err(NotDone::Gate(state))) => assert_eq!(state, gate.state()),
        (expected, found) => panic!("expected {:?}, found {found:?}", expected.map(drop)),
    }
}

fn set(key: &str, value: &str) -> Cmd {
    cmd("SET").arg(key).arg(value).to_owned()
}

#[tokio::test]
async fn the_scripts_do_what_the_gate_says() {
    let server = Server::redis(Options::default()).await.unwrap();
    let text = format!(
        "[regions.eu]\nurl = \"{}\"\n[homes]\n[keyspaces.k]\nmode = \"routed\"\n\
         routing = {{ policy = \"home-region\" }}",
        server.url()
    );
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let homes = client.homes("k").unwrap();
    let region = &homes.registry.regions[0];
    let mut raw = server.connect().await.unwrap();
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..60 {
        println!("seed {seed}");
        let user = User::new(format!("user:{seed}").as_bytes()).unwrap();
        let (mut random, mut model) = (Rng::with_seed(seed), Model::default());
        for _ in 0..40 {
            step(region, &mut raw, &user, &mut model, &mut random).await;
            *reached.entry(format!("{:?}", model.gate.state())).or_default() += 1;
        }
    }
    println!("{reached:?}");
    assert!(reached.len() == 4 && reached.values().all(|times| *times > 100), "{reached:?}");
    client.shut_down().await;
}

async fn step(region: &Region, raw: &mut MultiplexedConnection, user: &User, model: &mut Model, random: &mut Rng) {
    let soon = Instant::now() + Duration::from_secs(10);
    let epoch = Epoch((model.gate.epoch().0 + random.u64(..4)).saturating_sub(1));
    let key = user.key(["a", "b", "c"][random.usize(..3)]);
    let before = model.gate;
    match random.u8(..100) {
        0..15 => {
            let expected = model.gate.prepare(epoch);
            expected.into_iter().for_each(|effect| model.apply(effect));
            same(before, expected, region.prepare(user, epoch, soon).await);
        }
        15..40 => {
            let (round, held) = (if random.bool() { Round::Early } else { Round::Final }, model.keys.get(&key));
            let epoch = if random.u8(..4) > 0 { model.gate.epoch() } else { epoch };
            let expected = model.gate.check_copy(epoch, round, held.and_then(|(round, _)| *round));
            let value = random.bool().then(|| format!("copy {}", random.u32(..)));
            let copy = match &value {
                Some(value) => Some(sent(raw, value).await),
                None => None,
            };
            let found = region.copy(user, epoch, (round, key.as_bytes(), copy.as_deref()), soon).await;
            if expected == Ok(true) {
                model.keys.insert(key, (Some(round), value));
            }
            same(before, expected, found);
        }
        40..50 => {
            let expected = model.gate.seal(epoch);
            let found = region.seal(user, epoch, soon).await;
            same(before, expected, found.map(drop));
        }
        50..65 => {
            let expected = model.gate.open(epoch);
            same(before, expected, region.open(user, epoch, soon).await);
        }
        65..75 => {
            let expected = model.gate.clear(epoch);
            expected.into_iter().for_each(|effect| model.apply(effect));
            same(before, expected, region.clear(user, epoch, soon).await);
        }
        _ => {
            let value = random.bool().then(|| format!("{}", random.u32(..)));
            let written = value.as_ref().map_or_else(|| cmd("DEL").arg(&key).to_owned(), |value| set(&key, value));
            let expected = model.gate.check_write();
            if expected.is_ok() {
                model.keys.insert(key, (None, value));
            }
            let commands = Commands::of(user, [&written], true).unwrap();
            same(before, expected, region.run(user, &commands, soon).await.map(drop));
        }
    }
    assert_eq!(contents(raw, user).await, model.contents());
}

/// What the region has of a user's, and knows to have.
async fn contents(raw: &mut MultiplexedConnection, user: &User) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for key in raw.hkeys::<_, Vec<String>>(user.held()).await.unwrap() {
        if let Some(value) = raw.get(&key).await.unwrap() {
            found.insert(key, value);
        }
    }
    found
}

/// A value as a region would send it: when it expires, and the DUMP.
async fn sent(raw: &mut MultiplexedConnection, value: &str) -> Vec<u8> {
    let _: () = raw.set("value", value).await.unwrap();
    let dump: Vec<u8> = cmd("DUMP").arg("value").query_async(raw).await.unwrap();
    [&b"0 "[..], &dump].concat()
}

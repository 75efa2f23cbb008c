//! Users who move while regions are cut off, restarted and emptied: an answer is never older than what the session has
//! seen, or the session was told that something is lost.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use archipelago::{
    Client, ErrorKind,
    sessions::{Guarantee, Session},
    testing::{History, poll, servers::Options},
};
use archipelago_tests::{
    random::{Rng, seeds},
    world::{self, Ground, REGIONS, World},
};
use futures_util::future::join_all;

const USERS: usize = 16;
const VISITS: usize = 60;

#[derive(Default)]
struct Tally {
    visits: AtomicUsize,
    answered: AtomicUsize,
    behind: AtomicUsize,
    lost: AtomicUsize,
    other: AtomicUsize,
}

async fn user(clients: &[Client], user: usize, seed: u64, tally: &Tally) -> History {
    let mut rng = Rng::new(seed * 1000 + user as u64);
    let builder = Session::builder().wait(Duration::from_millis(100));
    let builder = if user % 2 == 1 { builder.guarantee(Guarantee::MonotonicReads) } else { builder };
    let key = format!("cart:{user}");
    // Who was told of a loss starts over: what was seen before is owed no more.
    let (mut history, mut life, mut cookie) = (History::new(), 0, Session::new().token());
    for visit in 0..VISITS {
        let write = visit as u64;
        let session = builder.clone().from_token(&cookie).unwrap();
        let cart = clients[rng.below(3)].with_session(&session).set(key.clone());
        if cart.add(write.to_string()).await.is_ok() {
            history.wrote(&life.to_string(), &key, write);
        }
        let session = builder.clone().from_token(&session.token()).unwrap();
        let cart = clients[rng.below(3)].with_session(&session).set(key.clone());
        let count = match cart.members().await {
            Ok(found) => {
                let found = found.iter().map(|member| std::str::from_utf8(member).unwrap().parse::<u64>().unwrap());
                history.read(&life.to_string(), &key, found);
                &tally.answered
            }
            Err(error) if error.kind() == ErrorKind::Lost => {
                life += 1;
                &tally.lost
            }
            Err(error) if error.kind() == ErrorKind::Behind => &tally.behind,
            Err(_) => &tally.other,
        };
        count.fetch_add(1, Ordering::SeqCst);
        tally.visits.fetch_add(1, Ordering::SeqCst);
        cookie = session.token();
        assert!(cookie.len() < 300);
    }
    history
}

/// Faults one after the other, each while users go on. A token has room for two incarnations of a partition, and for what
/// a region lost of more it makes no promise: so each region breaks once.
async fn faults(world: &World, seed: u64, tally: &Tally) {
    let embedded = world.embedded.as_ref().unwrap();
    let mut rng = Rng::new(seed);
    let progress = async |visits: usize| {
        let target = (tally.visits.load(Ordering::SeqCst) + visits).min(USERS * VISITS);
        poll::until("the users go on", || async { (tally.visits.load(Ordering::SeqCst) >= target).then_some(()) })
            .await;
    };
    for region in REGIONS {
        progress(60).await;
        // The first loses for certain what was written there since nobody could fetch it.
        if region == REGIONS[0] || rng.one_in(2) {
            println!("  {region} is cut off and restarts empty");
            embedded.isolate(region).unwrap();
            progress(60).await;
            embedded.wipe(region).unwrap();
        } else {
            let (a, b) = (rng.below(3), rng.below(2));
            println!("  {region} restarts, {a} and {} are cut off from each other", (a + 1 + b) % 3);
            embedded.partition(REGIONS[a], REGIONS[(a + 1 + b) % 3]).unwrap();
            progress(60).await;
            embedded.crash(region).unwrap();
            progress(10).await;
            embedded.restart(region).unwrap();
        }
        progress(60).await;
        embedded.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_older_than_what_was_seen_whatever_regions_lose() {
    let mut lost = 0;
    for seed in seeds(1..5) {
        println!("seed {seed}");
        let world = World::with(Ground::Embedded, Options::default(), world::settings()).await.unwrap();
        for (a, b) in world::pairs() {
            let embedded = world.embedded.as_ref().unwrap();
            embedded.set_latency(REGIONS[a], REGIONS[b], Duration::from_millis(20)).unwrap();
        }
        let mut clients = Vec::new();
        for at in 0..REGIONS.len() {
            clients.push(world.client(at).await);
        }
        let tally = Tally::default();
        let users = join_all((0..USERS).map(|number| user(&clients, number, seed, &tally)));
        let (histories, ()) = tokio::join!(users, faults(&world, seed, &tally));
        println!(
            "  {} visits: {} answered, {} behind, {} told of a loss, {} other errors",
            tally.visits.load(Ordering::SeqCst),
            tally.answered.load(Ordering::SeqCst),
            tally.behind.load(Ordering::SeqCst),
            tally.lost.load(Ordering::SeqCst),
            tally.other.load(Ordering::SeqCst),
        );
        for (number, history) in histories.iter().enumerate() {
            history.check(Guarantee::ReadYourWrites).unwrap();
            if number % 2 == 1 {
                history.check(Guarantee::MonotonicReads).unwrap();
            }
        }
        lost += tally.lost.load(Ordering::SeqCst);
        for client in &clients {
            client.shut_down().await;
        }
    }
    assert!(lost > 0, "no region lost anything that a session had seen: this test would see nothing");
}

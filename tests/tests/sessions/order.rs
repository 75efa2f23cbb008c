//! Writes in the session's order, in regions whose clocks disagree: once a region shows the later write, it never shows the
//! earlier one again.

use std::time::Duration;

use archipelago::{
    Embedded,
    sessions::{Guarantee, Session, SessionBuilder},
    testing::{History, poll},
};
use archipelago_tests::{
    random::{Rng, seeds},
    world::{self, Ground, REGIONS, World},
};

const KEYS: usize = 40;

/// Clocks ten seconds apart: the later write of a user who moves has often the lower version.
fn skew(embedded: &Embedded) {
    for (region, seconds) in REGIONS.iter().zip([-10, 0, 10]) {
        embedded.set_clock_skew(region, seconds * 1_000_000).unwrap();
    }
}

/// For each key a question, by somebody without a session, and two answers, each from whatever region the user is in.
async fn answers(seed: u64, sessions: Option<SessionBuilder>) -> History {
    let settings = world::settings();
    let world =
        World::with(Ground::Embedded, archipelago::testing::servers::Options::default(), settings).await.unwrap();
    skew(world.embedded.as_ref().unwrap());
    let mut clients = Vec::new();
    for at in 0..REGIONS.len() {
        clients.push(world.client(at).await);
    }
    let (mut rng, mut history) = (Rng::new(seed), History::new());
    for key in 0..KEYS {
        let name = format!("thread:{key}");
        let writes = [1, 2, 3].map(|write| (key * 10 + write) as u64);
        let [question, first, second] = writes;
        let places = [rng.below(3), rng.below(3), rng.below(3)];
        clients[places[0]].register::<u64>(name.clone()).set(&question).await.unwrap();
        history.wrote("asker", &name, question).shown(REGIONS[places[0]], &name, question);

        let session = sessions.clone().map(SessionBuilder::build);
        let at = |region: usize| {
            let client =
                session.as_ref().map_or(clients[region].clone(), |session| clients[region].with_session(session));
            client.register::<u64>(name.clone())
        };
        let read = poll::until("the question", || async { at(places[0]).get().await.unwrap() }).await;
        history.read("user", &name, [read]);
        for (place, write) in [(places[1], first), (places[2], second)] {
            at(place).set(&write).await.unwrap();
            history.wrote("user", &name, write);
            // A region shows its own write at once, or what it holds to be newer.
            if clients[place].register::<u64>(name.clone()).get().await.unwrap() == Some(write) {
                history.shown(REGIONS[place], &name, write);
            }
        }
    }
    world::converged(&clients[0]).await;
    for key in 0..KEYS {
        let name = format!("thread:{key}");
        for (region, client) in REGIONS.iter().zip(&clients) {
            history.shown(region, &name, client.register::<u64>(name.clone()).get().await.unwrap().unwrap());
        }
    }
    for client in &clients {
        client.shut_down().await;
    }
    history
}

#[tokio::test]
async fn writes_take_effect_in_the_sessions_order_whatever_the_clocks_say() {
    let patient = || Session::builder().wait(Duration::from_secs(20));
    for seed in seeds(1..4) {
        println!("seed {seed}");
        let without = answers(seed, None).await;
        let [writes, reads] = [Guarantee::MonotonicWrites, Guarantee::WritesFollowReads].map(|g| without.count(g));
        println!("  without sessions: {writes} earlier answers and {reads} questions shown over a later answer");
        assert!(writes > 0 && reads > 0, "this test would see nothing");

        let ordered = answers(seed, Some(patient().guarantee(Guarantee::MonotonicWrites))).await;
        ordered.check(Guarantee::MonotonicWrites).unwrap();
        let following = answers(seed, Some(patient().guarantee(Guarantee::WritesFollowReads))).await;
        following.check(Guarantee::WritesFollowReads).unwrap();
        following.check(Guarantee::MonotonicWrites).unwrap();
    }
}

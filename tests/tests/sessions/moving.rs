//! Users who move between regions 80 ms apart, a cookie in their hands, while the links run: no stale read with tokens,
//! and stale reads without them, or the test would see none.

use std::time::{Duration, Instant};

use archipelago::{
    Client,
    sessions::{Guarantee, Session, SessionBuilder, WhenBehind},
    testing::{
        History,
        servers::{Options, Program},
    },
};
use archipelago_tests::{
    random::{Rng, seeds},
    world::{self, Ground, REGIONS, World},
};
use futures_util::future::join_all;

const ROUND_TRIP: Duration = Duration::from_millis(80);
const USERS: usize = 100;

/// Three regions with slow links between them, and clients that drive the links.
async fn world(ground: Ground) -> Option<(World, Vec<Client>)> {
    let world = World::with(ground, Options::default(), world::settings()).await?;
    for (a, b) in world::pairs() {
        match &world.embedded {
            Some(embedded) => embedded.set_latency(REGIONS[a], REGIONS[b], ROUND_TRIP).unwrap(),
            None => world.proxy(a, b).delay(ROUND_TRIP / 2, ROUND_TRIP / 2),
        }
    }
    let mut clients = Vec::new();
    for at in 0..REGIONS.len() {
        clients.push(world.client(at).await);
    }
    world::converged(&clients[0]).await;
    Some((world, clients))
}

/// The member of a set that stands for a write.
fn number(member: &bytes::Bytes) -> u64 {
    std::str::from_utf8(member).unwrap().parse().unwrap()
}

/// A request: a client in a region, with the user's session if there are sessions.
fn request(client: &Client, sessions: Option<&SessionBuilder>, cookie: &str) -> (Client, Option<Session>) {
    let session = sessions.map(|builder| builder.clone().from_token(cookie).unwrap());
    (session.as_ref().map_or_else(|| client.clone(), |session| client.with_session(session)), session)
}

/// What one user did: a write wherever they are, then a read wherever they are next. They also look at what others write.
async fn visits(
    clients: &[Client],
    user: usize,
    pairs: usize,
    seed: u64,
    sessions: Option<&SessionBuilder>,
) -> History {
    let mut rng = Rng::new(seed * 1000 + user as u64);
    let (name, own, friend) = (user.to_string(), format!("cart:{user}"), format!("cart:{}", (user + 1) % USERS));
    let (mut history, mut cookie) = (History::new(), Session::new().token());
    for visit in 0..pairs {
        let write = (user * 1_000_000 + visit) as u64;
        let (client, session) = request(rng.pick(clients), sessions, &cookie);
        client.set(own.clone()).add(write.to_string()).await.unwrap();
        history.wrote(&name, &own, write);
        cookie = session.map_or(cookie, |session| session.token());
        assert!(cookie.len() < 300, "{} characters", cookie.len());

        let (client, session) = request(rng.pick(clients), sessions, &cookie);
        let found = client.set(own.clone()).members().await.unwrap();
        history.read(&name, &own, found.iter().map(number));
        let found = client.set(friend.clone()).members().await.unwrap();
        history.read(&name, &friend, found.iter().map(number));
        cookie = session.map_or(cookie, |session| session.token());
    }
    history
}

/// How many reads broke each guarantee, of how many.
async fn stale(clients: &[Client], pairs: usize, seed: u64, sessions: Option<&SessionBuilder>) -> [usize; 2] {
    let users = (0..USERS).map(|user| visits(clients, user, pairs, seed, sessions));
    let histories = join_all(users).await;
    if sessions.is_some() {
        for history in &histories {
            history.check(Guarantee::ReadYourWrites).unwrap();
        }
    }
    [Guarantee::ReadYourWrites, Guarantee::MonotonicReads]
        .map(|guarantee| histories.iter().map(|history| history.count(guarantee)).sum())
}

/// Removes what the users left.
async fn empty(clients: &[Client]) {
    world::converged(&clients[0]).await;
    for user in 0..USERS {
        clients[0].set(format!("cart:{user}")).delete().await.unwrap();
    }
    world::converged(&clients[0]).await;
}

async fn run(ground: Ground) {
    let Some((world, clients)) = world(ground).await else {
        println!("not run: no valkey-server in the path, and VALKEY_SERVER names none");
        return;
    };
    for seed in seeds(1..2) {
        println!("{ground:?}, seed {seed}");
        let [own, back] = stale(&clients, 4, seed, None).await;
        println!("  without sessions, {} visits: {own} missed an own write, {back} went back", USERS * 4);
        assert!(own > 0 && back > 0, "the links were too quick: this test would see nothing");
        empty(&clients).await;

        let patient = Session::builder().wait(Duration::from_secs(20));
        for (what, sessions, pairs) in [
            ("read your writes", patient.clone(), 70),
            ("and monotonic reads", patient.clone().guarantee(Guarantee::MonotonicReads), 30),
            ("read where it was written", patient.clone().when_behind(WhenBehind::AskOrigin), 5),
            ("merged", patient.clone().when_behind(WhenBehind::Merge), 5),
        ] {
            let began = Instant::now();
            let [own, back] = stale(&clients, pairs, seed, Some(&sessions)).await;
            let each = began.elapsed() / u32::try_from(pairs).unwrap();
            println!("  {what}, {} visits: {own} missed an own write, {back} went back, {each:?} each", USERS * pairs);
            assert_eq!(own, 0);
            assert!(back == 0 || !what.contains("monotonic"), "{back} reads went back");
            empty(&clients).await;
        }
    }
    for client in clients {
        client.shut_down().await;
    }
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_users_read_nothing_stale_on_embedded_regions() {
    run(Ground::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_users_read_nothing_stale_on_servers() {
    run(Ground::Servers(Program::Redis)).await;
}

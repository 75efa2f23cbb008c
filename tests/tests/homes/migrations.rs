//! Users move while they write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use archipelago::homes::{HomeReason, HomeRequest, HomeStep};
use futures_util::future::join_all;
use redis::AsyncCommands;

use crate::world::{NAMES, World, hold_to, more, settle, watch, writer};

const USERS: usize = 5;
const MOVES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_migrations_under_writers_lose_nothing_and_never_leave_two_homes() {
    let world = World::start().await;
    let (clients, homes): (Vec<_>, Vec<_>) = [world.client().await, world.client().await].into_iter().unzip();
    let users: Vec<_> = (0..USERS).map(|user| format!("user:{user}")).collect();
    let expires = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let expires = i64::try_from(expires.as_millis()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let done: Vec<_> = users.iter().map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut writers = Vec::new();
    for (user, done) in users.iter().zip(&done) {
        settle(&homes[0], user, NAMES[0]).await;
        let mut connection = homes[0].connection(user).unwrap();
        let _: () = connection.set(connection.key("lease"), 1).await.unwrap();
        let _: () = connection.pexpire_at(connection.key("lease"), expires).await.unwrap();
        let of_user = homes.iter().enumerate().map(|(number, homes)| {
            let connection = homes.connection(user).unwrap().with_deadline(Duration::from_secs(10));
            writer(connection, format!("writer-{number}"), stop.clone(), done.clone())
        });
        writers.push(of_user.collect::<Vec<_>>());
    }
    let looks = Arc::new(AtomicUsize::new(0));
    let watcher = watch(&world.servers, &users, stop.clone(), looks.clone());

    let began = Instant::now();
    let movers = users.iter().zip(&done).map(|(user, done)| {
        let (homes, user, done, looks) = (homes.clone(), user.clone(), done.clone(), looks.clone());
        tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for number in 1..=MOVES {
                more(&done, 10).await;
                more(&looks, 1).await;
                let (to, began) = (NAMES[number % NAMES.len()], Instant::now());
                let home = homes[number % 2].migrate_home(&user, to).await.unwrap();
                slowest = slowest.max(began.elapsed());
                assert_eq!(home.region().as_str(), to);
            }
            slowest
        })
    });
    let mut slowest = Duration::ZERO;
    for mover in movers.collect::<Vec<_>>() {
        slowest = slowest.max(mover.await.unwrap());
    }
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);

    let (mut acknowledged, mut refused, mut unknown) = (0, 0, 0);
    for (user, writers) in users.iter().zip(writers) {
        let mut told = Vec::new();
        for writer in writers {
            told.push(writer.await.unwrap());
        }
        let mut connection = homes[1].connection(user).unwrap();
        hold_to(&mut connection, &told).await;
        acknowledged += told.iter().map(|told| told.acknowledged.len()).sum::<usize>();
        refused += told.iter().map(|told| told.refused.len()).sum::<usize>();
        unknown += told.iter().map(|told| told.unknown).sum::<usize>();

        let home = MOVES % NAMES.len();
        assert_eq!(world.open_at(user).await, [NAMES[home]]);
        for region in (0..NAMES.len()).filter(|region| *region != home) {
            assert_eq!(world.keys(region, user).await, [""; 0], "left behind in {}", NAMES[region]);
        }
        let lease: i64 = connection.ttl(connection.key("lease")).await.unwrap();
        assert!((1..=3600).contains(&lease), "{lease}");
        let expiry = world.servers[home].run::<i64>(redis::cmd("PEXPIRETIME").arg(connection.key("lease"))).await;
        assert_eq!(expiry.unwrap(), expires, "after {MOVES} moves");
    }
    let (twice, looks) = (watcher.await.unwrap(), looks.load(Ordering::Relaxed));
    println!(
        "{} migrations in {took:?}, the slowest {slowest:?}; {acknowledged} acknowledged writes, none lost; {refused} \
         refused, {unknown} unknown; {looks} looks, {} with two homes",
        USERS * MOVES,
        twice.len(),
    );
    assert_eq!(twice, [""; 0]);
    assert!(acknowledged >= 10 * USERS * MOVES && looks >= MOVES, "too little happened for this test to see anything");
    assert_eq!(unknown, 0, "no answer was lost here");
    for client in clients {
        client.shut_down().await;
    }
}

#[tokio::test]
async fn a_home_is_assigned_once_and_every_process_learns_it_from_the_owner() {
    let world = World::start().await;
    let (one, homes) = world.client().await;
    let (two, others) = world.client().await;
    let request = HomeRequest::new();
    let home = homes.home_of("ada", &request.with_pin("us")).await.unwrap();
    assert_eq!((home.region().as_str(), home.reason()), ("us", HomeReason::Assigned(HomeStep::UserPin)), "{home}");
    assert!(home.to_string().contains("user's pin: us"), "{home}");
    // Elsewhere, and with another wish.
    let home = others.home_of("ada", &request.with_pin("ap")).await.unwrap();
    assert_eq!((home.region().as_str(), home.reason()), ("us", HomeReason::Recorded));
    let home = others.home_of("ada", &request.with_pin("ap")).await.unwrap();
    assert_eq!((home.region().as_str(), home.reason()), ("us", HomeReason::Remembered));
    // By everybody at once.
    let asked = (0..30).map(|number| {
        let (homes, pin) = (if number % 2 == 0 { &homes } else { &others }, NAMES[number % 3]);
        async move { homes.home_of("bob", &request.with_pin(pin)).await.unwrap() }
    });
    let answers = join_all(asked).await;
    let assigned = answers.iter().filter(|home| matches!(home.reason(), HomeReason::Assigned(_))).count();
    assert_eq!(assigned, 1);
    assert!(answers.iter().all(|home| home.region() == answers[0].region()), "{answers:?}");
    one.shut_down().await;
    two.shut_down().await;
}

//! Connections break and answers are lost, at the owner, too, while users move and write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use archipelago::{
    Client,
    homes::Homes,
    testing::{
        poll,
        proxy::{ChaosProxy, Direction},
    },
};
use archipelago_tests::random::Rng;

use crate::world::{NAMES, World, config, hold_to, more, settle, watch, writer};

const MOVES: usize = 40;

/// Moves the user, and ends what came of it, whatever that was.
async fn moves(homes: &Homes, others: &Homes, user: &str, to: &str, resumes: bool) -> bool {
    // So short that most faults end it.
    let homes = homes.clone().with_migration_deadline(Duration::from_millis(50));
    let is_done = homes.migrate_home(user, to).await.is_ok();
    if !is_done {
        poll::until("the migration has an end", || async {
            let end =
                if resumes { others.resume_migration(user).await } else { others.roll_back_migration(user).await };
            end.ok().filter(|home| home.moving_to().is_none())
        })
        .await;
    }
    is_done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_broken_connections_lose_no_write() {
    let seed = 5;
    println!("seed {seed}");
    let world = World::start().await;
    let mut proxies = Vec::new();
    for server in &world.servers {
        proxies.push(ChaosProxy::before(server.address()).await.unwrap());
    }
    let urls: Vec<_> = proxies.iter().map(ChaosProxy::url).collect();
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Client::builder().config(config(&urls, "[homes]\n")).build().await.unwrap());
    }
    let [homes, others] = [0, 1].map(|client| clients[client].homes("profiles").unwrap());
    let user = "ada".to_owned();
    settle(&homes, &user, "eu").await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let looks = Arc::new(AtomicUsize::new(0));
    let watcher = watch(&world.servers, std::slice::from_ref(&user), stop.clone(), looks.clone());
    let writers = [&homes, &others].into_iter().enumerate().map(|(number, homes)| {
        let connection = homes.connection(&user).unwrap().with_deadline(Duration::from_secs(3));
        writer(connection, format!("writer-{number}"), stop.clone(), done.clone())
    });
    let writers: Vec<_> = writers.collect();

    let faults = {
        let (stop, done, mut random) = (stop.clone(), done.clone(), Rng::new(seed));
        tokio::spawn(async move {
            let mut faults = 0;
            while !stop.load(Ordering::Relaxed) {
                let enough = done.load(Ordering::Relaxed) + 8;
                let is_over = || done.load(Ordering::Relaxed) >= enough || stop.load(Ordering::Relaxed);
                poll::until("more writes", || async { is_over().then_some(()) }).await;
                let proxy = &proxies[random.below(NAMES.len())];
                if random.one_in(2) {
                    // What is sent from now on is executed, and nobody hears of it.
                    proxy.cut(Direction::ToClient);
                    poll::within(Duration::from_millis(20), || async { None::<()> }).await;
                }
                proxy.disconnect().await;
                proxy.heal().await.unwrap();
                faults += 1;
            }
            (faults, proxies)
        })
    };
    let (mut random, mut finished, began) = (Rng::new(seed + 1), 0, Instant::now());
    for _ in 0..MOVES {
        more(&done, 10).await;
        let (to, resumes): (&str, _) = (*random.pick(&NAMES), random.one_in(2));
        finished += usize::from(moves(&homes, &others, &user, to, resumes).await);
    }
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for writer in writers {
        told.push(writer.await.unwrap());
    }
    let (faults, _proxies) = faults.await.unwrap();
    let mut connection = others.connection(&user).unwrap().with_deadline(Duration::from_secs(10));
    poll::until("the user is at home", || async {
        let mut connection = connection.clone();
        redis::cmd("EXISTS").arg(connection.key("log")).query_async::<()>(&mut connection).await.ok()
    })
    .await;
    hold_to(&mut connection, &told).await;
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    let unknown: usize = told.iter().map(|told| told.unknown).sum();
    let (twice, looks) = (watcher.await.unwrap(), looks.load(Ordering::Relaxed));
    println!(
        "{MOVES} migrations in {took:?}, {finished} at the first attempt, under {faults} faults; {acknowledged} acknowledged writes, \
         none lost, {unknown} unknown; {looks} looks"
    );
    assert_eq!(twice, [""; 0]);
    assert!(faults > 5 && acknowledged >= 10 * MOVES, "too little happened for this test to see anything");
    for client in clients {
        client.shut_down().await;
    }
}

//! SCRIPT FLUSH under load.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use archipelago::testing::{poll, servers::Options};
use archipelago_tests::world::{World, converged};
use tokio::sync::Notify;

use crate::shown;

/// What is refused was certainly not applied, what passed counts once, and a pipeline keeps its order (counterexample 15).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_scripts_lose_nothing_and_change_no_order() {
    let world = World::redis(Options::default()).await;
    let clients = [world.client(0).await, world.client(1).await, world.client(2).await];
    let done = Arc::new(AtomicBool::new(false));
    let mut connections = Vec::new();
    for server in &world.servers {
        connections.push(server.connect().await.unwrap());
    }
    let flushed = done.clone();
    let round_begins = Arc::new(Notify::new());
    let next = round_begins.clone();
    let flusher = tokio::spawn(async move {
        let mut times = 0;
        while !flushed.load(Ordering::SeqCst) {
            for connection in &mut connections {
                let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(connection).await.unwrap();
            }
            times += 1;
            // Once for each round, at some point within it.
            next.notified().await;
        }
        times
    });
    // Another client of the region, which loads the scripts between two writes of the first one's pipeline.
    let rival = world.idle_client(0).await;
    let stop = done.clone();
    let rival = tokio::spawn(async move {
        let mut counted = 0;
        while !stop.load(Ordering::SeqCst) {
            counted += i64::from(rival.counter("hits").add(1).await.is_ok());
        }
        counted
    });
    let (mut counted, mut refused) = (0, 0);
    for round in 0..150 {
        round_begins.notify_one();
        let (word, hits) = (clients[0].register::<u32>("word"), clients[0].counter("hits"));
        let batch = (0..20).fold(clients[0].batch(), |batch, n| batch.set(&word, &(round * 100 + n)).add(&hits, 1));
        let results = batch.execute().await;
        let (mut last, mut sums) = (None, 0);
        for (at, result) in results.iter().enumerate() {
            match result {
                Ok(()) if at % 2 == 0 => last = Some(round * 100 + u32::try_from(at).unwrap() / 2),
                Ok(()) => sums += 1,
                Err(error) => {
                    assert!(!error.is_maybe_applied(), "{error}");
                    refused += 1;
                }
            }
        }
        counted += sums;
        if let Some(last) = last {
            let shown = poll::until("a reading", || async { word.get().await.ok() }).await;
            assert_eq!(shown, Some(last), "round {round}: the last of the batch is shown");
        }
    }
    done.store(true, Ordering::SeqCst);
    round_begins.notify_one();
    counted += rival.await.unwrap();
    println!("flushed {} times; {counted} counted, {refused} refused", flusher.await.unwrap());
    converged(&clients[1]).await;
    assert_eq!(shown(&clients, "hits").await, [counted; 3]);
    for client in &clients {
        client.shut_down().await;
    }
}

/// A link that has nothing to carry renews its lease all the same; nobody else may come to load the scripts.
#[tokio::test]
async fn idle_links_survive_flushed_scripts() {
    let world = World::redis(Options::default()).await;
    let driver = world.client(0).await;
    let writer = world.idle_client(0).await;
    crate::add(&writer, "hits", 1).await;
    converged(&driver).await;
    for server in &world.servers {
        let _: () = server.run(redis::cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    }
    crate::add(&writer, "hits", 1).await;
    converged(&driver).await;
    let clients = world.idle_clients().await;
    assert_eq!(shown(&clients, "hits").await, [2; 3]);
    driver.shut_down().await;
}

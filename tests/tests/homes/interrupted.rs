//! Movers die at random steps, and other processes go on with what they left, or undo it.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use archipelago::{
    Error,
    homes::{Home, Homes},
    testing::poll,
};
use archipelago_tests::random::Rng;
use redis::AsyncCommands;

use crate::world::{NAMES, World, dies_after, goes_on_for, hold_to, more, settle, watch, writer};

const ROUNDS: usize = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_mover_left_is_resumed_or_rolled_back_and_nothing_is_lost() {
    let seed = 7;
    println!("seed {seed}");
    let mut random = Rng::new(seed);
    let world = World::start().await;
    let (one, homes) = world.client().await;
    let (two, others) = world.client().await;
    let user = "ada".to_owned();
    settle(&homes, &user, "eu").await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let looks = Arc::new(AtomicUsize::new(0));
    let watcher = watch(&world.servers, std::slice::from_ref(&user), stop.clone(), looks.clone());
    let writers = [&homes, &others].into_iter().enumerate().map(|(number, homes)| {
        let connection = homes.connection(&user).unwrap().with_deadline(Duration::from_secs(10));
        writer(connection, format!("writer-{number}"), stop.clone(), done.clone())
    });
    let writers: Vec<_> = writers.collect();

    // How each round ended, and what was found after the mover's death.
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut rounds = 0;
    // Movers have to die everywhere, also on a machine that is so quick that few of them do.
    let wanted =
        ["sealed left, resumed", "sealed left, rolled back", "receiving left, resumed", "receiving left, rolled"];
    let is_seen = |ends: &BTreeMap<String, usize>, wanted: &str| ends.keys().any(|end| end.contains(wanted));
    while rounds < ROUNDS || !wanted.iter().all(|wanted| is_seen(&ends, wanted)) {
        rounds += 1;
        assert!(rounds < 50 * ROUNDS, "movers died at too few places: {ends:?}");
        more(&done, 3).await;
        let to = *random.pick(&NAMES);
        let polls = random.below(30);
        let finished = dies_after(polls, homes.migrate_home(&user, to)).await;
        if let Some(finished) = finished {
            finished.unwrap();
            *ends.entry("finished".to_owned()).or_default() += 1;
            continue;
        }
        let left = world.gates(&user).await.into_iter().flatten();
        let left = left.filter_map(|gate| gate.split_once(' ').map(|(_, state)| state.to_owned()));
        let mut left: Vec<_> = left.filter(|state| state != "shut").collect();
        left.sort();
        let how = if random.one_in(2) { "resumed" } else { "rolled back" };
        let home = match how {
            "resumed" => others.resume_migration(&user).await.unwrap(),
            _ => others.roll_back_migration(&user).await.unwrap(),
        };
        assert_eq!(home.moving_to(), None);
        *ends.entry(format!("{} left, {how}", left.join("+"))).or_default() += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for writer in writers {
        told.push(writer.await.unwrap());
    }
    let mut connection = others.connection(&user).unwrap().with_deadline(Duration::from_secs(10));
    hold_to(&mut connection, &told).await;
    let (twice, looks) = (watcher.await.unwrap(), looks.load(Ordering::Relaxed));
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    println!("{rounds} migrations: {ends:?}; {acknowledged} acknowledged writes, none lost; {looks} looks");
    assert_eq!(twice, [""; 0]);
    assert_eq!(world.open_at(&user).await.len(), 1);
    one.shut_down().await;
    two.shut_down().await;
}

/// Lets movers die at ever later steps until one leaves the gate sealed; the region that sealed.
async fn seal_and_die(world: &World, homes: &Homes, user: &str, to: &str) {
    for polls in 0.. {
        assert!(dies_after(polls, homes.migrate_home(user, to)).await.is_none(), "no mover died in time");
        // What was sent is executed all the same.
        let is_sealed = poll::within(Duration::from_millis(50), || async {
            let gates = world.gates(user).await;
            gates.iter().flatten().any(|gate| gate.ends_with(" sealed")).then_some(())
        });
        if is_sealed.await.is_some() {
            return;
        }
        homes.roll_back_migration(user).await.unwrap();
    }
}

#[tokio::test]
async fn a_migration_that_nobody_goes_on_with_is_rolled_back_by_the_first_who_waits_for_it() {
    let world = World::start().await;
    let (one, homes) = world.client().await;
    let (two, others) = world.client().await;
    settle(&homes, "ada", "eu").await;
    let mut user = homes.connection("ada").unwrap();
    let _: () = user.set(user.key("cart"), "apples").await.unwrap();
    seal_and_die(&world, &homes, "ada", "us").await;
    assert_eq!(world.open_at("ada").await, [""; 0]);

    // With its usual deadline a command gives up before.
    let mut user = others.connection("ada").unwrap();
    let error = user.get::<_, String>(user.key("cart")).await.unwrap_err();
    assert!(error.to_string().contains("did not end in time"), "{error}");
    let (mut user, began) = (user.with_deadline(Duration::from_secs(60)), Instant::now());
    assert_eq!(user.get::<_, String>(user.key("cart")).await.unwrap(), "apples");
    println!("rolled back after {:?}", began.elapsed());
    assert_eq!(world.open_at("ada").await, ["eu"]);
    one.shut_down().await;
    two.shut_down().await;
}

#[tokio::test]
async fn a_mover_that_was_taken_over_from_can_do_nothing_more() {
    let world = World::start().await;
    let (one, homes) = world.client().await;
    let (two, others) = world.client().await;
    settle(&homes, "ada", "eu").await;
    let mut user = homes.connection("ada").unwrap();
    for number in 0..50 {
        let _: () = user.set(user.key(&format!("item:{number}")), number).await.unwrap();
    }
    // At every step the first mover is held, the second moves the user and back again, and the first goes on.
    let mut refused = 0;
    for polls in 0..40 {
        let mut first = Box::pin(homes.migrate_home("ada", "us"));
        if goes_on_for(polls, &mut first).await.is_none() {
            others.resume_migration("ada").await.unwrap();
            others.migrate_home("ada", "eu").await.unwrap();
            let _: () = user.set(user.key("item:0"), polls).await.unwrap();
            let end = first.await;
            refused += usize::from(end.is_err());
            let kept: usize = user.get(user.key("item:0")).await.unwrap();
            assert_eq!(kept, polls, "the first mover brought back what was before: {end:?}");
        }
        assert_eq!(world.open_at("ada").await.len(), 1);
        others.migrate_home("ada", "eu").await.unwrap();
    }
    println!("{refused} of 40 movers were stopped");
    assert!(refused > 0);
    one.shut_down().await;
    two.shut_down().await;
}

#[tokio::test]
async fn a_mover_and_another_who_resumes_or_rolls_back_in_turns_do_not_undo_each_other() {
    let seed = 11;
    println!("seed {seed}");
    let mut random = Rng::new(seed);
    let world = World::start().await;
    let (one, homes) = world.client().await;
    let (two, others) = world.client().await;
    settle(&homes, "ada", "eu").await;
    let mut user = homes.connection("ada").unwrap().with_deadline(Duration::from_secs(10));
    let (mut written, mut fenced) = (0, 0);
    for round in 0..ROUNDS {
        let mut first = Box::pin(homes.migrate_home("ada", "us"));
        let mut second: Pin<Box<dyn Future<Output = Result<Home, Error>>>> = match random.one_in(2) {
            true => Box::pin(others.resume_migration("ada")),
            false => Box::pin(others.roll_back_migration("ada")),
        };
        let mut ends = [None, None];
        while world.record(&homes, "ada").await.split(' ').count() < 4 {
            assert!(goes_on_for(1, &mut first).await.is_none(), "a move is begun before it ends");
        }
        for _ in 0..4 + random.below(8) {
            // While nobody waits for the hand-off, the user writes.
            if world.open_at("ada").await == ["eu"] {
                written += 1;
                let _: () = user.set(user.key("cart"), written).await.unwrap();
            }
            let polls = random.below(3);
            if random.one_in(2) && ends[0].is_none() {
                ends[0] = goes_on_for(polls, &mut first).await.map(|end| end.is_ok());
            } else if ends[1].is_none() {
                ends[1] = goes_on_for(polls, &mut second).await.map(|end| end.is_ok());
            }
        }
        if ends[1].is_none() {
            ends[1] = Some(second.await.is_ok());
        }
        if ends[0].is_none() {
            ends[0] = Some(first.await.is_ok());
        }
        fenced += usize::from(ends.contains(&Some(false)));
        assert_eq!(world.open_at("ada").await.len(), 1);
        let kept: Option<usize> = user.get(user.key("cart")).await.unwrap();
        assert_eq!(kept.unwrap_or(0), written, "round {round}: {ends:?}");
        others.migrate_home("ada", "eu").await.unwrap();
        written += 1;
        let _: () = user.set(user.key("cart"), written).await.unwrap();
    }
    println!("of {ROUNDS} pairs {fenced} had a mover that was stopped");
    assert!(fenced > 0);
    one.shut_down().await;
    two.shut_down().await;
}

#[tokio::test]
async fn a_client_that_is_shut_down_moves_nobody_any_more_and_says_so_at_once() {
    let world = World::start().await;
    let (one, homes) = world.client().await;
    let (two, others) = world.client().await;
    settle(&homes, "ada", "eu").await;
    let mut user = others.connection("ada").unwrap().with_deadline(Duration::from_secs(10));
    let _: () = user.set(user.key("cart"), "apples").await.unwrap();
    let patient = homes.with_migration_deadline(Duration::from_secs(600));
    let mut first = Box::pin(patient.migrate_home("ada", "us"));
    while world.record(&others, "ada").await.split(' ').count() < 4 {
        assert!(goes_on_for(1, &mut first).await.is_none());
    }
    one.shut_down().await;
    let error = tokio::time::timeout(poll::PATIENCE, first).await.expect("no waiting for the deadline").unwrap_err();
    assert!(error.to_string().contains("shut down"), "{error}");
    others.roll_back_migration("ada").await.unwrap();
    assert_eq!(user.get::<_, String>(user.key("cart")).await.unwrap(), "apples");
    two.shut_down().await;
}

//! What a merged read answers is what the region shows once everything has arrived.

use archipelago::{
    Client,
    sessions::{Session, WhenBehind},
};
use archipelago_tests::{
    random::{Rng, seeds},
    world::Ground,
};

use crate::{impatient, on_partitions};

/// One of everything: what a key of each type shows.
async fn shown(client: &Client) -> String {
    let string = client.register::<String>("r").get().await.unwrap();
    let number = client.counter("n").get().await.unwrap();
    let members = client.set("s").members().await.unwrap();
    let fields = client.map::<u32>("m").entries().await.unwrap();
    let scores = client.sorted_set("z").top(10).await.unwrap();
    format!("{string:?} {number} {members:?} {fields:?} {scores:?}")
}

async fn write(client: &Client, rng: &mut Rng) {
    let member = rng.below(3).to_string();
    let number = rng.below(100) as u32;
    let done = match rng.below(10) {
        0 => client.register::<String>("r").set(&number.to_string()).await,
        1 => client.register::<String>("r").delete().await.map(drop),
        2 => client.counter("n").add(i64::from(number)).await.map(drop),
        3 => client.counter("n").set(i64::from(number)).await,
        4 => client.set("s").add(member).await.map(drop),
        5 => client.set("s").remove(member).await.map(drop),
        6 => client.map::<u32>("m").set(member, &number).await,
        7 => client.map::<u32>("m").remove(member).await.map(drop),
        8 => client.sorted_set("z").add(member, f64::from(number)).await.map(drop),
        _ => client.sorted_set("z").remove(member).await.map(drop),
    };
    done.unwrap();
}

#[tokio::test]
async fn a_merged_read_shows_what_the_region_shows_in_the_end() {
    let mut differed = 0;
    for seed in seeds(0..40) {
        println!("seed {seed}");
        on_partitions(Ground::Embedded, 1, async |case| {
            let mut rng = Rng::new(seed);
            for _ in 0..40 {
                write(rng.clone().pick(&case.clients), &mut rng).await;
                if rng.one_in(4) {
                    let from = rng.below(3);
                    case.carry(from, (from + 1 + rng.below(2)) % 3).await;
                }
            }
            let session = impatient().when_behind(WhenBehind::Merge).build();
            for at in [0, 1] {
                // In the one partition: so all of these regions have is asked for.
                case.at(at, &session).counter("seen").add(1).await.unwrap();
            }
            let merged = shown(&case.at(2, &session)).await;
            differed += usize::from(merged != shown(&case.clients[2]).await);
            // Twice: the second round brings what the first brought to the region in between.
            case.carry_all().await;
            case.carry_all().await;
            assert_eq!(merged, shown(&case.clients[2]).await);
            assert_eq!(merged, shown(&case.at(0, &Session::new())).await);
        })
        .await;
    }
    println!("{differed} of 40 differed from what the region showed");
    assert!(differed > 0, "nothing was behind");
}

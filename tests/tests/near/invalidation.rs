//! What is held goes when it changes, whoever changes it.

use std::{collections::BTreeMap, time::Duration};

use archipelago::{Client, WriteStrength, near::NearValue, testing::poll};
use archipelago_tests::world::settle;

use crate::{Site, becomes, held, tracked};

pub async fn what_another_client_writes_is_seen(site: Site) {
    let written = site.writer.register::<String>("k");
    let near = site.near.register::<String>("k");
    assert_eq!(held(&near).await, None, "that there is nothing is known, too");
    for text in ["one", "two", "three"] {
        written.set(text).await.unwrap();
        becomes(&near, Some(text.to_owned())).await;
        assert_eq!(held(&near).await.as_deref(), Some(text));
        let before = site.near.stats();
        assert_eq!(near.get().await.unwrap().unwrap().as_str(), text);
        let after = site.near.stats();
        assert_eq!((after.hits, after.misses), (before.hits + 1, before.misses), "a hit asks nobody");
    }
    // Other keys of the keyspace change, and this one stays.
    site.writer.register::<String>("other").set("x").await.unwrap();
    site.writer.set("k").add("x").await.unwrap();
    let other = site.near.register::<String>("other");
    becomes(&other, Some("x".to_owned())).await;
    assert!(near.cached().is_some());
    site.end().await;
}

/// A client in another region, and a counter that is held here at 0.
async fn elsewhere(site: &Site) -> (Client, NearValue<i64>) {
    let elsewhere = site.world.idle_client(1).await;
    let near = site.near.counter("views");
    tracked(&site.near).await;
    // The first contact of two regions is a resync. Behind it deltas are joined, one by one.
    elsewhere.counter("before").add(1).await.unwrap();
    settle(&elsewhere).await;
    assert_eq!(held(&near).await, Some(0));
    (elsewhere, near)
}

pub async fn what_another_region_wrote_is_seen_when_it_arrives(site: Site) {
    let (elsewhere, near) = elsewhere(&site).await;
    elsewhere.counter("views").add(5).await.unwrap();
    assert_eq!(near.get().await.unwrap().as_deref(), Some(&0));
    settle(&elsewhere).await;
    becomes(&near, Some(5)).await;
    elsewhere.shut_down().await;
    site.end().await;
}

/// A strong write goes past the log: on embedded regions nobody was told of it, and the old value stayed.
pub async fn what_another_region_pushed_is_seen_when_it_arrives(site: Site) {
    let (elsewhere, near) = elsewhere(&site).await;
    let strong = elsewhere.keyspace("default").unwrap().with_write(WriteStrength::All);
    strong.counter("views").add(5).await.unwrap();
    becomes(&near, Some(5)).await;
    elsewhere.shut_down().await;
    site.end().await;
}

pub async fn what_is_deleted_is_gone(site: Site) {
    let near = site.near.set("tags");
    site.writer.set("tags").add("new").await.unwrap();
    assert_eq!(held(&near).await.unwrap().len(), 1);
    assert!(site.writer.set("tags").delete().await.unwrap());
    becomes(&near, None).await;
    assert_eq!(held(&near).await, None);
    site.end().await;
}

/// Counterexample 38: of many volatile keys, servers delete most long after they expired.
pub async fn what_expires_is_gone_when_it_expires(site: Site) {
    const KEYS: usize = 50;
    let lifetime = Duration::from_secs(2);
    if let Some(server) = site.world.servers.first() {
        let mut others = ::redis::pipe();
        for n in 0..50_000 {
            others.cmd("SET").arg(format!("other:{n}")).arg(1).arg("PX").arg(3_600_000).ignore();
        }
        let () = others.query_async(&mut server.connect().await.unwrap()).await.unwrap();
    }
    let names: Vec<String> = (0..KEYS).map(|n| format!("volatile:{n}")).collect();
    let values: Vec<_> = names.iter().map(|name| site.near.register::<u8>(name.clone())).collect();
    tracked(&site.near).await;
    for name in &names {
        site.writer.register::<u8>(name.clone()).set_for(&1, lifetime).await.unwrap();
    }
    for value in &values {
        becomes(value, Some(1)).await;
        held(value).await;
    }
    let over = std::time::Instant::now() + lifetime;
    // Looks at what is held only: no read makes the server delete a key.
    poll::until("all are over", || async { (std::time::Instant::now() >= over).then_some(()) }).await;
    let still = values.iter().filter(|value| value.cached().flatten().is_some()).count();
    assert_eq!(still, 0, "{still} of {KEYS} were believed beyond their expiry");
    for value in &values {
        assert_eq!(value.get().await.unwrap(), None);
    }
    site.end().await;
}

pub async fn nothing_is_held_of_what_a_server_lost(site: Site) {
    let near = site.near.register::<u8>("k");
    site.writer.register::<u8>("k").set(&1).await.unwrap();
    assert_eq!(held(&near).await, Some(1));
    match &site.world.embedded {
        Some(embedded) => embedded.wipe(archipelago_tests::world::REGIONS[0]).unwrap(),
        None => site.world.servers[0].run(&::redis::cmd("FLUSHALL")).await.unwrap(),
    }
    becomes(&near, None).await;
    site.end().await;
}

pub async fn every_type_is_read_as_by_its_handle(site: Site) {
    let Site { writer, near, .. } = &site;
    writer.counter("n").add(3).await.unwrap();
    writer.first_register::<u8>("n").set(&4).await.unwrap();
    writer.max_register("n").submit(1.5).await.unwrap();
    writer.min_register("n").submit(-1.5).await.unwrap();
    writer.siblings::<u8>("n").set(&6).await.unwrap();
    writer.enable_wins_flag("n").enable().await.unwrap();
    writer.disable_wins_flag("n").disable().await.unwrap();
    writer.set("n").add_all(["b", "a"]).await.unwrap();
    let map = writer.map::<String>("n");
    for (field, value) in [("x", "1"), ("y", "2")] {
        map.set(field, value).await.unwrap();
    }
    for (member, score) in [("ada", 10.0), ("bob", 12.5), ("cid", 1e300)] {
        writer.sorted_set("n").insert(member, score).await.unwrap();
        writer.high_scores("n").submit(member, score).await.unwrap();
        writer.low_scores("n").submit(member, score).await.unwrap();
    }
    let top = writer.sorted_set("n").top(2).await.unwrap();
    // Before and after tracking began the answers are the same.
    for is_tracked in [false, true] {
        if is_tracked {
            tracked(near).await;
        }
        assert_eq!(near.counter("n").get().await.unwrap().as_deref(), Some(&3));
        assert_eq!(near.counter("none").get().await.unwrap().as_deref(), Some(&0));
        assert_eq!(near.first_register::<u8>("n").get().await.unwrap().as_deref(), Some(&4));
        assert_eq!(near.max_register("n").get().await.unwrap().as_deref(), Some(&1.5));
        assert_eq!(near.min_register("n").get().await.unwrap().as_deref(), Some(&-1.5));
        assert_eq!(near.siblings::<u8>("n").get().await.unwrap().as_deref(), Some(&6));
        assert_eq!(near.enable_wins_flag("n").get().await.unwrap().as_deref(), Some(&true));
        assert_eq!(near.disable_wins_flag("n").get().await.unwrap().as_deref(), Some(&false));
        assert_eq!(near.set("n").get().await.unwrap().as_deref(), Some(&writer.set("n").members().await.unwrap()));
        let entries: BTreeMap<_, _> = map.entries().await.unwrap();
        assert_eq!(near.map::<String>("n").get().await.unwrap().as_deref(), Some(&entries));
        assert_eq!(near.sorted_set("n", 2).get().await.unwrap().as_deref(), Some(&top));
        assert_eq!(near.high_scores("n", 2).get().await.unwrap().as_deref(), Some(&top));
        let last = near.low_scores("n", 1).get().await.unwrap().unwrap();
        assert_eq!(*last, [("ada".into(), 10.0)]);
        assert_eq!(near.sorted_set("none", 3).get().await.unwrap(), None);
    }
    site.end().await;
}

pub async fn one_key_may_be_read_in_several_ways(site: Site) {
    let (number, text) = (site.near.counter("k"), site.near.register::<serde_json::Value>("k"));
    let boards = [site.near.sorted_set("b", 1), site.near.sorted_set("b", 2)];
    site.writer.counter("k").add(7).await.unwrap();
    for member in ["ada", "bob", "cid"] {
        site.writer.sorted_set("b").insert(member, 1.0).await.unwrap();
    }
    poll::until("all are held", || async {
        number.get().await.unwrap();
        text.get().await.unwrap();
        for board in &boards {
            board.get().await.unwrap();
        }
        let lengths = boards.iter().map(|board| board.cached().flatten().map_or(0, |members| members.len()));
        (number.cached().is_some() && text.cached().is_some() && lengths.eq([1, 2])).then_some(())
    })
    .await;
    site.writer.counter("k").add(1).await.unwrap();
    becomes(&number, Some(8)).await;
    becomes(&text, Some(serde_json::json!(8))).await;
    site.end().await;
}

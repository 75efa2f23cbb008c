//! What a listener hears of concurrent writes: on embedded regions, on Redis, and on Valkey where it is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::{collections::BTreeMap, time::Duration};

use archipelago::{
    Client, Conflict, ConflictEvent, Contender, WriteStrength,
    engine::{Field, Kind},
    testing::servers::{Options, Program},
};
use archipelago_tests::world::{Ground, REGIONS, World, settings, settle};
use futures_util::{FutureExt, Stream, StreamExt};

const GROUNDS: [Ground; 3] = [Ground::Embedded, Ground::Servers(Program::Redis), Ground::Servers(Program::Valkey)];

/// Idle clients of three regions, of which each has heard of the others.
async fn clients(ground: Ground) -> Option<(World, Vec<Client>)> {
    let Some(world) = World::with(ground, Options::default(), settings()).await else {
        println!("not run: no valkey-server in the path, and VALKEY_SERVER names none");
        return None;
    };
    let clients = world.idle_clients().await;
    // What comes first comes by resyncs, which tell nothing.
    for client in &clients {
        for name in 0..8 {
            client.counter(format!("first {name}")).add(1).await.unwrap();
        }
    }
    settle(&clients[0]).await;
    Some((world, clients))
}

/// What was told by now.
fn told(events: &mut (impl Stream<Item = ConflictEvent> + Unpin)) -> Vec<Conflict> {
    let mut all = Vec::new();
    // Unconstrained: the runtime's budget would end it after 128.
    while let Some(Some(event)) = tokio::task::unconstrained(events.next()).now_or_never() {
        match event {
            ConflictEvent::Resolved(conflict) => all.push(conflict),
            other => panic!("{other}"),
        }
    }
    all
}

/// A value of a region, and whether it wins.
fn shown(contenders: &[Contender]) -> Vec<(String, String, bool)> {
    let shown = |contender: &Contender| {
        let value = String::from_utf8(contender.value.to_vec()).unwrap();
        (contender.origin.region.to_string(), value, contender.wins)
    };
    contenders.iter().map(shown).collect()
}

/// A client tells of what it joins itself, and nothing of what a removal met.
#[tokio::test]
async fn what_others_join_is_not_told() {
    for ground in GROUNDS {
        let Some((_world, clients)) = clients(ground).await else { continue };
        let [a, b] = [&clients[0], &clients[1]];
        let (mut own, mut other) = (a.conflicts(), b.conflicts());
        a.register::<String>("name").set("first").await.unwrap();
        b.register::<String>("name").set("second").await.unwrap();
        settle(a).await;
        assert_eq!((told(&mut own).len(), told(&mut other).len()), (3, 0), "{ground:?}");
        a.register::<String>("name").delete().await.unwrap();
        b.register::<String>("name").set("third").await.unwrap();
        // Nor of a union: nothing is chosen.
        a.hyperloglog("visitors").add("old").await.unwrap();
        b.hyperloglog("visitors").add("new").await.unwrap();
        settle(a).await;
        assert_eq!(told(&mut own), [], "{ground:?}");
    }
}

/// What is told, by region and key.
async fn after(clients: &[Client], writes: impl AsyncFn(&Client, usize)) -> BTreeMap<(String, String), Conflict> {
    let mut events = clients[0].conflicts();
    let before = clients[0].resolved().await;
    for (at, client) in clients[..2].iter().enumerate() {
        writes(client, at).await;
    }
    settle(&clients[0]).await;
    let all = told(&mut events);
    let counted = clients[0].resolved().await;
    let counted: u64 = counted.values().sum::<u64>() - before.values().sum::<u64>();
    assert_eq!(all.len() as u64, counted, "what is counted is told: {all:?}");
    let key = |conflict: &Conflict| (conflict.region.to_string(), String::from_utf8(conflict.name.to_vec()).unwrap());
    all.into_iter().map(|conflict| (key(&conflict), conflict)).collect()
}

#[tokio::test]
async fn each_rule_is_told_with_its_values() {
    for ground in GROUNDS {
        let Some((_world, clients)) = clients(ground).await else { continue };
        let told = after(&clients, async |client, at| {
            let (one, word) = ([1_u8, 2][at], ["first", "second"][at]);
            client.register::<String>("name").set(word).await.unwrap();
            client.map::<u8>("map").set("field", &one).await.unwrap();
            client.high_scores("best").submit("ada", [7.0, 3.0][at]).await.unwrap();
            client.first_register::<u8>("first").set(&one).await.unwrap();
            client.siblings::<u8>("both").set(&one).await.unwrap();
            client.enable_wins_flag("flag").set(at == 0).await.unwrap();
            client.set("set").add("member").await.unwrap();
            client.set("set").expire_in(Duration::from_secs([7200, 3600][at])).await.unwrap();
            client.counter("count").add(1).await.unwrap();
        })
        .await;
        let member = |name: &'static str| Field::Member(name.into());
        for (name, kind, field, rule, values, wins) in [
            ("name", Kind::String, Field::VALUE, "latest", ["\"first\"", "\"second\""], [false, true]),
            ("map", Kind::Hash, member("field"), "latest", ["1", "2"], [false, true]),
            ("best", Kind::HighScores, member("ada"), "highest", ["7", "3"], [true, false]),
            ("first", Kind::First, Field::VALUE, "first", ["1", "2"], [true, false]),
            ("both", Kind::Siblings, Field::VALUE, "all", ["1", "2"], [true, true]),
            ("flag", Kind::EnableWins, Field::VALUE, "on", ["1", "0"], [true, false]),
        ] {
            // Where the second arrives: at the first region, at the second, and at the third.
            for region in REGIONS {
                let conflict = &told[&(region.to_owned(), name.to_owned())];
                assert_eq!((conflict.kind, &conflict.field, conflict.rule), (kind, &field, rule), "{ground:?} {name}");
                let expected: Vec<_> =
                    (0..2).map(|at| (REGIONS[at].to_owned(), values[at].to_owned(), wins[at])).collect();
                assert_eq!(shown(&conflict.contenders), expected, "{ground:?} {name} in {region}");
                assert!(conflict.contenders[0].version < conflict.contenders[1].version);
                assert!(
                    !format!("{conflict:?} {conflict}").contains("second"),
                    "values stay out of logs: {conflict:?}"
                );
            }
        }
        let expiry = &told[&(REGIONS[0].to_owned(), "set".to_owned())];
        assert_eq!((&expiry.field, expiry.rule), (&Field::Expiry, "longest"));
        assert_eq!(expiry.contenders.iter().map(|contender| contender.wins).collect::<Vec<_>>(), [true, false]);
        assert!(told.keys().all(|(_, name)| name != "count"), "{ground:?}: increments all count");
        let json =
            serde_json::to_value(ConflictEvent::Resolved(told[&(REGIONS[2].to_owned(), "map".to_owned())].clone()));
        let json = json.unwrap();
        assert_eq!((&json["event"], &json["field"]["member"]), (&"resolved".into(), &"field".into()), "{json}");
        assert_eq!(
            (&json["contenders"][1]["value"], &json["contenders"][1]["wins"]),
            (&"2".into(), &true.into()),
            "{json}"
        );
    }
}

#[tokio::test]
async fn a_write_that_has_seen_the_other_is_no_conflict() {
    for ground in GROUNDS {
        let Some((_world, clients)) = clients(ground).await else { continue };
        let told = after(&clients, async |client, at| {
            client.register::<usize>("turns").set(&at).await.unwrap();
            settle(client).await;
        })
        .await;
        assert!(told.is_empty(), "{ground:?}: {told:?}");
    }
}

/// A strong write brings the conflict before any link does.
#[tokio::test]
async fn what_meets_by_a_push_is_told_too() {
    for ground in GROUNDS {
        let Some((_world, clients)) = clients(ground).await else { continue };
        clients[0].register::<u8>("price").set(&1).await.unwrap();
        let mut events = clients[1].conflicts();
        let strong = clients[1].keyspace("default").unwrap().with_write(WriteStrength::All);
        strong.register::<u8>("price").set(&2).await.unwrap();
        let told = told(&mut events);
        assert_eq!(
            told.iter().map(|conflict| conflict.region.as_str()).collect::<Vec<_>>(),
            [REGIONS[0]],
            "{ground:?}"
        );
        assert_eq!(told[0].contenders.iter().map(|contender| contender.wins).collect::<Vec<_>>(), [false, true]);
    }
}

#[tokio::test]
async fn a_listener_that_does_not_keep_up_hears_how_many_it_lost() {
    let (_world, clients) = clients(Ground::Embedded).await.unwrap();
    let mut events = clients[0].conflicts();
    for client in &clients[..2] {
        let map = client.map::<String>("map");
        let mut batch = client.batch();
        for field in 0..600 {
            batch = batch.set_field(&map, field.to_string(), client.local_region().as_str());
        }
        assert!(batch.execute().await.iter().all(Result::is_ok));
    }
    let long = "x".repeat(10_000);
    clients[0].register::<String>("long").set(&long).await.unwrap();
    clients[1].register::<String>("long").set("").await.unwrap();
    settle(&clients[0]).await;
    let Some(ConflictEvent::Missed { count }) = events.next().await else { panic!("nothing was missed") };
    let told = told(&mut events);
    assert_eq!((count, told.len()), (3 * 601 - 1024, 1024));
    let cut = told.iter().find(|conflict| conflict.name == "long").expect("the last ones are kept");
    let lengths: Vec<_> = cut.contenders.iter().map(|contender| (contender.value.len(), contender.length)).collect();
    assert_eq!(lengths, [(Contender::VALUE, 10_002), (2, 2)]);
}

//! The timelines that Redis documents for its Active-Active databases, through the command interpreter, on embedded
//! regions and on Redis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::{collections::BTreeMap, sync::Arc};

use archipelago::testing::{
    poll,
    servers::{Options, Program},
};
use archipelago::{
    Client,
    engine::EntryId,
    exec::{Interpreter, split_line},
    store::Store,
};
use archipelago_tests::world::{self, Ground, World, settle};
use serde_json::Value;

/// The types this library has: all that are documented.
const TYPES: [&str; 9] = ["string", "counter", "set", "hash", "zset", "expire", "list", "stream", "hll"];

fn cases() -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("data/active-active.json")).unwrap();
    let known = |case: &&Value| TYPES.contains(&case["type"].as_str().unwrap());
    all["cases"].as_array().unwrap().iter().filter(known).cloned().collect()
}

/// The ids that the file gives as samples, and those that the entries got here.
type Ids = BTreeMap<String, String>;

async fn run(case: &Value, world: &World) {
    let clients = world.idle_clients().await;
    let stores: Vec<Arc<dyn Store>> = clients.iter().map(world::store).collect();
    let region = |step: &Value| match step["region"].as_str().unwrap() {
        "A" => 0,
        "B" => 1,
        other => panic!("region {other}"),
    };
    let execute = async |step: &Value| {
        let interpreter = Interpreter::new(stores[region(step)].clone());
        let reply = interpreter.execute(&split_line(step["cmd"].as_str().unwrap()).unwrap()).await;
        serde_json::from_str::<Value>(&reply.to_json()).unwrap()
    };
    let mut ids = Ids::new();
    for step in case["setup"].as_array().into_iter().flatten() {
        apply(step, &execute, &clients[0], &mut ids).await;
    }
    let (steps, reads) = (case["steps"].as_array().unwrap(), case["reads"].as_array().unwrap());
    let times = steps.iter().chain(reads).map(|step| step["t"].as_u64().unwrap());
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    times.dedup();
    for time in times {
        let now = |step: &&Value| step["t"].as_u64() == Some(time);
        for step in steps.iter().filter(now) {
            apply(step, &execute, &clients[0], &mut ids).await;
        }
        for read in reads.iter().filter(now) {
            let found = execute(read).await;
            let compare = read["compare"].as_str().unwrap();
            assert!(
                matches(compare, &here(&read["expect"], compare, &ids), &found),
                "{}: {read}: found {found}",
                case["id"]
            );
        }
        // The next time is a later one on every clock: versions of Redis count in milliseconds.
        let clocks = clocks_of(&stores).await;
        let latest = clocks.into_iter().max().unwrap();
        poll::until("the clocks go on", || async {
            clocks_of(&stores).await.into_iter().all(|clock| clock > latest + 1).then_some(())
        })
        .await;
    }
}

/// What is expected, with the ids that entries got here instead of the samples, in the order of ids.
fn here(expected: &Value, compare: &str, ids: &Ids) -> Value {
    if compare != "ids" {
        return expected.clone();
    }
    let mut given: Vec<&String> = expected.as_array().unwrap().iter().map(|id| &ids[id.as_str().unwrap()]).collect();
    given.sort_by_key(|id| id.parse::<EntryId>().unwrap());
    Value::from_iter(given.into_iter().cloned())
}

async fn apply(step: &Value, execute: &impl AsyncFn(&Value) -> Value, client: &Client, ids: &mut Ids) {
    if step["sync"].as_bool() == Some(true) {
        settle(client).await;
    } else {
        let reply = execute(step).await;
        assert!(reply.get("error").is_none(), "{step}: {reply}");
        if let Some(sample) = step["returns_id"].as_str() {
            ids.insert(sample.to_owned(), reply.as_str().unwrap().to_owned());
        }
    }
}

async fn clocks_of(stores: &[Arc<dyn Store>]) -> Vec<u64> {
    let mut clocks = Vec::new();
    for store in stores {
        clocks.push(store.clock().await.unwrap().as_millis());
    }
    clocks
}

/// Whether a reply is the documented one, by the file's own rules.
fn matches(compare: &str, expected: &Value, found: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    match compare {
        "exact" | "ordered" => expected == found,
        "ids" => {
            let ids = found.as_array().into_iter().flatten().map(|entry| entry[0].clone());
            *expected == Value::from_iter(ids)
        }
        "nil" => found.is_null(),
        "number" => number(expected) == number(found),
        "unordered" => {
            let sorted = |value: &Value| {
                let mut items: Vec<String> = value.as_array().into_iter().flatten().map(Value::to_string).collect();
                items.sort();
                items
            };
            sorted(expected) == sorted(found)
        }
        "map" => {
            let flat = found.as_array().map(Vec::as_slice).unwrap_or_default();
            let pairs: BTreeMap<&str, &Value> =
                flat.chunks(2).filter_map(|pair| Some((pair.first()?.as_str()?, pair.get(1)?))).collect();
            let expected: BTreeMap<&str, &Value> =
                expected.as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v)).collect();
            pairs == expected && flat.len() == 2 * expected.len()
        }
        "ttl_at_most" => {
            let (limit, left) = (expected.as_i64().unwrap(), found.as_i64().unwrap_or(-9));
            (limit - 30..=limit).contains(&left)
        }
        other => panic!("compare {other}"),
    }
}

async fn run_all(ground: Ground) {
    let cases = cases();
    assert_eq!(cases.len(), 10, "a case of each type, and two of sorted sets");
    for case in cases {
        let Some(world) = World::with(ground, Options::default(), world::settings()).await else {
            println!("not run: no valkey-server in the path, and VALKEY_SERVER names none");
            return;
        };
        run(&case, &world).await;
    }
}

#[tokio::test]
async fn documented_timelines_hold_on_embedded_regions() {
    run_all(Ground::Embedded).await;
}

#[tokio::test]
async fn documented_timelines_hold_on_redis() {
    run_all(Ground::Servers(Program::Redis)).await;
}

#[tokio::test]
async fn documented_timelines_hold_on_valkey() {
    run_all(Ground::Servers(Program::Valkey)).await;
}

#[test]
fn the_comparison_finds_what_differs() {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (compare, expected, found) in [
        ("exact", "\"a\"", "\"b\""),
        ("nil", "null", "\"\""),
        ("number", "\"3.1\"", "\"3.2\""),
        ("unordered", "[\"a\",\"b\"]", "[\"a\"]"),
        ("ordered", "[\"a\",\"b\"]", "[\"b\",\"a\"]"),
        ("map", "{\"f\":\"a\"}", "[\"f\",\"b\"]"),
        ("map", "{\"f\":\"a\"}", "[\"f\",\"a\",\"g\",\"b\"]"),
        ("ids", "[\"1-1\"]", "[[\"1-2\",[\"f\",\"v\"]]]"),
        ("ttl_at_most", "50", "-1"),
        ("ttl_at_most", "50", "10"),
    ] {
        assert!(!matches(compare, &json(expected), &json(found)), "{compare} {expected} {found}");
    }
    assert!(matches("number", &json("\"3.1\""), &json("\"3.10\"")));
    assert!(matches("map", &json("{\"f\":\"a\",\"g\":\"b\"}"), &json("[\"g\",\"b\",\"f\",\"a\"]")));
}

//! Any language reads a view with plain commands at the documented place: here `redis-cli`, or a plain connection where
//! the machine has none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test may panic")]

use std::process::{Command, Stdio};

use archipelago::testing::servers::{Options, Server};
use archipelago::{
    PhysicalKeys,
    engine::{Key, Kind},
    partition_of,
};
use archipelago_tests::world::{World, settle};

/// One command, its answer line by line.
async fn plain(server: &Server, words: &[&str]) -> Vec<String> {
    let mut cli = Command::new("redis-cli");
    cli.arg("-p").arg(server.port().to_string()).args(words).stderr(Stdio::null());
    if let Ok(output) = cli.output() {
        return String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    }
    let mut cmd = redis::cmd(words.first().unwrap());
    cmd.arg(words.get(1..).unwrap_or_default());
    match server.run::<redis::Value>(&cmd).await.unwrap() {
        redis::Value::Array(items) => items.iter().map(|item| redis::from_redis_value_ref(item).unwrap()).collect(),
        one => vec![redis::from_redis_value_ref(&one).unwrap()],
    }
}

fn place(kind: Kind, name: &'static str) -> String {
    let partition = partition_of(name.as_bytes(), archipelago_tests::world::settings().partitions);
    String::from_utf8(PhysicalKeys::new("default", partition).view(&Key::new(kind, name))).unwrap()
}

#[tokio::test]
async fn plain_commands_read_every_view_in_every_region() {
    let world = World::redis(Options::default()).await;
    let clients = world.idle_clients().await;
    let [a, b, _] = &clients[..] else { panic!("three clients") };
    a.register::<String>("greeting").set("hello").await.unwrap();
    a.counter("views").add(40).await.unwrap();
    b.counter("views").add(2).await.unwrap();
    a.set("tags").add("red").await.unwrap();
    b.set("tags").add("blue").await.unwrap();
    a.map::<String>("user").set("name", "Ada").await.unwrap();
    b.map::<String>("user").add("visits", 3).await.unwrap();
    a.sorted_set("board").insert("ann", 1.5).await.unwrap();
    b.sorted_set("board").insert("bob", 0.5).await.unwrap();
    b.sorted_set("board").add("ann", 2.0).await.unwrap();
    a.hyperloglog("visitors").add_all(["ann", "bob"]).await.unwrap();
    b.hyperloglog("visitors").add_all(["bob", "cid"]).await.unwrap();
    settle(a).await;
    for server in &world.servers {
        assert_eq!(plain(server, &["GET", &place(Kind::String, "greeting")]).await, ["\"hello\""], "as JSON");
        assert_eq!(plain(server, &["GET", &place(Kind::String, "views")]).await, ["42"]);
        let mut tags = plain(server, &["SMEMBERS", &place(Kind::Set, "tags")]).await;
        tags.sort();
        assert_eq!(tags, ["blue", "red"]);
        assert_eq!(plain(server, &["HGET", &place(Kind::Hash, "user"), "visits"]).await, ["3"]);
        let mut user = plain(server, &["HGETALL", &place(Kind::Hash, "user")]).await;
        user.sort();
        assert_eq!(user, ["\"Ada\"", "3", "name", "visits"]);
        let board = plain(server, &["ZRANGE", &place(Kind::SortedSet, "board"), "0", "-1", "WITHSCORES"]).await;
        assert_eq!(board, ["bob", "0.5", "ann", "3.5"]);
        assert_eq!(plain(server, &["PFCOUNT", &place(Kind::HyperLogLog, "visitors")]).await, ["3"]);
        assert_eq!(plain(server, &["TYPE", &place(Kind::SortedSet, "board")]).await, ["zset"]);
    }
}

#[test]
fn the_place_of_a_view_is_the_documented_one() {
    let key = Key::new(Kind::String, "page_views");
    let partition = partition_of(b"page_views", 16);
    assert_eq!(PhysicalKeys::new("default", partition).view(&key), b"{default:10}:string:page_views");
}

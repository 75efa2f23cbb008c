//! A user's commands, as any client would send them.

use std::collections::BTreeMap;

use archipelago::{CallOptions, Error, ErrorKind, homes::HomeRequest};
use redis::{AsyncCommands, Value};

use crate::world::{World, settle};

#[tokio::test]
async fn commands_and_pipelines_answer_as_on_a_plain_connection() {
    let world = World::start().await;
    let (client, homes) = world.client().await;
    settle(&homes, "ada", "us").await;
    let mut user = homes.connection("ada").unwrap();
    let key = |name: &str| format!("{{ada}}:{name}");

    assert_eq!(user.get::<_, Option<String>>(key("none")).await.unwrap(), None);
    let _: () = user.hset_multiple(key("h"), &[("a", 1), ("b", 2)]).await.unwrap();
    let all: BTreeMap<String, i64> = user.hgetall(key("h")).await.unwrap();
    assert_eq!(all, [("a".to_owned(), 1), ("b".to_owned(), 2)].into());
    assert_eq!(user.zadd::<_, _, _, i64>(key("z"), "m", 1.5).await.unwrap(), 1);
    assert_eq!(user.zscore::<_, _, f64>(key("z"), "m").await.unwrap(), 1.5);
    let found: Vec<Option<i64>> = user.mget(&[key("none"), key("none")]).await.unwrap();
    assert_eq!(found, [None, None]);
    assert_eq!(user.get::<_, String>(key("h")).await.unwrap_err().code(), Some("WRONGTYPE"));
    assert!(user.exists::<_, bool>(key("h")).await.unwrap());

    let mut pipeline = redis::pipe();
    pipeline.incr(key("n"), 1).ignore().incr(key("n"), 1).get(key("none"));
    let (second, none): (i64, Option<i64>) = pipeline.query_async(&mut user).await.unwrap();
    assert_eq!((second, none), (2, None));
    pipeline.atomic();
    let (second, none): (i64, Option<i64>) = pipeline.query_async(&mut user).await.unwrap();
    assert_eq!((second, none), (4, None));
    redis::pipe().query_async::<()>(&mut user).await.unwrap();
    // One of its commands fails; the others are done.
    let mut pipeline = redis::pipe();
    pipeline.incr(key("n"), 1).incr(key("h"), 1).incr(key("n"), 1);
    let error = pipeline.query_async::<Value>(&mut user).await.unwrap_err().to_string();
    let mut plain = world.servers[0].connect().await.unwrap();
    let _: () = plain.hset(key("h"), "a", 1).await.unwrap();
    assert_eq!(error, pipeline.query_async::<Value>(&mut plain).await.unwrap_err().to_string());
    let _: () = plain.del(&[key("h"), key("n")]).await.unwrap();
    assert_eq!(user.get::<_, i64>(key("n")).await.unwrap(), 6);

    // A plain connection reads at the home, too, past the gate.
    let home = homes.home_of("ada", &HomeRequest::new()).await.unwrap();
    let options = CallOptions::default().home(home.region().as_str());
    let mut connection = client.connection("profiles").unwrap().with_options(options);
    assert_eq!(connection.get::<_, i64>(key("n")).await.unwrap(), 6);

    // The servers forget their scripts.
    let _: () = world.servers[2].run(redis::cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    assert_eq!(user.incr::<_, _, i64>(key("n"), 1).await.unwrap(), 7);
    let error = user.get::<_, Option<i64>>("{bob}:n").await.unwrap_err();
    assert_eq!(Error::of(&error).unwrap().kind(), ErrorKind::Refused);

    // Every type moves, expiry included; what was deleted does not come back.
    let _: () = user.rpush(key("l"), &[1, 2]).await.unwrap();
    let _: () = user.sadd(key("s"), "m").await.unwrap();
    let _: String = redis::cmd("XADD").arg(key("x")).arg("*").arg("f").arg(1).query_async(&mut user).await.unwrap();
    let _: () = user.rename(key("l"), key("list")).await.unwrap();
    let before = user.dump_of(&["h", "z", "n", "list", "s", "x"]).await;
    homes.migrate_home("ada", "eu").await.unwrap();
    assert_eq!(user.dump_of(&["h", "z", "n", "list", "s", "x"]).await, before);
    let mut keys = world.keys(1, "ada").await;
    keys.sort();
    assert_eq!(keys, ["h", "list", "n", "s", "x", "z"].map(key));
    let _: () = user.del(&[key("h"), key("list")]).await.unwrap();
    homes.migrate_home("ada", "us").await.unwrap();
    assert_eq!(world.keys(2, "ada").await.len(), 4);
    client.shut_down().await;
}

trait Dumps {
    async fn dump_of(&mut self, names: &[&str]) -> Vec<Vec<u8>>;
}

impl Dumps for archipelago::homes::HomeConnection {
    async fn dump_of(&mut self, names: &[&str]) -> Vec<Vec<u8>> {
        let mut dumps = Vec::new();
        for name in names {
            dumps.push(redis::cmd("DUMP").arg(self.key(name)).query_async(self).await.unwrap());
        }
        dumps
    }
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_unavailable_and_not_the_applications_error() {
    let world = World::start().await;
    let (client, homes) = world.client().await;
    settle(&homes, "ada", "eu").await;
    let mut user = homes.connection("ada").unwrap();
    let key = user.key("n");
    let _: () = user.incr(&key, 1).await.unwrap();
    let full = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).to_owned();
    let _: () = world.servers[1].run(&full).await.unwrap();
    let error = user.append::<_, _, i64>(&key, "x").await.unwrap_err();
    assert_eq!(Error::of(&error).map(Error::kind), Some(ErrorKind::Unavailable), "{error}");
    // What makes room may be done.
    assert_eq!(user.del::<_, i64>(&key).await.unwrap(), 1);
    client.shut_down().await;
}

//! What the redis crate can do works on the routed connection, and what cannot says what to call.

use std::time::Duration;

use archipelago::{CallOptions, Client, Error, ErrorKind};
use redis::{AsyncCommands, RedisError, Script};

use crate::world::World;

fn own(error: &RedisError) -> &Error {
    Error::of(error).unwrap_or_else(|| panic!("not ours: {error}"))
}

#[tokio::test]
async fn commands_pipelines_and_transactions_work_unchanged() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let _: () = connection.set("name", "Ada").await.unwrap();
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada");
    let (n, members): (i64, Vec<String>) = redis::pipe()
        .atomic()
        .incr("visits", 2)
        .sadd("tags", "new")
        .ignore()
        .smembers("tags")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!((n, members), (2, vec!["new".to_owned()]));
    // A clone, used from several tasks at once.
    let counts = (0..50).map(|_| {
        let mut connection = connection.clone();
        tokio::spawn(async move { connection.incr::<_, _, i64>("clicks", 1).await.unwrap() })
    });
    for count in counts.collect::<Vec<_>>() {
        count.await.unwrap();
    }
    assert_eq!(connection.get::<_, i64>("clicks").await.unwrap(), 50);
    // All of it is at the writer, none at the other region.
    assert_eq!(world.eu.run::<i64>(&redis::cmd("DBSIZE")).await.unwrap(), 1, "only this client's heartbeat");
    client.shut_down().await;
    let error = connection.get::<_, String>("name").await.unwrap_err();
    assert_eq!(own(&error).kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_applications_own_errors_come_as_the_server_gave_them() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let _: () = connection.set("name", "Ada").await.unwrap();
    let error = connection.incr::<_, _, i64>("name", 1).await.unwrap_err();
    assert!(Error::of(&error).is_none(), "{error}");
    let error = connection.lpush::<_, _, i64>("name", 1).await.unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
    client.shut_down().await;
}

#[tokio::test]
async fn what_changes_a_connection_is_refused_with_the_call_to_use() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    for (words, hint) in [
        (vec!["WATCH", "k"], "connection.exclusive(key)"),
        (vec!["MULTI"], ".atomic()"),
        (vec!["SELECT", "1"], "connection.exclusive(key)"),
        (vec!["SUBSCRIBE", "news"], "client.subscribe(..)"),
        (vec!["MONITOR"], "redis::Client"),
        (vec!["CLIENT", "TRACKING", "ON"], ""),
        (vec!["REPLICAOF", "NO", "ONE"], "archipelago promote"),
    ] {
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(word);
        });
        let error = cmd.query_async::<redis::Value>(&mut connection).await.unwrap_err();
        assert_eq!(own(&error).kind(), ErrorKind::Refused, "{words:?}: {error}");
        assert!(error.to_string().contains(hint), "{words:?}: {error}");
        assert!(error.to_string().contains(words[0]), "{words:?}: {error}");
        assert!(matches!(error.retry_method(), redis::RetryMethod::NoRetry), "{words:?}");
    }
    let error =
        redis::pipe().get("k").cmd("WATCH").arg("k").query_async::<redis::Value>(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("command 1"), "{error}");
    client.shut_down().await;
}

#[tokio::test]
async fn a_scan_stays_with_the_node_that_began_it() {
    let world = World::start().await;
    let (client, mut connection) = world.client("policy = \"nearest\"\nlatency_window_ms = 10000").await;
    let mut fill = redis::pipe();
    for n in 0..500 {
        fill.set(format!("key:{n}"), n).hset("fields", n, "x").ignore();
    }
    let _: redis::Value =
        world.us.run(redis::cmd("CONFIG").arg("SET").arg("hash-max-listpack-entries").arg(1)).await.unwrap();
    let writer = client.connection("profiles").unwrap();
    writer.set_policy(archipelago::routing::RegionalPrimary);
    let _: () = fill.query_async(&mut writer.clone()).await.unwrap();
    world.us.replicas_in_sync().await.unwrap();
    // Reads of the preferred region's two nodes: cursors of both, interleaved.
    let mut found = std::collections::BTreeSet::new();
    let mut keys = connection.scan_match::<_, String>("key:*").await.unwrap();
    while let Some(key) = keys.next_item().await {
        found.insert(key.unwrap());
    }
    drop(keys);
    assert_eq!(found.len(), 500);
    let mut fields = std::collections::BTreeSet::new();
    let mut pairs = connection.hscan::<_, (String, String)>("fields").await.unwrap();
    while let Some(pair) = pairs.next_item().await {
        fields.insert(pair.unwrap().0);
    }
    drop(pairs);
    assert_eq!(fields.len(), 500);
    // A cursor of nobody is refused, and no cursor makes it panic.
    for cursor in ["9223372036854775808", "18446744073709551615", "x"] {
        let answer: Result<redis::Value, _> = redis::cmd("SCAN").arg(cursor).query_async(&mut connection).await;
        assert!(answer.is_err(), "{cursor}: {answer:?}");
    }
    client.shut_down().await;
}

#[tokio::test]
async fn scripts_are_loaded_wherever_they_may_run() {
    let world = World::start().await;
    let (client, mut connection) = world.client("local_replica = true").await;
    let sha: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg("return redis.call('GET', KEYS[1])")
        .query_async(&mut connection)
        .await
        .unwrap();
    let exists = |server| {
        let sha = sha.clone();
        async move {
            let server: &archipelago::testing::servers::Server = server;
            server.run::<Vec<bool>>(redis::cmd("SCRIPT").arg("EXISTS").arg(sha)).await.unwrap()
        }
    };
    for server in [&world.us, &world.us.replicas()[0], &world.eu] {
        assert_eq!(exists(server).await, [true]);
    }
    let everywhere: Vec<bool> =
        redis::cmd("SCRIPT").arg("EXISTS").arg(&sha).query_async(&mut connection).await.unwrap();
    assert_eq!(everywhere, [true]);
    // Missing at one is missing.
    let _: () = world.eu.run(redis::cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    let everywhere: Vec<bool> =
        redis::cmd("SCRIPT").arg("EXISTS").arg(&sha).query_async(&mut connection).await.unwrap();
    assert_eq!(everywhere, [false]);
    // The crate's own scripts find their way after a flush: NOSCRIPT, load, again.
    let _: () = world.us.run(redis::cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let sum: i64 = script.key("sum").arg(5).invoke_async(&mut connection).await.unwrap();
    assert_eq!(sum, 5);
    client.shut_down().await;
}

#[tokio::test]
async fn plain_commands_and_typed_handles_keep_to_their_planes() {
    let world = World::start().await;
    let text = format!(
        "[regions.us]\nurl = \"{}\"\n[keyspaces.cart]\nmode = \"active-active\"\n[keyspaces.profiles]\nmode = \"routed\"\n",
        world.us.url()
    );
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let error = client.connection("cart").unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("keyspace(\"cart\")"), "{error}");
    let error = client.keyspace("profiles").unwrap_err();
    assert!(error.to_string().contains("connection(\"profiles\")"), "{error}");
    let error = client.connection("nowhere").unwrap_err();
    assert!(error.to_string().contains("profiles"), "{error}");
    client.counter("views").add(1).await.unwrap();
    client.shut_down().await;

    let text = text.replace("[keyspaces.cart]\nmode = \"active-active\"\n", "");
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let error = client.counter("views").add(1).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("profiles"), "{error}");
    let results = client.batch().add(&client.counter("views"), 1).execute().await;
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::Config);
    client.shut_down().await;
}

#[tokio::test]
async fn options_ask_for_the_primary_a_home_or_a_deadline() {
    let world = World::start().await;
    let (client, connection) = world.client("policy = \"home-region\"").await;
    let first = |options: CallOptions| {
        let explanation = connection.with_options(options).explain(redis::cmd("GET").arg("k"));
        explanation.map(|explanation| explanation.nodes[0].name.clone())
    };
    assert_eq!(first(CallOptions::default().home("eu")).unwrap(), "eu/primary");
    assert_eq!(first(CallOptions::default().home("us").at_primary()).unwrap(), "us/primary");
    let error = first(CallOptions::default().home("mars")).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("us"), "{error}");
    world.us_proxy.black_hole();
    let mut hasty =
        connection.with_options(CallOptions::default().home("us").at_primary().deadline(Duration::from_millis(50)));
    let error = hasty.get::<_, String>("k").await.unwrap_err();
    let error = own(&error);
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(
        error.attempts()[0].node == "us/primary" && error.attempts()[0].took >= Duration::from_millis(50),
        "{error}"
    );
    client.shut_down().await;
}

#[tokio::test]
async fn a_call_without_time_ends_at_once_and_sends_nothing() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let mut hurried = connection.with_options(CallOptions::default().deadline(Duration::ZERO));
    let error = hurried.set::<_, _, ()>("name", "Ada").await.unwrap_err();
    assert_eq!(own(&error).kind(), ErrorKind::Unavailable, "{error}");
    let mut patient = connection.clone();
    assert_eq!(patient.get::<_, Option<String>>("name").await.unwrap(), None);
    client.shut_down().await;
}

#[tokio::test]
async fn an_unknown_command_is_explained_with_what_is_assumed_of_it() {
    let world = World::start().await;
    let (client, connection) = world.client("").await;
    let known = connection.explain(redis::cmd("GET").arg("k")).unwrap();
    let unknown = connection.explain(redis::cmd("MODULE.CALL").arg("k")).unwrap();
    assert_eq!(known.note, None);
    assert!(unknown.note.is_some() && unknown.nodes[0].role == "primary", "{unknown:?}");
    client.shut_down().await;
}

#[tokio::test]
async fn an_idle_connection_keeps_no_server_connection_after_the_client_has_shut_down() {
    let world = World::start().await;
    let (client, mut connection) = world.client("").await;
    let _: () = connection.set("name", "Ada").await.unwrap();
    client.shut_down().await;
    for server in [&world.us, &world.us.replicas()[0], &world.eu] {
        archipelago::testing::poll::until("no connection but the one that asks", || async {
            let list: String = server.run(redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("normal")).await.unwrap();
            (list.lines().count() == 1).then_some(())
        })
        .await;
    }
    // It was there all the time.
    assert!(connection.get::<_, String>("name").await.is_err());
}

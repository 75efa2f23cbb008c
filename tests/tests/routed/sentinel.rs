//! A region whose primary is found and followed by Sentinels.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use archipelago::{
    Client, Connection, Error, ErrorKind, PhysicalKeys,
    engine::{Key, Kind},
    partition_of,
    testing::{
        poll,
        servers::{Login, Options, Program, Sentinels, Server},
    },
};
use redis::AsyncCommands;

use crate::{said::Said, world::all_up};

async fn start(replicas: usize) -> Sentinels {
    Sentinels::start(Program::Redis, Options::default(), replicas).await.unwrap()
}

/// A region with these Sentinels, and more lines for it.
fn region(sentinels: &[String], more: &str) -> String {
    let nodes = sentinels.iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    format!("[regions.us]\nsentinel = {{ master = \"main\", nodes = [{nodes}], replicas = 2 }}\n{more}\n")
}

async fn client(region: &str) -> (Client, Connection) {
    let text = format!("{region}[keyspaces.profiles]\nmode = \"routed\"\n");
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let connection = client.connection("profiles").unwrap();
    (client, connection)
}

async fn set(connection: &Connection, value: &str) {
    poll::until("a write", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", value).await.ok() }
    })
    .await;
}

async fn name_at(server: &Server) -> String {
    server.run(redis::cmd("GET").arg("name")).await.unwrap()
}

/// The Sentinels order it to follow the new primary, and it does not: it stays a primary for ever.
async fn never_demote(server: &Server) {
    let _: () = server.run(redis::cmd("ACL").arg(&["SETUSER", "default", "-replicaof", "-slaveof"])).await.unwrap();
}

#[tokio::test]
async fn a_killed_primary_is_followed_while_reads_go_on() {
    let mut sentinels = start(2).await;
    let (client, mut connection) = client(&region(&sentinels.urls(), "")).await;
    all_up(&connection).await;
    set(&connection, "Ada").await;
    for server in sentinels.servers() {
        poll::until("the value everywhere", || async { (name_at(server).await == "Ada").then_some(()) }).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let (mut connection, stop) = (connection.clone(), stop.clone());
        async move {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let read: Result<Option<String>, _> = connection.get("other").await;
                assert_eq!(read.unwrap(), None, "read {reads}");
                reads += 1;
            }
            reads
        }
    });
    sentinels.servers_mut()[0].kill();
    let now = sentinels.primary_other_than(0).await.unwrap();
    set(&connection, "Bob").await;
    assert_eq!(name_at(&sentinels.servers()[now]).await, "Bob");
    stop.store(true, Ordering::Relaxed);
    assert!(reading.await.unwrap() > 0);
    // The former primary comes back as a replica, and takes the free slot.
    sentinels.servers_mut()[0].restart().await.unwrap();
    all_up(&connection).await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Bob");
    client.shut_down().await;
}

/// Between an ordered failover and the demotion of the former primary there are eight seconds, and here for ever: whoever
/// keeps his connection writes what nobody will ever see.
#[tokio::test]
async fn an_ordered_failover_is_followed_before_the_former_primary_is_demoted() {
    let sentinels = start(1).await;
    let (client, connection) = client(&region(&sentinels.urls(), "connections = 3")).await;
    let said = Said::by(&client);
    set(&connection, "Ada").await;
    never_demote(&sentinels.servers()[0]).await;
    assert_eq!(sentinels.failover().await.unwrap(), 1);
    let port = sentinels.servers()[1].port().to_string();
    said.until(&["us/primary", "now, says Sentinel", &port]).await;
    poll::until("a write at the new primary", || {
        let mut connection = connection.clone();
        let new = &sentinels.servers()[1];
        async move {
            connection.set::<_, _, ()>("name", "Bob").await.ok()?;
            (name_at(new).await == "Bob").then_some(())
        }
    })
    .await;
    // On every connection of the node.
    for number in 0..20 {
        let name = format!("Cid {number}");
        set(&connection, &name).await;
        assert_eq!(name_at(&sentinels.servers()[1]).await, name);
    }
    assert_eq!(sentinels.servers()[0].info("role").await.unwrap(), "master");
    client.shut_down().await;
}

#[tokio::test]
async fn sentinels_may_die_as_long_as_the_connection_lives() {
    let mut sentinels = start(0).await;
    sentinels.sentinels_mut()[0].kill();
    sentinels.sentinels_mut()[1].pause().unwrap();
    let (client, connection) = client(&region(&sentinels.urls(), "")).await;
    let said = Said::by(&client);
    set(&connection, "Ada").await;
    sentinels.sentinels_mut()[1].kill();
    let last = sentinels.sentinels()[2].port().to_string();
    poll::until("the last one heard", || async {
        let clients: String = sentinels.sentinels()[2].run(redis::cmd("CLIENT").arg("LIST")).await.ok()?;
        clients.contains("cmd=subscribe").then_some(())
    })
    .await;
    sentinels.sentinels_mut()[2].kill();
    said.until(&["us/primary", "is down", &last]).await;
    set(&connection, "Bob").await;
    assert!(!said.all().iter().any(|line| line.contains("NodeDown { node: \"us/primary\"")), "{:#?}", said.all());

    // Without the connection it is over, and the error says why.
    let _: i64 = sentinels.servers()[0].run(redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"])).await.unwrap();
    let what = said.until(&["us/primary is not found"]).await;
    assert!(what.contains("no Sentinel of region us helps") && what.contains(&last), "{what}");
    let error = poll::until("the error", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Cid").await.err() }
    })
    .await;
    let own = Error::of(&error).unwrap();
    assert!(own.kind() == ErrorKind::Unavailable && own.to_string().contains("no Sentinel"), "{own}");
    sentinels.sentinels_mut()[0].restart().await.unwrap();
    let first = sentinels.sentinels()[0].port().to_string();
    said.until(&["us/primary", "is up", &first]).await;
    set(&connection, "Dan").await;
    client.shut_down().await;
}

#[tokio::test]
async fn an_unknown_master_is_named() {
    let sentinels = start(0).await;
    let region = region(&sentinels.urls(), "connect_timeout_ms = 500").replace("\"main\"", "\"nobody\"");
    for mode in ["routed", "active-active"] {
        let text = format!("{region}[keyspaces.default]\nmode = \"{mode}\"\n");
        let error = Client::builder().config(text.parse().unwrap()).build().await.unwrap_err();
        assert!(error.to_string().contains("it knows no master \"nobody\""), "{error}");
    }
}

#[tokio::test]
async fn sentinels_have_credentials_of_their_own() {
    let login = Some(Login::new("app", "da ta"));
    let options = Options { login, ..Options::default() };
    let sentinels = Sentinels::start(Program::Redis, options, 2).await.unwrap();
    for sentinel in sentinels.sentinels() {
        let rights = ["SETUSER", "watcher", "on", ">watch", "+sentinel", "+subscribe", "+ping", "&+switch-master"];
        let _: () = sentinel.run(redis::cmd("ACL").arg(&rights)).await.unwrap();
    }
    let with = |user: &str| -> Vec<String> {
        sentinels.urls().iter().map(|url| url.replace("redis://", &format!("redis://{user}@"))).collect()
    };
    let data = "username = \"app\"\npassword = \"da ta\"";
    let (client, mut connection) = client(&region(&with("watcher:watch"), data)).await;
    let said = Said::by(&client);
    all_up(&connection).await;
    set(&connection, "Ada").await;
    let now = sentinels.failover().await.unwrap().to_string();
    assert_ne!(now, "0");
    said.until(&["us/primary", "now, says Sentinel"]).await;
    set(&connection, "Bob").await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Bob");
    client.shut_down().await;

    let text = format!("{}[keyspaces.profiles]\nmode = \"routed\"\n", region(&with("watcher:wrong"), data));
    let error = Client::builder().config(text.parse().unwrap()).build().await.unwrap_err();
    assert!(error.to_string().contains("does not let the user of its address in"), "{error}");
    assert!(!error.to_string().contains("wrong") && !format!("{error:?}").contains("da ta"), "{error:?}");
}

#[tokio::test]
async fn an_active_active_region_follows_its_sentinels() {
    let sentinels = start(1).await;
    let eu = Server::redis(Options::default()).await.unwrap();
    let region = region(&sentinels.urls(), "").replace(", replicas = 2", "");
    let text = format!("local = \"us\"\n{region}[regions.eu]\nurl = \"{}\"\n", eu.url());
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let banner = client.register::<String>("banner");
    banner.set("Sale").await.unwrap();
    never_demote(&sentinels.servers()[0]).await;
    assert_eq!(sentinels.failover().await.unwrap(), 1);
    let key = PhysicalKeys::new("default", partition_of(b"banner", 16)).view(&Key::new(Kind::String, "banner"));
    poll::until("a write at the new primary", || {
        let (banner, key, new) = (banner.clone(), key.clone(), &sentinels.servers()[1]);
        async move {
            banner.set("Sold out").await.ok()?;
            let found: Option<String> = new.run(redis::cmd("GET").arg(key)).await.unwrap();
            (found.as_deref() == Some("\"Sold out\"")).then_some(())
        }
    })
    .await;
    client.wait_converged(poll::PATIENCE).await.unwrap();
    let found: String = eu.run(redis::cmd("GET").arg(key)).await.unwrap();
    assert_eq!(found, "\"Sold out\"");
    client.shut_down().await;
}

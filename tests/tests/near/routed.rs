//! Routed keyspaces: where reads go, what is held, and what a failover drops.

use std::time::Duration;

use archipelago::{
    Client, Connection, Embedded,
    near::{Near, Tracking},
    routing::RoutingConfig,
    testing::{
        poll,
        servers::{Options, Server},
    },
};
use redis::AsyncCommands;

use crate::{becomes, held, patient, tracked, watching};

async fn on_servers() -> (Vec<Server>, Client, Connection, Near) {
    let (us, eu) = (Server::redis(Options::default()).await.unwrap(), Server::redis(Options::default()).await.unwrap());
    let text = format!(
        "local = \"eu\"\n[regions.us]\nurl = \"{}\"\nweight = 2\n[regions.eu]\nurl = \"{}\"\n\
         [keyspaces.profiles]\nmode = \"routed\"\n[keyspaces.profiles.near_cache]\nttl_ms = 3600000\n",
        us.url(),
        eu.url()
    );
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let (connection, near) = (client.connection("profiles").unwrap(), client.near("profiles").unwrap());
    (vec![us, eu], client, connection, near)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_held_until_they_change_expire_or_are_deleted() {
    let (servers, client, connection, near) = on_servers().await;
    let value = near.value::<String>("k");
    let mut watch = value.watch();
    assert_eq!(watching::next(&mut watch).await, None);
    tracked(&near).await;
    assert_eq!(held(&value).await, None);
    for text in ["one", "two"] {
        connection.set_value("k", text).await.unwrap();
        becomes(&value, Some(text.to_owned())).await;
        watching::until(&mut watch, &Some(text.to_owned())).await;
        assert_eq!(held(&value).await.as_deref(), Some(text));
    }
    let _: () = servers[0].run(redis::cmd("DEL").arg("k")).await.unwrap();
    becomes(&value, None).await;
    connection.set_value_for("k", "brief", Duration::from_millis(300)).await.unwrap();
    watching::until(&mut watch, &Some("brief".to_owned())).await;
    assert_eq!(watching::next(&mut watch).await, None);
    connection.set_value("k", "three").await.unwrap();
    becomes(&value, Some("three".to_owned())).await;
    held(&value).await;
    let _: () = servers[0].run(&redis::cmd("FLUSHALL")).await.unwrap();
    becomes(&value, None).await;
    client.shut_down().await;
    assert!(value.cached().is_none() && value.get().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_values_come_from_the_next_region() {
    let (mut servers, client, mut connection, near) = on_servers().await;
    let value = near.value::<String>("k");
    let mut watch = value.watch();
    tracked(&near).await;
    let _: () = connection.set("k", "\"us\"").await.unwrap();
    let _: () = servers[1].run(redis::cmd("SET").arg("k").arg("\"eu\"")).await.unwrap();
    becomes(&value, Some("us".to_owned())).await;
    watching::until(&mut watch, &Some("us".to_owned())).await;
    servers[0].kill();
    poll::until("the next region's", || async {
        (value.get().await.ok().flatten().is_some_and(|text| *text == "eu")).then_some(())
    })
    .await;
    watching::until(&mut watch, &Some("eu".to_owned())).await;
    tracked(&near).await;
    assert_eq!(held(&value).await.as_deref(), Some("eu"));
    let _: () = servers[1].run(redis::cmd("SET").arg("k").arg("\"new\"")).await.unwrap();
    watching::until(&mut watch, &Some("new".to_owned())).await;
    client.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_nodes_tell_what_changes_replicas_too() {
    for local_replica in [false, true] {
        let regions = Embedded::builder().region("us").region("eu").weight("us", 2);
        let regions = regions.replica("us", "eu", Duration::from_millis(30)).build().unwrap();
        let routing = RoutingConfig { local_replica, ..RoutingConfig::default() };
        let builder = Client::builder().embedded(&regions).local_region("eu").routed("profiles", routing);
        let client = builder.near_cache("profiles", patient()).build().await.unwrap();
        let (connection, near) = (client.connection("profiles").unwrap(), client.near("profiles").unwrap());
        let value = near.value::<String>("k");
        let mut watch = value.watch();
        assert_eq!(watching::next(&mut watch).await, None);
        tracked(&near).await;
        for text in ["one", "two"] {
            connection.set_value("k", text).await.unwrap();
            watching::until(&mut watch, &Some(text.to_owned())).await;
            assert_eq!(held(&value).await.as_deref(), Some(text));
        }
        regions.wipe("us").unwrap();
        becomes(&value, None).await;
        connection.set_value("k", "three").await.unwrap();
        becomes(&value, Some("three".to_owned())).await;
        client.shut_down().await;
        assert!(matches!(near.stats().tracking, Tracking::Off { .. }));
    }
}

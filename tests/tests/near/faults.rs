//! Connections that break, servers that die, and servers that do not allow it.

use std::time::Duration;

use archipelago::{
    config::NearConfig,
    near::Tracking,
    testing::{
        poll,
        proxy::ChaosProxy,
        servers::{Login, Options, Server},
    },
};

use crate::{alone, becomes, builder, client, config_of, held, patient, tracked, watching};

/// The connections that are told of changes.
async fn trackers(server: &Server) -> Vec<String> {
    let list: String = server.run(redis::cmd("CLIENT").arg("LIST")).await.unwrap();
    let lines = list.lines().filter(|line| {
        line.split(' ').any(|part| part.strip_prefix("flags=").is_some_and(|flags| flags.contains('t')))
    });
    lines.filter_map(|line| line.split(' ').find_map(|part| part.strip_prefix("id="))).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_drops_what_is_held_and_watchers_go_on() {
    let (server, config) = alone(Options::default()).await;
    let (writer, reader) = (client(config.clone()).await, client(config).await);
    let near = reader.near("default").unwrap();
    let value = near.register::<u32>("k");
    let mut watch = value.watch();
    for n in 1..=5 {
        tracked(&near).await;
        writer.register::<u32>("k").set(&n).await.unwrap();
        becomes(&value, Some(n)).await;
        watching::until(&mut watch, &Some(n)).await;
        held(&value).await;
        // Both at once, so that nobody tells of the write.
        let ids = trackers(&server).await;
        assert_eq!(ids.len(), 1, "one connection for all");
        let mut pipeline = redis::pipe();
        pipeline.cmd("CLIENT").arg("KILL").arg("ID").arg(&ids[0]);
        let _: redis::Value = pipeline.query_async(&mut server.connect().await.unwrap()).await.unwrap();
        writer.register::<u32>("k").set(&(n + 100)).await.unwrap();
        becomes(&value, Some(n + 100)).await;
        watching::until(&mut watch, &Some(n + 100)).await;
    }
    reader.shut_down().await;
    poll::until("no connection is left", || async { trackers(&server).await.is_empty().then_some(()) }).await;
    writer.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_drops_what_is_held_and_watchers_see_what_comes_back() {
    let (mut server, config) = alone(Options { durable: true, ..Options::default() }).await;
    let reader = client(config.clone()).await;
    let near = reader.near("default").unwrap();
    let value = near.register::<u32>("k");
    let mut watch = value.watch();
    tracked(&near).await;
    reader.register::<u32>("k").set(&1).await.unwrap();
    watching::until(&mut watch, &Some(1)).await;
    assert_eq!(held(&value).await, Some(1));
    server.kill();
    poll::until("nothing is held", || async { value.cached().is_none().then_some(()) }).await;
    poll::until("off", || async { matches!(near.stats().tracking, Tracking::Off { .. }).then_some(()) }).await;
    assert!(value.get().await.is_err());
    server.restart_empty().await.unwrap();
    let writer = client(config).await;
    writer.register::<u32>("k").set(&2).await.unwrap();
    watching::until(&mut watch, &Some(2)).await;
    tracked(&near).await;
    assert_eq!(held(&value).await, Some(2));
    writer.shut_down().await;
    reader.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_dies_without_a_sound_is_given_up() {
    let (server, config) = alone(Options::default()).await;
    let proxy = ChaosProxy::before(server.address()).await.unwrap();
    let mut through = config_of(&proxy.url());
    for region in through.regions.values_mut() {
        region.response_timeout = Duration::from_millis(300);
    }
    let (writer, reader) = (client(config).await, client(through).await);
    let near = reader.near("default").unwrap();
    let value = near.register::<u32>("k");
    tracked(&near).await;
    writer.register::<u32>("k").set(&1).await.unwrap();
    becomes(&value, Some(1)).await;
    held(&value).await;
    proxy.black_hole();
    writer.register::<u32>("k").set(&2).await.unwrap();
    poll::until("nothing is held", || async { value.cached().is_none().then_some(()) }).await;
    proxy.heal().await.unwrap();
    poll::until("the new value", || async { (value.get().await.ok().flatten().as_deref() == Some(&2)).then_some(()) })
        .await;
    writer.shut_down().await;
    reader.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tracking_is_said_so_and_values_live_for_their_time() {
    // By an ACL, and as an old or hidden protocol.
    let login = Options { login: Some(Login::new("app", "s3cret")), ..Options::default() };
    let hidden = Options { more: vec![("rename-command".to_owned(), "HELLO \"\"".to_owned())], ..Options::default() };
    for (options, denied) in [(login, Some("-client|tracking")), (hidden, None)] {
        let (server, config) = alone(options).await;
        if let Some(denied) = denied {
            let _: () = server.run(redis::cmd("ACL").arg(&["SETUSER", "app", denied])).await.unwrap();
        }
        let short = NearConfig { ttl: Duration::from_millis(400), ..NearConfig::default() };
        let reader = builder(config.clone()).near_cache("default", short).build().await.unwrap();
        let near = reader.near("default").unwrap();
        let value = near.register::<u32>("k");
        let mut watch = value.watch();
        assert_eq!(watching::next(&mut watch).await, None);
        poll::until("the refusal", || async {
            matches!(near.stats().tracking, Tracking::Refused { .. }).then_some(())
        })
        .await;
        reader.register::<u32>("k").set(&1).await.unwrap();
        // For its time only: nobody tells of the write.
        becomes(&value, Some(1)).await;
        poll::until("it is held", || async {
            value.get().await.unwrap();
            value.cached()
        })
        .await;
        watching::until(&mut watch, &Some(1)).await;
        reader.register::<u32>("k").set(&2).await.unwrap();
        becomes(&value, Some(2)).await;
        watching::until(&mut watch, &Some(2)).await;
        reader.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_made_when_a_value_is_and_ends_with_the_client() {
    let (server, config) = alone(Options::default()).await;
    let reader = builder(config).near_cache("default", patient()).build().await.unwrap();
    let near = reader.near("default").unwrap();
    assert!(matches!(near.stats().tracking, Tracking::Off { .. }));
    assert!(trackers(&server).await.is_empty());
    let value = near.register::<u32>("k");
    tracked(&near).await;
    held(&value).await;
    assert_eq!(trackers(&server).await.len(), 1);
    let set = near.set("k");
    tracked(&near).await;
    held(&set).await;
    assert_eq!(trackers(&server).await.len(), 1);
    assert_eq!(reader.near("default").unwrap().stats().keys, near.stats().keys, "all of a client's share it");
    reader.shut_down().await;
    assert!(value.cached().is_none());
    poll::until("no connection is left", || async { trackers(&server).await.is_empty().then_some(()) }).await;
}

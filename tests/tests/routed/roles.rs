//! Roles are verified, not believed.

use archipelago::{
    Client, ErrorKind, Event,
    routing::ExplainedNode,
    testing::{
        poll,
        servers::{Options, Server},
    },
};
use futures_util::StreamExt;
use redis::AsyncCommands;

#[tokio::test]
async fn a_replica_that_says_it_is_a_primary_is_not_used_and_told_of() {
    let primary = Server::redis(Options::default()).await.unwrap();
    let stranger = Server::redis(Options::default()).await.unwrap();
    let _: () = stranger.run(redis::cmd("SET").arg("name").arg("Eve")).await.unwrap();
    let text = format!(
        "[regions.us]\nurl = \"{}\"\nreplicas = {{ us = [\"{}\"] }}\n\
         [keyspaces.profiles]\nmode = \"routed\"\nrouting = {{ local_replica = true }}",
        primary.url(),
        stranger.url()
    );
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let mut events = client.events();
    let mut connection = client.connection("profiles").unwrap();
    for _ in 0..20 {
        assert_eq!(connection.get::<_, Option<String>>("name").await.unwrap(), None);
    }
    let explanation = connection.explain(redis::cmd("GET").arg("name")).unwrap();
    assert!(
        explanation.nodes.iter().any(|node| node.role == "replica" && node.availability == "down"),
        "{explanation}"
    );
    // As soon as it is what it should be, it is used.
    let port = primary.port().to_string();
    let _: () = stranger.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port)).await.unwrap();
    let mut said = Vec::new();
    loop {
        let event = tokio::time::timeout(poll::PATIENCE, events.next()).await.unwrap().unwrap();
        said.push(event.to_string());
        if matches!(&event, Event::NodeUp { node } if node.contains("replica")) {
            break;
        }
    }
    let explanation = connection.explain(redis::cmd("GET").arg("name")).unwrap();
    let is_used = |node: &ExplainedNode| node.role == "replica" && node.availability == "up";
    assert!(explanation.nodes.iter().any(is_used), "{explanation}\n{said:?}");
    client.shut_down().await;
}

#[tokio::test]
async fn a_primary_that_became_a_replica_takes_no_more_writes() {
    let us = Server::redis(Options::default()).await.unwrap();
    let other = Server::redis(Options::default()).await.unwrap();
    let text = format!("[regions.us]\nurl = \"{}\"\n[keyspaces.profiles]\nmode = \"routed\"", us.url());
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let mut events = client.events();
    let mut connection = client.connection("profiles").unwrap();
    let _: () = connection.set("name", "Ada").await.unwrap();
    let _: () = us.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(other.port())).await.unwrap();
    let error = connection.set::<_, _, ()>("name", "Bob").await.unwrap_err();
    let own = archipelago::Error::of(&error).unwrap();
    assert_eq!(own.kind(), ErrorKind::Unavailable, "certainly not applied: {own}");
    assert!(own.to_string().contains("ReadOnly"), "{own}");
    loop {
        let event = tokio::time::timeout(poll::PATIENCE, events.next()).await.unwrap().unwrap();
        if let Event::WrongRole { node, what } = event {
            assert!(&*node == "us/primary" && what.contains("replica"), "{node}: {what}");
            break;
        }
    }
    client.shut_down().await;
}

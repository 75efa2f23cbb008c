//! The examples of one file each, on real servers: what they assert of embedded regions holds there, too. Those in folders
//! have tests of their own.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

#[allow(dead_code, reason = "its `main` reads the command line")]
#[path = "../inventory.rs"]
mod inventory;
#[allow(dead_code, reason = "its `main` reads the command line")]
#[path = "../quickstart.rs"]
mod quickstart;
#[allow(dead_code, reason = "its `main` reads the command line")]
#[path = "../routing.rs"]
mod routing;

use archipelago::{
    Config,
    testing::servers::{Options, Server},
};

/// Regions of one server each, with an active-active keyspace.
async fn regions(names: &[&str]) -> (Config, Vec<Server>) {
    let mut servers = Vec::new();
    let mut text = "[keyspaces.default]\nmode = \"active-active\"\n".to_owned();
    for name in names {
        let server = Server::redis(Options::default()).await.unwrap();
        text += &format!("[regions.{name}]\nurl = \"{}\"\n", server.url());
        servers.push(server);
    }
    (text.parse().unwrap(), servers)
}

/// Also a second time on the same servers: an example cleans up after itself, or before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quickstart_asserts_the_same() {
    let (config, _servers) = regions(&["ap", "eu", "us"]).await;
    quickstart::run(Some(config.clone())).await.unwrap();
    quickstart::run(Some(config)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inventory_asserts_the_same() {
    let (config, _servers) = regions(&["eu", "us"]).await;
    inventory::run(Some(config.clone())).await.unwrap();
    inventory::run(Some(config)).await.unwrap();
}

/// The region that writes has a replica beside the client, in the other one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routing_asserts_the_same() {
    let eu = Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap();
    let us = Server::redis(Options::default()).await.unwrap();
    let text = format!(
        "local = \"us\"\n[regions.eu]\nurl = \"{}\"\nweight = 2\nreplicas = {{ us = [\"{}\"] }}\n\
         [regions.us]\nurl = \"{}\"\n[keyspaces.default]\nmode = \"active-active\"\n",
        eu.url(),
        eu.replicas().first().unwrap().url(),
        us.url()
    );
    let config: Config = text.parse().unwrap();
    routing::run(Some(config.clone())).await.unwrap();
    routing::run(Some(config)).await.unwrap();
}

/// Too few regions are no reason to panic.
#[tokio::test]
async fn one_region_is_too_few_and_that_is_said() {
    let (config, _servers) = regions(&["eu"]).await;
    let said = [quickstart::run(Some(config.clone())).await, inventory::run(Some(config)).await];
    for said in said.map(|said| said.unwrap_err().to_string()) {
        assert!(said.contains("needs two regions") || said.contains("needs three regions"), "{said}");
    }
}

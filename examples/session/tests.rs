//! The same promises on real servers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::time::Duration;

use archipelago::testing::{
    poll,
    proxy::ChaosProxy,
    servers::{Options, Server},
};

use crate::{check, shop::Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_its_promises_on_embedded_regions() {
    check::all(Shop::embedded(check::LAG).await.unwrap()).await.unwrap();
}

/// Holds a replica behind its primary, so that it shows who reads it too early.
async fn hold_behind(primary: &Server, behind: Duration) -> ChaosProxy {
    let line = ChaosProxy::before(primary.address()).await.unwrap();
    let replica = &primary.replicas()[0];
    let _: () = replica.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(line.port())).await.unwrap();
    let is_up = || async { (replica.info("master_link_status").await.ok()? == "up").then_some(()) };
    poll::until("the replica", is_up).await;
    line.delay(Duration::ZERO, behind);
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_its_promises_on_real_servers() {
    let us = Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap();
    let eu = Server::redis(Options::default()).await.unwrap();
    let _line = hold_behind(&us, Duration::from_millis(100)).await;
    let (us_url, copy, eu_url) = (us.url(), us.replicas()[0].url(), eu.url());
    let text = format!(
        "[regions.us]\nurl = \"{us_url}\"\nweight = 2\nreplicas = {{ eu = [\"{copy}\"] }}\n\
         [regions.eu]\nurl = \"{eu_url}\"\n"
    );
    check::all(Shop::configured(text.parse().unwrap()).await.unwrap()).await.unwrap();
}

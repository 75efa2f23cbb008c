//! The same promises on real servers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use archipelago::testing::servers::{Options, Server};

use crate::{check, shop::Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_its_promises_on_embedded_regions() {
    check::all(Shop::embedded(check::LAG).await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_keeps_its_promises_on_real_servers() {
    let us = Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap();
    let eu = Server::redis(Options::default()).await.unwrap();
    let (us_url, copy, eu_url) = (us.url(), us.replicas()[0].url(), eu.url());
    let text = format!(
        "[regions.us]\nurl = \"{us_url}\"\nweight = 2\nreplicas = {{ eu = [\"{copy}\"] }}\n\
         [regions.eu]\nurl = \"{eu_url}\"\n"
    );
    check::all(Shop::configured(text.parse().unwrap()).await.unwrap()).await.unwrap();
}

//! A process that increments one counter in every region of a configuration, and says on a line each how it went.
//!
//! `increment FILE SEED COUNT`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's process may panic")]

use std::{io::Write, time::Duration};

use archipelago::{Client, Config, ErrorKind};
use archipelago_tests::random::Rng;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let config = Config::from_file(arguments.next().expect("a file")).unwrap();
    let mut rng = Rng::new(arguments.next().expect("a seed").parse().unwrap());
    let count: usize = arguments.next().expect("a count").parse().unwrap();
    let mut clients = Vec::new();
    for region in config.regions.keys() {
        let builder = Client::builder().config(config.clone()).local_region(region.as_str());
        clients.push(builder.local_only().build().await.unwrap());
    }
    for _ in 0..count {
        let went = match rng.pick(&clients).counter("hits").add(1).await {
            Ok(_) => "acknowledged",
            Err(error) if error.is_maybe_applied() => "maybe",
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Server) => "refused",
            Err(error) => panic!("{error}"),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{went}").and_then(|()| out.flush()).unwrap();
        tokio::time::sleep(Duration::from_millis(rng.below(6) as u64)).await;
    }
    for client in &clients {
        client.shut_down().await;
    }
}

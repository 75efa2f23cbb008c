//! One connection of several hangs: the network swallows what goes over it, and TCP believes in it still.

use archipelago::testing::{
    proxy::ChaosProxy,
    servers::{Options, Server},
};
use archipelago::{Client, Config, ErrorKind, WriteStrength};

const CONNECTIONS: u64 = 2;

#[tokio::test]
async fn at_most_one_call_at_a_time_is_lost_to_a_connection_that_hangs() {
    hang_in_turn(WriteStrength::Local).await;
}

/// Whose deadline is shorter than the time that an answer may take: then nobody waits for the answer to the end.
#[tokio::test]
async fn at_most_one_strong_call_at_a_time_is_lost_to_a_connection_that_hangs() {
    hang_in_turn(WriteStrength::Regions(1)).await;
}

async fn hang_in_turn(strength: WriteStrength) {
    let server = Server::redis(Options::default()).await.unwrap();
    let proxy = ChaosProxy::before(server.address()).await.unwrap();
    let config: Config = format!(
        "[regions.here]\nurl = \"redis://{}\"\nconnections = {CONNECTIONS}\nresponse_timeout_ms = 500\n\
         [keyspaces.default]\nmode = \"active-active\"\npartitions = 2\ndeadline_ms = 200\n",
        proxy.address()
    )
    .parse()
    .unwrap();
    let client = Client::builder().config(config).local_region("here").build().await.unwrap();
    let counter = client.keyspace("default").unwrap().with_write(strength).counter("hits");
    counter.add(1).await.unwrap();
    let (mut acknowledged, mut maybe) = (1, 0);
    // Whichever of the two the calls go to, it is one of these.
    for connection in 0..CONNECTIONS {
        proxy.hang(connection);
        let mut lost = 0;
        for _ in 0..10 {
            match counter.add(1).await {
                Ok(_) => acknowledged += 1,
                Err(error) => {
                    // A strong call first asks where the region stands, and writes nothing where it hears nothing.
                    let is_unasked = strength != WriteStrength::Local && error.kind() == ErrorKind::Unavailable;
                    assert!(error.is_maybe_applied() || is_unasked, "{error}");
                    lost += 1;
                }
            }
        }
        // Each went there in turn until the heartbeat had missed two answers.
        assert!(lost <= 1, "{lost} calls were lost");
        maybe += lost;
    }
    proxy.heal().await.unwrap();
    let shown = counter.get().await.unwrap();
    assert!((acknowledged..=acknowledged + maybe).contains(&shown), "{acknowledged}, {maybe} maybe, {shown}");
    client.shut_down().await;
}

//! What a session's call costs a server: one transaction, and nothing while nothing was seen.

use archipelago::{
    sessions::Session,
    testing::servers::{Program, Server},
};
use archipelago_tests::world::Ground;

use crate::{impatient, on_partitions};

/// How often a server ran a command.
async fn calls(server: &Server, command: &str) -> u64 {
    let text: String = server.run(redis::cmd("INFO").arg("commandstats")).await.unwrap();
    let prefix = format!("cmdstat_{command}:calls=");
    text.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_call_is_one_transaction_at_the_local_region_and_plain_while_nothing_was_seen() {
    on_partitions(Ground::Servers(Program::Redis), 2, async |case| {
        let (here, there) = (&case.world.servers[0], &case.world.servers[1]);
        let session = impatient().build();
        let client = case.at(0, &session);
        for _ in 0..10 {
            assert_eq!(client.register::<u32>("r").get().await.unwrap(), None);
        }
        assert_eq!(calls(here, "exec").await, 0, "nothing to ask for");
        let elsewhere = calls(there, "evalsha").await;
        for n in 0..10 {
            client.register::<u32>("r").set(&n).await.unwrap();
            assert_eq!(client.register::<u32>("r").get().await.unwrap(), Some(n));
        }
        assert_eq!((calls(here, "multi").await, calls(here, "exec").await), (20, 20));
        assert_eq!(calls(there, "evalsha").await, elsewhere, "no other region is asked");
        let stranger = case.at(0, &Session::new());
        stranger.register::<u32>("r").get().await.unwrap();
        assert_eq!(calls(here, "exec").await, 20);
    })
    .await;
}

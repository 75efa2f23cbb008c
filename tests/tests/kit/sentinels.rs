//! Sentinels replace a primary, and are gone with their owner.

use archipelago::testing::servers::{Login, Options, Program, Sentinels};

use crate::servers::{assert_gone, traces};

#[tokio::test]
async fn a_killed_primary_is_replaced_and_comes_back_as_a_replica() {
    let mut sentinels = Sentinels::start(Program::Redis, Options::default(), 2).await.unwrap();
    assert_eq!(sentinels.primary().await, Some(0));
    let all = traces(sentinels.servers().iter().chain(sentinels.sentinels()));
    assert_eq!(all.len(), 6);
    let _: () = sentinels.servers()[0].run(redis::cmd("SET").arg("key").arg("kept")).await.unwrap();
    sentinels.servers_mut()[0].kill();
    let now = sentinels.primary_other_than(0).await.unwrap();
    assert_ne!(now, 0);

    sentinels.servers_mut()[0].restart().await.unwrap();
    let former = &sentinels.servers()[0];
    // On a busy machine the Sentinels may choose once more: what the first successor took is then lost.
    archipelago::testing::poll::until("the former primary follows whoever is the primary now", || async {
        let primary = &sentinels.servers()[sentinels.primary().await.filter(|now| *now != 0)?];
        let _: () = primary.run(redis::cmd("SET").arg("taken").arg("yes")).await.ok()?;
        let has_it = former.run::<String>(redis::cmd("GET").arg("taken")).await.ok()? == "yes";
        (has_it && former.info("role").await.ok()? == "slave").then_some(())
    })
    .await;
    drop(sentinels);
    assert_gone(&all);
}

#[tokio::test]
async fn a_failover_can_be_ordered_also_with_passwords() {
    let login = Some(Login::new("app", "p ss"));
    let sentinels = Sentinels::start(Program::Redis, Options { login, ..Options::default() }, 1).await.unwrap();
    assert_eq!(sentinels.failover().await.unwrap(), 1);
    assert_eq!(sentinels.urls().len(), 3);
}

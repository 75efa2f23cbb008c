//! A region whose data is a Redis Cluster.

use archipelago::{
    Client,
    testing::{
        poll,
        servers::{Cluster, Options, Program},
    },
};
use redis::AsyncCommands;

#[tokio::test]
async fn a_cluster_is_one_node_of_its_region() {
    let mut cluster = Cluster::start(Program::Redis, Options::default(), 1).await.unwrap();
    let urls = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    let text = format!("[regions.us]\ncluster = [{urls}]\n[keyspaces.profiles]\nmode = \"routed\"");
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let mut connection = client.connection("profiles").unwrap();
    for n in 0..100 {
        let _: () = connection.set(format!("key:{n}"), n).await.unwrap();
    }
    for n in 0..100 {
        assert_eq!(connection.get::<_, i64>(format!("key:{n}")).await.unwrap(), n);
    }
    let both: (i64, i64) =
        redis::pipe().atomic().incr("{a}x", 1).incr("{a}y", 1).query_async(&mut connection).await.unwrap();
    assert_eq!(both, (1, 1));
    // A primary dies; its replica takes over its slots.
    cluster.nodes_mut()[0].kill();
    for n in 0..100 {
        poll::until("every key", || {
            let mut connection = connection.clone();
            async move { (connection.get::<_, i64>(format!("key:{n}")).await.ok()? == n).then_some(()) }
        })
        .await;
    }
    client.shut_down().await;
}

//! A region whose data is a Redis Cluster: the user's keys, the gate and what is held share a slot.

use archipelago::{
    Client,
    homes::HomeRequest,
    testing::servers::{Cluster, Options, Program, Server},
};
use redis::AsyncCommands;

#[tokio::test]
async fn users_move_into_a_cluster_and_out_of_it() {
    let cluster = Cluster::start(Program::Redis, Options::default(), 0).await.unwrap();
    let single = Server::redis(Options::default()).await.unwrap();
    let urls = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "local = \"us\"\n[homes]\n[regions.us]\ncluster = [{urls}]\n[regions.eu]\nurl = \"{}\"\n\
         [keyspaces.profiles]\nmode = \"routed\"\nrouting = {{ policy = \"home-region\" }}\n",
        single.url()
    );
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let homes = client.homes("profiles").unwrap();
    for number in 0..10 {
        let user = format!("user:{number}");
        let _ = homes.home_of(&user, &HomeRequest::new().with_pin("us")).await.unwrap();
        let mut connection = homes.connection(&user).unwrap();
        let (a, b) = (connection.key("a"), connection.key("b"));
        redis::pipe().set(&a, number).set(&b, number).query_async::<()>(&mut connection).await.unwrap();
        for to in ["eu", "us", "eu"] {
            homes.migrate_home(&user, to).await.unwrap();
            assert_eq!(connection.mget::<_, Vec<i64>>(&[&a, &b]).await.unwrap(), [number, number]);
        }
    }
    client.shut_down().await;
}

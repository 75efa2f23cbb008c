//! The documented rights are enough, and not more than needed for a move.

use archipelago::{
    Client,
    homes::HomeRequest,
    testing::servers::{Login, Options, Server},
};
use redis::AsyncCommands;

const OWN: &str = "+incrby ~{*}:visits +ping +role +set +get ~archipelago:heartbeat:* ~archipelago:topology";

/// As `Homes` documents them.
const RIGHTS: &str = "+evalsha +eval +get +set +del +unlink +exists +hget +hset +hsetnx +hdel +hlen +hkeys +hexists +dump \
                      +restore +pttl +pexpiretime +time +memory|usage ~archipelago:gate:* ~archipelago:held:* \
                      ~archipelago:home:*";

async fn region(name: &str) -> (Server, String) {
    let more = vec![("user".to_owned(), format!("app on >hunter2 {OWN} {RIGHTS}"))];
    let options = Options { login: Some(Login::new("admin", "hunter1")), more, ..Options::default() };
    let server = Server::redis(options).await.unwrap();
    let text = format!("[regions.{name}]\nurl = \"{}\"\nusername = \"app\"\npassword = \"hunter2\"\n", server.url());
    (server, text)
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let ((_us, us), (_eu, eu)) = (region("us").await, region("eu").await);
    let text = format!(
        "local = \"us\"\n[homes]\n{us}{eu}[keyspaces.profiles]\nmode = \"routed\"\n\
         routing = {{ policy = \"home-region\" }}\n"
    );
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let homes = client.homes("profiles").unwrap();
    homes.home_of("ada", &HomeRequest::new().with_pin("us")).await.unwrap();
    let mut user = homes.connection("ada").unwrap();
    for visits in 1..4 {
        assert_eq!(user.incr::<_, _, i64>(user.key("visits"), 1).await.unwrap(), visits);
        homes.migrate_home("ada", if visits % 2 == 0 { "us" } else { "eu" }).await.unwrap();
    }
    client.shut_down().await;
}

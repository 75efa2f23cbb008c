//! The documented rights are enough, and not more than needed for a move.

use std::time::{Duration, SystemTime};

use archipelago::{
    Client,
    homes::HomeRequest,
    testing::servers::{Login, Options, Server},
};
use redis::AsyncCommands;

const OWN: &str = "+incrby ~{*}:visits +ping +role +set +get ~archipelago:heartbeat:* ~archipelago:topology";

/// As `Homes` documents them.
const RIGHTS: &str = "+pexpiretime +evalsha +eval +get +set +del +unlink +exists +hget +hset +hsetnx +hdel +hlen +hkeys +hexists +dump \
                      +restore +pttl +time +memory|usage ~archipelago:gate:* ~archipelago:held:* \
                      ~archipelago:home:*";

async fn region(name: &str, rights: &str) -> (Server, String) {
    let more = vec![("user".to_owned(), format!("app on >hunter2 {OWN} {rights}"))];
    let options = Options { login: Some(Login::new("admin", "hunter1")), more, ..Options::default() };
    let server = Server::redis(options).await.unwrap();
    let text = format!("[regions.{name}]\nurl = \"{}\"\nusername = \"app\"\npassword = \"hunter2\"\n", server.url());
    (server, text)
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    users_move(RIGHTS).await;
}

#[tokio::test]
async fn without_pexpiretime_as_in_redis_6_2_expiry_moves_too() {
    users_move(RIGHTS.strip_prefix("+pexpiretime ").unwrap()).await;
}

async fn users_move(rights: &str) {
    let ((us_server, us), (eu_server, eu)) = (region("us", rights).await, region("eu", rights).await);
    let text = format!(
        "local = \"us\"\n[homes]\n{us}{eu}[keyspaces.profiles]\nmode = \"routed\"\n\
         routing = {{ policy = \"home-region\" }}\n"
    );
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    let homes = client.homes("profiles").unwrap();
    homes.home_of("ada", &HomeRequest::new().with_pin("us")).await.unwrap();
    let mut user = homes.connection("ada").unwrap();
    let key = user.key("visits");
    let expires = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let expires = i64::try_from(expires.as_millis()).unwrap();
    for visits in 1..4 {
        assert_eq!(user.incr::<_, _, i64>(user.key("visits"), 1).await.unwrap(), visits);
        if visits == 1 {
            let _: () = us_server.run(redis::cmd("PEXPIREAT").arg(&key).arg(expires)).await.unwrap();
        }
        homes.migrate_home("ada", if visits % 2 == 0 { "us" } else { "eu" }).await.unwrap();
    }
    let moved: i64 = eu_server.run(redis::cmd("PEXPIRETIME").arg(&key)).await.unwrap();
    // Between two questions a server may be held up, but hardly for so long.
    assert!((moved - expires).abs() < 5_000, "{moved} for {expires}");
    client.shut_down().await;
}

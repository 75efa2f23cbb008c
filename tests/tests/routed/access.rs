//! Who may do what: users of least rights, wrong passwords, and passwords that change.

use std::sync::{Arc, Mutex};

use archipelago::{
    Builder, Client, Config, Connection, Credentials, CredentialsProvider, Event,
    engine::RegionId,
    routing::ExplainedNode,
    testing::{
        poll,
        servers::{Cluster, Login, Options, Program, Server},
    },
};
use futures_util::StreamExt;
use redis::AsyncCommands;

use crate::said::Said;

/// What the application itself needs in these tests.
const OWN: &str = "+get +set ~name";

/// A server (and replicas) with one more user. Nobody gets in without a name.
async fn server_with(rights: &str, replicas: usize) -> Server {
    let more = vec![("user".to_owned(), format!("app on >hunter2 {rights}"))];
    let options = Options { login: Some(Login::new("admin", "hunter1")), more, ..Options::default() };
    Server::redis(options).await.unwrap().with_replicas(replicas).await.unwrap()
}

fn config(region: &str, mode: &str) -> Config {
    format!("[regions.us]\n{region}\n[keyspaces.default]\nmode = \"{mode}\"\n").parse().unwrap()
}

fn app(server: &Server) -> String {
    let copies: Vec<_> = server.replicas().iter().map(|replica| format!("\"{}\"", replica.url())).collect();
    let replicas =
        if copies.is_empty() { String::new() } else { format!("replicas = {{ us = [{}] }}", copies.join(", ")) };
    format!(
        "url = \"{}\"\nusername = \"app\"\npassword = \"hunter2\"\nconnect_timeout_ms = 1000\n{replicas}",
        server.url()
    )
}

async fn build(server: &Server) -> (Client, Connection) {
    let client = Client::builder().config(config(&app(server), "routed")).build().await.unwrap();
    let connection = client.connection("default").unwrap();
    (client, connection)
}

async fn write(connection: &Connection, value: &str) {
    poll::until("a write", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", value).await.ok() }
    })
    .await;
}

/// The replica, as soon as it is up.
async fn replica(connection: &Connection) -> ExplainedNode {
    poll::until("the replica", || async {
        let explanation = connection.explain(redis::cmd("GET").arg("name")).unwrap();
        explanation.nodes.into_iter().find(|node| node.role == "replica" && node.availability == "up")
    })
    .await
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    for role in ["+role", "+info"] {
        let rights = format!("{OWN} +ping {role} ~archipelago:heartbeat:*");
        let server = server_with(&rights, 1).await;
        let (client, mut connection) = build(&server).await;
        let said = Said::by(&client);
        write(&connection, "Ada").await;
        assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada");
        poll::until("the replica's staleness", || async { replica(&connection).await.staleness_ms.map(|_| ()) }).await;
        let keys: Vec<String> = server.run(redis::cmd("KEYS").arg("archipelago:heartbeat:*")).await.unwrap();
        assert_eq!(keys.len(), 1, "{role}");
        assert!(!said.all().iter().any(|line| line.contains("is not used")), "{:#?}", said.all());
        client.shut_down().await;
    }
}

#[tokio::test]
async fn without_the_right_to_heartbeats_a_lost_role_is_noticed_all_the_same() {
    let server = server_with(&format!("{OWN} +ping +info"), 1).await;
    let other = Server::redis(Options::default()).await.unwrap();
    let (client, connection) = build(&server).await;
    let said = Said::by(&client);
    write(&connection, "Ada").await;
    replica(&connection).await;
    let keys: Vec<String> = server.run(redis::cmd("KEYS").arg("*")).await.unwrap();
    assert_eq!(keys, ["name"], "no heartbeat");
    // Nobody writes, and the probes may not.
    let _: () = server.run(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(other.port())).await.unwrap();
    said.until(&["us/primary is not used: it is a replica"]).await;
    client.shut_down().await;
}

#[tokio::test]
async fn a_server_that_may_not_tell_its_role_is_not_used_and_told_of() {
    let server = server_with(&format!("{OWN} +ping"), 0).await;
    let error = Client::builder().config(config(&app(&server), "routed")).build().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("user app of region us may run neither ROLE nor INFO"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    // Granted meanwhile, it is used.
    let _: () = server.run(redis::cmd("ACL").arg(&["SETUSER", "app", "+role"])).await.unwrap();
    let (client, connection) = build(&server).await;
    let said = Said::by(&client);
    write(&connection, "Ada").await;
    let _: () = server.run(redis::cmd("ACL").arg(&["SETUSER", "app", "-role"])).await.unwrap();
    let _: i64 = server.run(redis::cmd("CLIENT").arg(&["KILL", "USER", "app"])).await.unwrap();
    said.until(&["AccessDenied", "us/primary is not used: user app of region us may run neither"]).await;
    let _: () = server.run(redis::cmd("ACL").arg(&["SETUSER", "app", "+role"])).await.unwrap();
    write(&connection, "Bob").await;
    client.shut_down().await;
}

#[tokio::test]
async fn a_refused_login_names_user_and_region_and_no_password() {
    let server = server_with(&format!("{OWN} +ping +role"), 0).await;
    let wrong = app(&server).replace("hunter2", "hunter3");
    let none = format!("url = \"redis://{}\"\nconnect_timeout_ms = 1000", server.address());
    for mode in ["routed", "active-active"] {
        let error = Client::builder().config(config(&wrong, mode)).build().await.unwrap_err();
        let (text, debug) = (error.to_string(), format!("{error:?}"));
        assert!(text.contains("region us does not let user app in"), "{text}");
        assert!(!text.contains("hunter") && !debug.contains("hunter"), "{debug}");
    }
    let error = Client::builder().config(config(&none, "routed")).build().await.unwrap_err();
    assert!(error.to_string().contains("region us asks for a password, and none is configured"), "{error}");
}

/// The server's password changes, its connections end, and then the client's source of passwords changes.
async fn rotate(client: Client, servers: &[Server], change: impl FnOnce(&str)) {
    let connection = client.connection("default").unwrap();
    let said = Said::by(&client);
    write(&connection, "Ada").await;
    for server in servers {
        let rotated = ["SETUSER", "app", "resetpass", ">changed"];
        let _: () = server.run(redis::cmd("ACL").arg(&rotated)).await.unwrap();
        let _: i64 = server.run(redis::cmd("CLIENT").arg(&["KILL", "USER", "app"])).await.unwrap();
    }
    said.until(&["AccessDenied", "region us does not let user app in"]).await;
    change("changed");
    write(&connection, "Bob").await;
    let all = said.all().join("\n");
    assert!(!all.contains("hunter2") && !all.contains("changed: "), "{all}");
    assert!(!format!("{client:?}").contains("changed"), "{client:?}");
    client.shut_down().await;
}

fn provider(secret: &Arc<Mutex<String>>) -> impl CredentialsProvider + use<> {
    let secret = secret.clone();
    move |region: RegionId| {
        let password = secret.lock().unwrap().clone();
        async move {
            assert_eq!(region.as_str(), "us");
            Ok(Credentials::new("app", password))
        }
    }
}

fn builder(region: &str) -> Builder {
    Client::builder().config(config(region, "routed"))
}

#[tokio::test]
async fn a_new_password_in_the_file_needs_no_restart() {
    let server = server_with("+@all ~*", 0).await;
    let path = std::env::temp_dir().join(format!("archipelago-password-{}", std::process::id()));
    std::fs::write(&path, "hunter2\n").unwrap();
    let region = app(&server).replace("password = \"hunter2\"", &format!("password_file = \"{}\"", path.display()));
    let client = builder(&region).build().await.unwrap();
    rotate(client, &[server], |password| std::fs::write(&path, password).unwrap()).await;
    std::fs::remove_file(&path).unwrap();
    let server = server_with("+@all ~*", 0).await;
    let region = region.replace(region.lines().next().unwrap(), &format!("url = \"{}\"", server.url()));
    let error = builder(&region).build().await.unwrap_err();
    assert!(error.to_string().contains("region us: password_file"), "{error}");
}

#[tokio::test]
async fn a_provider_is_asked_at_every_connection() {
    let server = server_with("+@all ~*", 0).await;
    let secret = Arc::new(Mutex::new("hunter2".to_owned()));
    // It comes before what is configured.
    let region = app(&server).replace("\"hunter2\"", "\"configured\"");
    let builder = builder(&region).credentials(provider(&secret));
    assert!(!format!("{builder:?}").contains("hunter2") && !format!("{builder:?}").contains("configured"));
    let client = builder.build().await.unwrap();
    rotate(client, &[server], |password| secret.lock().unwrap().replace_range(.., password)).await;
}

/// The crate connects to a cluster's nodes by itself, with the password it was given first.
#[tokio::test]
async fn a_clusters_nodes_get_the_new_password_too() {
    let more = vec![(
        "user".to_owned(),
        "app on >hunter2 +get +set ~name ~archipelago:heartbeat:* +ping +cluster|slots".to_owned(),
    )];
    let cluster = Cluster::start(Program::Redis, Options { more, ..Options::default() }, 0).await.unwrap();
    let nodes = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    let secret = Arc::new(Mutex::new("hunter2".to_owned()));
    let region = format!("cluster = [{nodes}]\nconnect_timeout_ms = 1000");
    let client = builder(&region).credentials(provider(&secret)).build().await.unwrap();
    rotate(client, cluster.nodes(), |password| secret.lock().unwrap().replace_range(.., password)).await;
}

#[tokio::test]
async fn a_provider_that_fails_is_told_of_and_asked_again() {
    let server = server_with("+@all ~*", 0).await;
    let is_down = Arc::new(Mutex::new(false));
    let asked = is_down.clone();
    let provider = move |_: RegionId| {
        let is_down = *asked.lock().unwrap();
        async move { if is_down { Err("the vault is sealed".into()) } else { Ok(Credentials::password("hunter2")) } }
    };
    let client = builder(&app(&server)).credentials(provider).build().await.unwrap();
    let connection = client.connection("default").unwrap();
    let said = Said::by(&client);
    *is_down.lock().unwrap() = true;
    let _: i64 = server.run(redis::cmd("CLIENT").arg(&["KILL", "USER", "app"])).await.unwrap();
    said.until(&["AccessDenied", "the provider gives no credentials: the vault is sealed"]).await;
    *is_down.lock().unwrap() = false;
    write(&connection, "Ada").await;
    client.shut_down().await;
}

#[tokio::test]
async fn the_active_active_plane_logs_in_too_with_least_rights() {
    let rights = "+@read +@write +@scripting +@connection +info +time +unwatch +multi +exec ~{default:*";
    let (us, eu) = (server_with(rights, 0).await, server_with(rights, 0).await);
    let text = format!(
        "local = \"us\"\n[regions.us]\n{}\n[regions.eu]\n{}\n[keyspaces.default]\nmode = \"active-active\"\n",
        app(&us),
        app(&eu)
    );
    let client = Client::builder().config(text.parse().unwrap()).build().await.unwrap();
    assert!(client.missing_regions().is_empty(), "{:?}", client.missing_regions());
    client.counter("views").add(2).await.unwrap();
    client.register::<String>("banner").set("Sale").await.unwrap();
    client.set("tags").add("new").await.unwrap();
    client.sorted_set("board").add("ada", 10.0).await.unwrap();
    client.wait_converged(poll::PATIENCE).await.unwrap();
    let session = archipelago::sessions::Session::new();
    client.with_session(&session).counter("views").add(1).await.unwrap();
    assert_eq!(client.with_session(&session).counter("views").get().await.unwrap(), 3);
    client.shut_down().await;
    for server in [&us, &eu] {
        nothing_was_denied(server).await;
    }
}

/// Everything that the user's rights kept from being done is in the server's log.
async fn nothing_was_denied(server: &Server) {
    let log: redis::Value = server.run(redis::cmd("ACL").arg("LOG")).await.unwrap();
    assert!(matches!(&log, redis::Value::Array(entries) if entries.is_empty()), "{log:?}");
}

#[tokio::test]
async fn the_event_of_a_refusal_carries_node_and_reason() {
    let server = server_with("+@all ~*", 0).await;
    let (client, connection) = build(&server).await;
    write(&connection, "Ada").await;
    let mut events = client.events();
    let _: () = server.run(redis::cmd("ACL").arg(&["SETUSER", "app", "off"])).await.unwrap();
    let _: i64 = server.run(redis::cmd("CLIENT").arg(&["KILL", "USER", "app"])).await.unwrap();
    loop {
        let event = tokio::time::timeout(poll::PATIENCE, events.next()).await.unwrap().unwrap();
        if let Event::AccessDenied { node, what } = event {
            assert!(&*node == "us/primary" && what.contains("user app"), "{node}: {what}");
            break;
        }
    }
    client.shut_down().await;
}

#[tokio::test]
async fn a_login_in_the_address_works_as_ever() {
    let login = Some(Login::new("app", "p@ss w"));
    let server = Server::redis(Options { login, ..Options::default() }).await.unwrap();
    let client = builder(&format!("url = \"{}\"", server.url())).build().await.unwrap();
    write(&client.connection("default").unwrap(), "Ada").await;
    client.shut_down().await;
}

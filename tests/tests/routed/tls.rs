//! TLS on both planes. This crate's rustls panics where nobody has installed a provider of cryptography: see Cargo.toml.

use std::path::{Path, PathBuf};

use archipelago::{
    Client, Error, ErrorKind,
    testing::{
        poll,
        servers::{Certificates, Cluster, Options, Program, Sentinels, Server},
    },
};
use redis::AsyncCommands;

use crate::said::Said;

/// The files of a test, gone with it.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let name = format!("archipelago-tls-{}-{:?}", std::process::id(), std::thread::current().id());
        let directory = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(certificates: &Certificates) -> Options {
    Options { tls: Some(certificates.clone()), ..Options::default() }
}

fn trusting(ca: &Path) -> String {
    format!("tls = {{ ca = \"{}\" }}", ca.display())
}

/// A client of one region, with a keyspace of each plane.
async fn build(region: &str) -> Result<Client, Error> {
    let both = if region.contains("cluster") { "" } else { "[keyspaces.default]\nmode = \"active-active\"\n" };
    let text = format!("[regions.us]\n{region}\n[keyspaces.profiles]\nmode = \"routed\"\n{both}");
    Client::builder().config(text.parse()?).build().await
}

/// Writes and reads on both planes, and waits at the server for a link's sake.
async fn works(client: &Client) {
    let mut connection = client.connection("profiles").unwrap();
    poll::until("a write", || {
        let mut connection = connection.clone();
        async move { connection.set::<_, _, ()>("name", "Ada").await.ok() }
    })
    .await;
    assert_eq!(connection.get::<_, String>("name").await.unwrap(), "Ada");
    if let Ok(keyspace) = client.keyspace("default") {
        let views = keyspace.counter("views");
        assert_eq!(views.add(2).await.unwrap(), 2);
        assert_eq!(views.get().await.unwrap(), 2);
        // By the pool of exclusive connections: the entry is there, so it answers at once.
        let (store, partition) = (keyspace.store(), archipelago::partition_of(b"views", 16));
        let after = archipelago::engine::Version::default();
        let found = store.wait_for_entries(&[(partition, after)], poll::PATIENCE).await.unwrap();
        assert_eq!(found, [partition]);
    }
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_by_no_other() {
    let (files, certificates) = (Files::new(), Certificates::generate().unwrap());
    let server = Server::redis(options(&certificates)).await.unwrap();
    let url = format!("url = \"{}\"\nconnect_timeout_ms = 1000\n", server.url());
    let ca = files.write("ca.pem", certificates.authority());
    let client = build(&(url.clone() + &trusting(&ca))).await.unwrap();
    works(&client).await;
    client.shut_down().await;

    let stranger = files.write("stranger.pem", Certificates::generate().unwrap().authority());
    for region in [url.clone(), url.clone() + &trusting(&stranger)] {
        let error = build(&region).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    // A name that the certificate does not have.
    let error = build(&(url.replace("127.0.0.1", "127.0.0.2") + &trusting(&ca))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn what_cannot_be_used_is_a_config_error_that_names_the_key() {
    let (files, certificates) = (Files::new(), Certificates::generate().unwrap());
    let url = "url = \"rediss://127.0.0.1:1\"\n".to_owned();
    let empty = files.write("empty.pem", "");
    let broken = files.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    for (ca, word) in [(files.0.join("none.pem"), "No such file"), (empty, "no CERTIFICATE"), (broken, "tls")] {
        let error = build(&(url.clone() + &trusting(&ca))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let text = error.to_string();
        assert!(text.contains("regions.us: tls") && text.contains(word), "{text}");
    }
    let key = files.write("key.pem", certificates.key());
    let pair = format!("tls = {{ certificate = \"{0}\", key = \"{0}\" }}", key.display());
    let error = build(&(url + &pair)).await.unwrap_err();
    assert!(error.to_string().contains("tls.certificate"), "{error}");
    assert!(!certificates.key().lines().any(|line| error.to_string().contains(line)), "{error}");
}

#[tokio::test]
async fn a_server_may_ask_for_the_clients_certificate() {
    let (files, certificates) = (Files::new(), Certificates::generate().unwrap());
    let more = vec![("tls-auth-clients".to_owned(), "yes".to_owned())];
    let server = Server::redis(Options { more, ..options(&certificates) }).await.unwrap();
    let url = format!("url = \"{}\"\nconnect_timeout_ms = 1000\n", server.url());
    let ca = files.write("ca.pem", certificates.authority());
    let certificate = files.write("certificate.pem", certificates.certificate());
    let key = files.write("key.pem", certificates.key());
    let own = format!(
        "tls = {{ ca = \"{}\", certificate = \"{}\", key = \"{}\" }}",
        ca.display(),
        certificate.display(),
        key.display()
    );
    let client = build(&(url.clone() + &own)).await.unwrap();
    works(&client).await;
    client.shut_down().await;
    let error = build(&(url + &trusting(&ca))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn sentinels_and_what_they_watch_are_reached_over_tls() {
    let (files, certificates) = (Files::new(), Certificates::generate().unwrap());
    let sentinels = Sentinels::start(Program::Redis, options(&certificates), 1).await.unwrap();
    let ca = files.write("ca.pem", certificates.authority());
    let nodes = sentinels.urls().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    let region = format!("sentinel = {{ master = \"main\", nodes = [{nodes}] }}\n{}", trusting(&ca));
    let client = build(&region).await.unwrap();
    let said = Said::by(&client);
    works(&client).await;
    assert_eq!(sentinels.failover().await.unwrap(), 1);
    said.until(&["us/primary", "now, says Sentinel"]).await;
    let connection = client.connection("profiles").unwrap();
    poll::until("a write at the new primary", || {
        let (mut connection, new) = (connection.clone(), &sentinels.servers()[1]);
        async move {
            connection.set::<_, _, ()>("name", "Bob").await.ok()?;
            (new.run::<String>(redis::cmd("GET").arg("name")).await.ok()? == "Bob").then_some(())
        }
    })
    .await;
    client.shut_down().await;
}

#[tokio::test]
async fn a_cluster_is_reached_over_tls() {
    let (files, certificates) = (Files::new(), Certificates::generate().unwrap());
    let cluster = Cluster::start(Program::Redis, options(&certificates), 0).await.unwrap();
    let nodes = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", ");
    let region = format!("cluster = [{nodes}]\nconnect_timeout_ms = 1000\n");
    let ca = files.write("ca.pem", certificates.authority());
    let client = build(&(region.clone() + &trusting(&ca))).await.unwrap();
    works(&client).await;
    let mut connection = client.connection("profiles").unwrap();
    for n in 0..20 {
        let _: () = connection.set(format!("key:{n}"), n).await.unwrap();
    }
    client.shut_down().await;
    let error = build(&region).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// The connection of the active-active plane said "timed out" and no more: the timer of the crate went off before ours.
#[tokio::test]
async fn a_server_that_speaks_no_tls_is_suspected_of_that() {
    let server = Server::redis(Options::default()).await.unwrap();
    let url = server.url().replacen("redis://", "rediss://", 1);
    let client = build(&format!("url = \"{url}\"\nconnect_timeout_ms = 300")).await;
    let said = match client {
        Ok(client) => {
            let said = client.missing_regions().iter().map(|(_, error)| error.to_string()).collect();
            client.shut_down().await;
            said
        }
        Err(error) => error.to_string(),
    };
    assert!(said.contains("speak TLS"), "{said}");
}

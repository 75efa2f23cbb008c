//! `exec` with reads and writes that ask for more than the local region, on real servers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::{path::PathBuf, process::Output};

use archipelago::testing::servers::{Options, Server};
use tokio::process::Command;

struct World {
    servers: Vec<Server>,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(keyspace: &str) -> Self {
        let mut servers = Vec::new();
        let mut text = String::from("local = \"a\"\n");
        for name in ["a", "b", "c"] {
            let server = Server::redis(Options::default()).await.unwrap();
            text += &format!("[regions.{name}]\nurl = \"{}\"\nconnect_timeout_ms = 500\n", server.url());
            servers.push(server);
        }
        text += &format!("[keyspaces.default]\nmode = \"active-active\"\npartitions = 1\n{keyspace}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archipelago.toml");
        std::fs::write(&file, text).unwrap();
        let world = Self { servers, file, _folder: folder };
        // Regions that never heard of each other take no pushes.
        assert!(world.run(&["sync", "--until-idle"]).await.status.success());
        world
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
        command.env_remove("ARCHIPELAGO_REGION").arg("--config").arg(&self.file).args(arguments);
        command.output().await.unwrap()
    }

    async fn line(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

#[tokio::test]
async fn a_write_of_a_majority_is_read_by_a_majority_and_too_few_regions_are_an_error() {
    let mut world = World::start("").await;
    assert_eq!(world.line(&["exec", "--write", "all", "SET", "price", "120"]).await, "OK");
    assert_eq!(world.line(&["--region", "b", "exec", "--json", "GET", "price"]).await, "\"120\"");
    world.servers[2].kill();
    assert_eq!(world.line(&["exec", "--write", "majority", "INCRBY", "price", "3"]).await, "(integer) 123");
    assert_eq!(world.line(&["--region", "b", "exec", "--read", "merged:2", "GET", "price"]).await, "\"123\"");
    // Its own region is down.
    assert_eq!(world.line(&["--region", "c", "exec", "--read", "majority", "--json", "GET", "price"]).await, "\"123\"");

    let refused = world.run(&["exec", "-e", "--json", "--write", "all", "SADD", "tags", "x"]).await;
    assert!(!refused.status.success());
    let answer: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    let text = answer["error"].as_str().unwrap();
    assert!(text.starts_with("PARTLYAPPLIED") && text.contains("it is in a, b") && text.contains("c ("), "{text}");
    let refused = world.run(&["exec", "-e", "--read", "merged:3", "GET", "price"]).await;
    assert!(String::from_utf8(refused.stdout).unwrap().contains("TOOFEWANSWERS"));
    assert!(!world.run(&["exec", "--read", "merged:0", "GET", "price"]).await.status.success());
}

#[tokio::test]
async fn the_configuration_says_how_strong_commands_are() {
    let world = World::start("write = \"all\"\nread = \"merged:3\"\n").await;
    assert_eq!(world.line(&["exec", "SET", "price", "1"]).await, "OK");
    for region in ["b", "c"] {
        assert_eq!(world.line(&["--region", region, "exec", "--read", "local", "GET", "price"]).await, "\"1\"");
    }
    assert_eq!(world.line(&["exec", "--write", "local", "SET", "price", "2"]).await, "OK");
    assert_eq!(world.line(&["--region", "b", "exec", "--read", "local", "GET", "price"]).await, "\"1\"");
    assert_eq!(world.line(&["--region", "b", "exec", "GET", "price"]).await, "\"2\"");
}

//! `route` and `regions`, on one server that is up, one region that is down, and bad input.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use archipelago::testing::servers::{Options, Server};

/// A configuration file: `us` is up, `eu` is not, and the application's database of places is elsewhere.
struct World {
    _us: Server,
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl World {
    async fn start() -> Self {
        let us = Server::redis(Options::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archipelago.toml");
        let text = format!(
            "local = \"us\"\n[regions.us]\nurl = \"{}\"\nweight = 2\n[regions.eu]\nurl = \"redis://127.0.0.1:1\"\n\
             [keyspaces.profiles]\nmode = \"routed\"\n[keyspaces.default]\nmode = \"active-active\"\n\
             [homes.database]\npath = \"nowhere.mmdb\"\n",
            us.url()
        );
        std::fs::write(&file, text).unwrap();
        Self { _us: us, _folder: folder, file }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
        command.env_remove("ARCHIPELAGO_REGION").arg("--config").arg(&self.file).args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// What it prints, ending well.
    async fn see(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments).await;
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{arguments:?}: {err}");
        (out, err)
    }
}

#[tokio::test]
async fn a_command_is_explained_and_what_is_down_is_named() {
    let world = World::start().await;
    let (out, err) = world.see(&["route", "profiles", "GET", "name"]).await;
    assert!(out.starts_with("read of us's data\n#  node"), "{out}");
    assert!(err.contains("eu/primary cannot be reached"), "{err}");
    let (out, _) = world.see(&["route", "--json", "profiles", "SET", "name", "-1"]).await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["access"], &json["nodes"][0]["name"]), (&"write".into(), &"us/primary".into()));
}

#[tokio::test]
async fn nodes_are_shown_with_role_and_state() {
    let world = World::start().await;
    let (out, err) = world.see(&["regions"]).await;
    assert!(out.lines().any(|line| line.starts_with("us/primary  primary, writes  us")), "{out}");
    assert!(err.contains("eu/primary cannot be reached"), "{err}");
    let (out, _) = world.see(&["regions", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["active"], "us");
    let states: Vec<_> = [0, 1].map(|at| json["nodes"][at]["availability"].clone()).to_vec();
    assert_eq!(states, ["down", "up"], "{json}");
}

#[tokio::test]
async fn bad_input_says_what_is_wrong_and_fails() {
    let world = World::start().await;
    for (arguments, said, code) in [
        (vec!["route", "mars", "GET", "name"], "unknown keyspace \"mars\", known routed ones: profiles", 1),
        (vec!["route", "default", "GET", "name"], "is active-active", 1),
        (vec!["route", "profiles", "SUBSCRIBE", "news"], "SUBSCRIBE cannot run on a routed connection", 1),
        (vec!["route", "--home", "mars", "profiles", "GET", "name"], "unknown region \"mars\"", 1),
        (vec!["--region", "mars", "regions"], "unknown region \"mars\"", 1),
        (vec!["route", "profiles"], "COMMAND", 2),
    ] {
        let output = world.run(&arguments).await;
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn nodes_are_shown_from_nowhere_in_particular_when_no_region_is_named() {
    let world = World::start().await;
    let text = std::fs::read_to_string(&world.file).unwrap().replace("local = \"us\"\n", "");
    std::fs::write(&world.file, text).unwrap();
    let (out, _) = world.see(&["regions"]).await;
    assert!(out.contains("us/primary") && out.contains("eu/primary"), "{out}");
}

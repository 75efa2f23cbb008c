//! `promote` and `rejoin`, on real servers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::{path::PathBuf, process::Output};

use archipelago::testing::{
    poll,
    servers::{Options, Server},
};
use tokio::process::Command;

/// `us` with a replica in `eu`, and `eu` with a primary of its own.
struct World {
    us: Server,
    _eu: Server,
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl World {
    async fn start() -> Self {
        let us = Server::redis(Options::default()).await.unwrap().with_replicas(1).await.unwrap();
        let eu = Server::redis(Options::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archipelago.toml");
        let text = format!(
            "local = \"us\"\n[regions.us]\nurl = \"{}\"\nweight = 2\nreplicas = {{ eu = [\"{}\"] }}\nconnect_timeout_ms = 500\n\
             [regions.eu]\nurl = \"{}\"\n[keyspaces.profiles]\nmode = \"routed\"\n",
            us.url(),
            us.replicas()[0].url(),
            eu.url()
        );
        std::fs::write(&file, text).unwrap();
        Self { us, _eu: eu, folder, file }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
        command.env_remove("ARCHIPELAGO_REGION").arg("--config").arg(&self.file).args(arguments);
        command.output().await.unwrap()
    }

    async fn see(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.run(arguments).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

async fn set(server: &Server, key: &str, value: &str) {
    server.run::<()>(redis::cmd("SET").arg(key).arg(value)).await.unwrap();
}

#[tokio::test]
async fn the_writer_moves_and_moves_back() {
    let world = World::start().await;
    let (code, out, err) = world.see(&["promote", "--to", "eu"]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.starts_with("us/replica-1@eu writes us's data instead of us/primary, by epoch 1\nnothing was lost"),
        "{out}"
    );
    assert!(out.ends_with("us/primary follows\n"), "{out}");
    let (code, out, err) = world.see(&["promote", "--to", "us", "--json"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["to"], &json["epoch"]), (&"us/primary".into(), &2.into()));
}

#[tokio::test]
async fn without_the_old_writer_it_takes_force_and_what_it_took_is_kept() {
    let mut world = World::start().await;
    set(&world.us, "both", "1").await;
    world.us.replicas_in_sync().await.unwrap();
    world.us.pause().unwrap();
    let (code, _, err) = world.see(&["promote", "--to", "eu"]).await;
    assert!(code == 1 && err.contains("us/primary cannot be reached") && err.contains("--force"), "{err}");
    let (code, out, err) = world.see(&["promote", "--to", "eu", "--force"]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("nobody can say") && out.contains("last heard") && out.contains("us/primary does not follow"),
        "{out}"
    );
    world.us.resume().unwrap();
    set(&world.us, "alone", "2").await;
    let keep = world.folder.path().join("kept.jsonl");
    let (code, out, err) = world.see(&["rejoin", "us/primary", "--keep", keep.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.starts_with("us/primary follows us/replica-1@eu\nit had taken writes of its own: of 2 keys 1 differ"),
        "{out}"
    );
    assert!(std::fs::read_to_string(&keep).unwrap().contains("\"key\":\"alone\""));
    poll::until("it follows", || async { (world.us.info("role").await.ok()? == "slave").then_some(()) }).await;
    // Never over what was kept before.
    let (code, _, err) = world.see(&["rejoin", "us/primary", "--keep", keep.to_str().unwrap()]).await;
    assert!(code == 1 && err.contains("cannot create"), "{err}");
}

#[tokio::test]
async fn mistakes_are_named() {
    let world = World::start().await;
    for (arguments, what) in [
        (vec!["promote", "--to", "mars"], "unknown region \"mars\", known: eu, us"),
        (vec!["promote", "--to", "us"], "nothing can be promoted there"),
        (vec!["rejoin", "mars", "--keep", "/dev/null/x"], "cannot create"),
    ] {
        let (code, _, err) = world.see(&arguments).await;
        assert!(code == 1 && err.contains(what), "{arguments:?}: {err}");
    }
}

//! What the command line says beside its answers.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use archipelago::testing::servers::{Options, Server};
use tokio::process::Command;

/// Eviction destroys data without an error, so it is told without being asked for; the answer stays alone on its stream.
#[tokio::test]
async fn a_server_that_evicts_is_told_of() {
    for (policy, is_told) in [("allkeys-lru", true), ("noeviction", false)] {
        let more = vec![("maxmemory-policy".to_owned(), policy.to_owned())];
        let server = Server::redis(Options { more, ..Options::default() }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archipelago.toml");
        let url = server.url();
        let text = format!("[regions.a]\nurl = \"{url}\"\n[keyspaces.default]\nmode = \"active-active\"\n");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
        command.env_remove("RUST_LOG").arg("--config").arg(&file).args(["--region", "a", "exec", "SET", "k", "v"]);
        let output = command.output().await.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "OK\n");
        assert_eq!(told.contains("maxmemory-policy evicts keys"), is_told, "{policy}: {told}");
    }
}

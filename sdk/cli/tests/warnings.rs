//! What the command line says where things are not as they should be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test may panic")]

use std::{path::PathBuf, process::Stdio};

use archipelago::testing::servers::{Options, Server};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

/// One region, which the command line is told of.
struct Stage {
    server: Server,
    folder: TempDir,
}

impl Stage {
    async fn with(setting: &str, value: &str) -> Self {
        let more = vec![(setting.to_owned(), value.to_owned())];
        let server = Server::redis(Options { more, ..Options::default() }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = server.url();
        let text = format!("[regions.a]\nurl = \"{url}\"\n[keyspaces.default]\nmode = \"active-active\"\n");
        std::fs::write(folder.path().join("archipelago.toml"), text).unwrap();
        Self { server, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("archipelago.toml")
    }

    fn exec(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
        command.env_remove("RUST_LOG").arg("--config").arg(self.file()).args(["--region", "a", "exec"]);
        command
    }

    /// What it prints, and what it says beside that.
    async fn said(&self, words: &[&str]) -> (String, String) {
        let output = self.exec().args(words).output().await.unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// Eviction destroys data without an error, so it is told without being asked for; the answer stays alone on its stream.
#[tokio::test]
async fn a_server_that_evicts_is_told_of() {
    for (policy, is_told) in [("allkeys-lru", true), ("noeviction", false)] {
        let stage = Stage::with("maxmemory-policy", policy).await;
        let (printed, told) = stage.said(&["SET", "k", "v"]).await;
        assert_eq!(printed, "OK\n");
        // Once, over however many connections.
        assert_eq!(told.matches("maxmemory-policy evicts keys").count(), usize::from(is_told), "{policy}: {told}");
    }
}

/// A script's place in its source is of no use to anybody else.
#[tokio::test]
async fn a_full_server_says_so_as_it_does_to_anybody() {
    let stage = Stage::with("maxmemory", "0").await;
    assert_eq!(stage.said(&["SET", "k", "v"]).await.0, "OK\n");
    let _: () = stage.server.run(redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1)).await.unwrap();
    let plain: redis::RedisResult<()> = stage.server.run(redis::cmd("SET").arg("k").arg("v")).await;
    let plain = plain.unwrap_err();
    let plain = format!("{} {}\n", plain.code().unwrap(), plain.detail().unwrap());
    assert!(plain.starts_with("OOM command not allowed"), "{plain}");
    // A deletion has to be remembered, too.
    for words in [&["SET", "k", "w"][..], &["INCR", "n"], &["DEL", "k"]] {
        assert_eq!(stage.said(words).await.0, format!("(error) {plain}"));
    }
    assert_eq!(stage.said(&["GET", "k"]).await.0, "\"v\"\n");
}

#[tokio::test]
async fn a_missing_password_is_named_as_what_is_missing() {
    let stage = Stage::with("maxmemory", "0").await;
    let _: () = stage.server.run(redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("secret")).await.unwrap();
    let (printed, told) = stage.said(&["GET", "k"]).await;
    let expected = "archipelago: the region cannot be reached: region a asks for a password, and none is configured for user \
                    default (nothing was done)\n";
    assert_eq!((printed.as_str(), told.as_str()), ("", expected));
}

/// As `head` does: it has read what it wanted.
#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let stage = Stage::with("maxmemory", "0").await;
    let mut process = stage.exec().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    input.write_all(b"GET k\n").await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("(nil)"));
    drop(lines);
    input.write_all(b"GET k\n").await.unwrap();
    let output = process.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(141), String::new()));
    drop(input);
}

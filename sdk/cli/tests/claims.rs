//! Claims and conflicts on the command line, on real servers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use archipelago::testing::servers::{Options, Server};
use tokio::{io::AsyncWriteExt, process::Command};

struct World {
    servers: Vec<Server>,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let mut servers = Vec::new();
        let mut text = String::from("local = \"a\"\n[keyspaces.default]\nmode = \"active-active\"\npartitions = 1\n");
        for name in ["a", "b"] {
            let server = Server::redis(Options::default()).await.unwrap();
            text += &format!("[regions.{name}]\nurl = \"{}\"\nconnect_timeout_ms = 500\n", server.url());
            servers.push(server);
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archipelago.toml");
        std::fs::write(&file, text).unwrap();
        Self { servers, file, _folder: folder }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
        command.env_remove("ARCHIPELAGO_REGION").arg("--config").arg(&self.file).args(arguments);
        command.output().await.unwrap()
    }

    /// The answers to commands on standard input.
    async fn lines(&self, arguments: &[&str], input: &str) -> Vec<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
        command.env_remove("ARCHIPELAGO_REGION").arg("--config").arg(&self.file).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    async fn line(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

#[tokio::test]
async fn an_element_of_another_region_is_claimed_there() {
    let mut world = World::start().await;
    assert_eq!(world.line(&["exec", "RPUSH", "jobs", "one", "two"]).await, "(integer) 2");
    world.line(&["sync", "--until-idle"]).await;
    assert_eq!(world.line(&["--region", "b", "exec", "LCLAIM", "jobs", "LEFT"]).await, "\"one\"");
    assert_eq!(world.line(&["exec", "LRANGE", "jobs", "0", "-1"]).await, "1) \"two\"");
    world.servers[0].kill();
    let away = world.line(&["--region", "b", "exec", "LCLAIM", "jobs", "LEFT"]).await;
    assert!(away.starts_with("(error) UNAVAILABLE") && away.contains("a after"), "{away}");
    assert!(away.contains("1 elements wait there"), "{away}");
}

/// What is local needs no other region. A claim among the lines connects to them when it comes.
#[tokio::test]
async fn claims_on_standard_input_ask_other_regions_too() {
    let mut world = World::start().await;
    world.line(&["exec", "RPUSH", "jobs", "one", "two"]).await;
    world.line(&["sync", "--until-idle"]).await;
    let claims = "LLEN jobs\nLCLAIM jobs LEFT\nLLEN jobs\n";
    let answers = world.lines(&["--region", "b", "exec"], claims).await;
    assert_eq!(answers, ["(integer) 2", "\"one\"", "(integer) 1"]);
    world.servers[0].kill();
    let answers = world.lines(&["--region", "b", "exec"], claims).await;
    assert_eq!((&*answers[0], &*answers[2]), ("(integer) 1", "(integer) 1"));
    assert!(answers[1].starts_with("(error) UNAVAILABLE") && answers[1].contains("a after"), "{answers:?}");
    assert!(!answers[1].contains("not name it") && !answers[1].contains("local region alone"), "{answers:?}");
}

/// A region counts from its beginning: what is printed is what this run decided.
#[tokio::test]
async fn what_was_decided_is_told_once() {
    let world = World::start().await;
    for round in 0..3 {
        if round == 1 {
            for region in ["a", "b"] {
                world.line(&["--region", region, "exec", "SET", "price", region]).await;
            }
        } else if round == 0 {
            for region in ["a", "b"] {
                world.line(&["--region", region, "exec", "INCR", "first"]).await;
            }
        }
        let printed = world.line(&["sync", "--until-idle"]).await;
        let decided = printed.matches("concurrent writes decided: string value in ").count();
        assert_eq!(decided, if round == 1 { 2 } else { 0 }, "round {round}: {printed}");
        assert!(!printed.contains("so far"), "{printed}");
    }
    let json: serde_json::Value = serde_json::from_str(&world.line(&["sync", "--until-idle", "--json"]).await).unwrap();
    assert_eq!(json["resolved"], serde_json::json!({}), "{json}");
    assert_eq!(json["resolved_so_far"].as_object().unwrap().len(), 2, "{json}");
}

#[tokio::test]
async fn conflicts_are_printed_while_they_are_met() {
    let world = World::start().await;
    for region in ["a", "b"] {
        world.line(&["--region", region, "exec", "INCR", "first"]).await;
    }
    world.line(&["sync", "--until-idle"]).await;
    for (round, format) in [(0, "--json"), (1, "--conflicts")] {
        for region in ["a", "b"] {
            world.line(&["--region", region, "exec", "SET", "price", &format!("{region}{round}")]).await;
        }
        let mut arguments = vec!["sync", "--until-idle", "--conflicts", format];
        arguments.dedup();
        let printed = world.line(&arguments).await;
        if format == "--json" {
            let lines: Vec<serde_json::Value> =
                printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            // One for each region, and the result.
            assert_eq!(lines.len(), 3, "{printed}");
            assert_eq!((&lines[0]["event"], &lines[0]["rule"]), (&"resolved".into(), &"latest".into()), "{printed}");
            assert_eq!((&lines[0]["name"], &lines[0]["contenders"][1]["value"]), (&"price".into(), &"b0".into()));
            assert_eq!(lines[2]["idle"], true, "{printed}");
            let told = &lines[0]["contenders"][1];
            assert!(told["version"].is_u64() && told["time"].as_str().unwrap().ends_with('Z'), "{printed}");
        } else {
            assert_eq!(printed.matches("  not shown: \"a1\" of a/").count(), 2, "{printed}");
            assert_eq!(printed.matches("  shown: \"b1\" of b/").count(), 2, "{printed}");
            // RFC 3339 in UTC, to the microsecond.
            let time = printed.split(" at ").nth(1).unwrap().split(' ').next().unwrap();
            assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z'), "{printed}");
        }
    }
}

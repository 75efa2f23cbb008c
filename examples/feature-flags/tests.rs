//! The same promises on embedded regions and on real servers, and what commands answer.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use archipelago::testing::servers::{Options, Server};
use clap::Parser;
use serde_json::Value as Json;

use crate::{Arguments, check, regions::World, samples::SAMPLES};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_keep_their_promises_on_embedded_regions() {
    check::all(World::embedded().await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_keep_their_promises_on_real_servers() {
    let mut servers = Vec::new();
    let mut text = String::from("[keyspaces.default]\nmode = \"active-active\"\n");
    for name in ["eu", "us"] {
        let server = Server::redis(Options::default()).await.unwrap();
        text += &format!("[regions.{name}]\nurl = \"{}\"\n", server.url());
        servers.push(server);
    }
    check::all(World::configured(text.parse().unwrap()).await.unwrap()).await.unwrap();
}

/// What a command answers on sample flags, as JSON.
async fn run(world: &World, arguments: &[&str]) -> Result<Json, String> {
    let words = [&["feature-flags", "--json"][..], arguments].concat();
    let command = Arguments::try_parse_from(words).map_err(|error| error.to_string())?.command.unwrap();
    let answer = command.run(&world.flags[0], true).await.map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&answer).unwrap())
}

#[tokio::test]
async fn commands_answer_in_json() {
    let world = World::embedded().await.unwrap();
    for (name, definition) in SAMPLES {
        run(&world, &["set", name, definition]).await.unwrap();
    }
    let evaluate = ["evaluate", "sample-checkout", "--user", "x", "--attribute", "country=DE", "--attribute", "age=36"];
    let on = run(&world, &evaluate).await.unwrap();
    assert_eq!((&on["value"], &on["variant"], &on["reason"]), (&true.into(), &"on".into(), &"TARGETING_MATCH".into()));
    run(&world, &["kill", "sample-checkout"]).await.unwrap();
    let listed = run(&world, &["list"]).await.unwrap();
    assert_eq!(listed["flags"].as_array().unwrap().len(), SAMPLES.len());
    assert_eq!(listed["flags"][1]["name"], "sample-checkout");
    assert_eq!(listed["flags"][1]["is_killed"], true);
    assert_eq!(run(&world, &evaluate).await.unwrap()["reason"], "DISABLED");
    run(&world, &["revive", "sample-checkout"]).await.unwrap();
    assert_eq!(run(&world, &evaluate).await.unwrap()["value"], true);
    assert!(run(&world, &["kill", "nothing"]).await.unwrap_err().contains("there is no flag"));
    assert!(run(&world, &["evaluate", "nothing"]).await.unwrap_err().starts_with("FLAG_NOT_FOUND: "));
    assert!(run(&world, &["evaluate", "a", "--attribute", "b"]).await.unwrap_err().contains("NAME=VALUE"));
    world.close().await;
}

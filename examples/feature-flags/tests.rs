//! The same promises on embedded regions and on real servers, and what commands answer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

use std::{io::Write, net::TcpListener};

use archipelago::testing::{
    poll,
    servers::{Options, Server},
};
use clap::Parser;
use open_feature::{EvaluationContext, EvaluationErrorCode as Code, EvaluationReason, provider::FeatureProvider};
use serde_json::Value as Json;

use crate::{
    Arguments, check,
    provider::FlagProvider,
    regions::{self, World},
    samples::SAMPLES,
    store::Flags,
};

/// A file that names these regions.
fn file(regions: &[(&str, &str)]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let first = regions[0].0;
    writeln!(file, "local = \"{first}\"\n[keyspaces.default]\nmode = \"active-active\"").unwrap();
    for (name, url) in regions {
        writeln!(file, "[regions.{name}]\nurl = \"{url}\"").unwrap();
    }
    file
}

/// The address of a port that nobody listens on.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("redis://127.0.0.1:{port}")
}

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

/// From the moment that the near cache was told of a kill, nobody is served a rule of the flag.
async fn a_kill_wins_as_soon_as_it_is_told(flags: [&Flags; 2]) {
    let [writer, reader] = flags;
    writer
        .set(
            "told",
            r#"{"type": "boolean", "variants": {"on": true, "off": false}, "default": "off", "rules": [
        {"serve": "on"}]}"#,
        )
        .await
        .unwrap();
    let (provider, anybody) = (FlagProvider::new(reader.clone()), EvaluationContext::default());
    let asked = async || provider.resolve_bool_value("told", &anybody).await.unwrap();
    for _ in 0..50 {
        // Held, both parts: the next evaluations take no network.
        poll::until("the flag is alive and held", async || {
            let (is_on, before) = (asked().await.value, reader.near().stats());
            asked().await;
            let after = reader.near().stats();
            (is_on && after.misses == before.misses && after.hits == before.hits + 2).then_some(())
        })
        .await;
        let before = reader.near().stats().invalidations;
        let (killed, ()) = tokio::join!(writer.kill("told"), async {
            while reader.near().stats().invalidations == before {
                asked().await;
                tokio::task::yield_now().await;
            }
            let details = asked().await;
            assert_eq!((details.value, details.reason), (false, Some(EvaluationReason::Disabled)));
        });
        killed.unwrap();
        writer.revive("told").await.unwrap();
    }
    writer.remove("told").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_wins_as_soon_as_it_is_told_on_an_embedded_region() {
    let world = World::embedded().await.unwrap();
    a_kill_wins_as_soon_as_it_is_told([&world.flags[0], &world.flags[0]]).await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_wins_as_soon_as_it_is_told_on_a_real_server() {
    let server = Server::redis(Options::default()).await.unwrap();
    let file = file(&[("eu", &server.url())]);
    let (here, there) = tokio::join!(regions::open(file.path(), None), regions::open(file.path(), None));
    let ((writer, writes), (reader, reads)) = (here.unwrap(), there.unwrap());
    a_kill_wins_as_soon_as_it_is_told([&writes, &reads]).await;
    writer.shut_down().await;
    reader.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_dies_is_an_error_in_words_until_it_is_back() {
    let mut server = Server::redis(Options::durable()).await.unwrap();
    let (client, flags) = regions::open(file(&[("eu", &server.url())]).path(), None).await.unwrap();
    flags.set(SAMPLES[2].0, SAMPLES[2].1).await.unwrap();
    let (provider, anybody) = (FlagProvider::new(flags.clone()), EvaluationContext::default());
    let asked = async || provider.resolve_float_value(SAMPLES[2].0, &anybody).await;
    assert_eq!(asked().await.unwrap().value, 0.0);
    server.kill();
    let error = poll::until("an error", async || asked().await.err()).await;
    let said = error.message.unwrap();
    assert!(error.code == Code::General("UNREADABLE".to_owned()) && said.contains("cannot be read"), "{said}");
    assert!(flags.kill(SAMPLES[2].0).await.is_err());
    server.restart().await.unwrap();
    poll::until("an answer", async || asked().await.ok()).await;
    client.shut_down().await;
}

#[tokio::test]
async fn what_cannot_begin_says_why() {
    let here = Server::redis(Options::default()).await.unwrap();
    let said = async |file: &tempfile::NamedTempFile, words: &[&str]| {
        let path = file.path().to_str().unwrap();
        let arguments = [&["feature-flags", "--config", path][..], words].concat();
        let said = crate::run(&Arguments::try_parse_from(arguments).unwrap()).await.unwrap_err().to_string();
        assert!(!said.contains(char::is_control) && said.len() < 500, "{said:?}");
        said
    };
    let one = file(&[("eu", &here.url())]);
    assert!(said(&one, &["--check"]).await.contains("needs two regions"));
    let dead = file(&[("eu", &nobody()), ("us", &nobody())]);
    for words in [&["list"][..], &["kill", "a"], &["evaluate", "a"], &["--check"]] {
        let said = said(&dead, words).await;
        assert!(said.contains("eu") && said.contains("refused"), "{words:?}: {said}");
    }
    let elsewhere = said(&one, &["--region", "mars", "list"]).await;
    assert!(elsewhere.contains("mars"), "{elsewhere}");
    let mut garbage = tempfile::NamedTempFile::new().unwrap();
    garbage.write_all(b"\x1b[2J\0 = [").unwrap();
    said(&garbage, &["list"]).await;
}

/// What a command answers on sample flags, as JSON.
async fn run(world: &World, arguments: &[&str]) -> Result<Json, String> {
    let words = [&["feature-flags", "--json"][..], arguments].concat();
    let command = Arguments::try_parse_from(words).map_err(|error| error.to_string())?.command.unwrap();
    let answer = command.run(&world.flags[0], true).await.map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&answer.text).unwrap())
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
    for odd in [&["--attribute", "b"][..], &["--attribute", "=b"], &["--user", ""]] {
        let said = run(&world, &[&["evaluate", "sample-checkout"][..], odd].concat()).await.unwrap_err();
        assert!(said.contains("expected"), "{odd:?}: {said}");
    }
    let twice = ["evaluate", "sample-checkout", "--attribute", "age=1", "--attribute", "age=2"];
    assert!(run(&world, &twice).await.unwrap_err().contains("given twice"));
    let twice = r#"{"type": "boolean", "variants": {"on": true, "on": false}, "default": "on"}"#;
    assert!(run(&world, &["set", "twice", twice]).await.unwrap_err().contains("stands in one object twice"));
    absurd_words_are_inert(&world).await;
    world.close().await;
}

/// On a command line everything is text, and no text is a mistake of the program's.
async fn absurd_words_are_inert(world: &World) {
    for number in ["NaN", "inf", "-inf", "1e400", "-0", "1e308", "9223372036854775808", "1".repeat(400).as_str()] {
        let attribute = format!("age={number}");
        let asked =
            ["evaluate", "sample-checkout", "--user", "x", "--attribute", "country=DE", "--attribute", &attribute];
        let answer = run(world, &asked).await.unwrap();
        // No number, none that JSON has, or one like any other: 18 and more is for adults.
        let is_adult = ["1e308", "9223372036854775808"].contains(&number) || number.starts_with("111");
        let is_adult = is_adult && number.parse::<f64>().is_ok_and(f64::is_finite);
        assert_eq!(answer["reason"] == "TARGETING_MATCH", is_adult, "{number}: {answer}");
    }
    let long = "x".repeat(100_000);
    for name in ["", " ", "<img src=x onerror=boo>", "\u{1b}[2J", "a\nb", "\u{202e}", "é", &long] {
        for command in ["evaluate", "kill", "revive"] {
            let said = run(world, &[command, "--", name]).await.unwrap_err();
            assert!(said.len() < 300 && !said.contains(char::is_control), "{command}: {said:?}");
        }
        let said = run(world, &["set", "--", name, "{}"]).await.unwrap_err();
        assert!(said.len() < 300 && !said.contains(char::is_control), "{said:?}");
        // As a user, or as what is known of one, it is like any other.
        let attribute = format!("email={name}");
        let user = name.get(..1024).filter(|cut| !cut.is_empty()).unwrap_or("x");
        run(world, &["evaluate", "sample-page-size", "--user", user, "--attribute", &attribute]).await.unwrap();
    }
    for definition in ["", "null", "[]", "{", "\u{1b}", "1e400", "{\"type\": \"\u{1}\"}", "{\"\\u001b[2J\": 1}", &long]
    {
        let said = run(world, &["set", "odd", definition]).await.unwrap_err();
        assert!(said.len() < 300 && !said.contains(char::is_control), "{said:?}");
    }
    // Somebody else wrote it, past every check: listed and evaluated without moving a cursor.
    let odd = serde_json::json!({"type": "\u{1b}[2J", "default": long, "rules": {}, "\u{7}": 1});
    world.flags[0].set_unchecked("sample-odd", &odd).await.unwrap();
    let words =
        |words: &[&str]| Arguments::try_parse_from([&["feature-flags"][..], words].concat()).unwrap().command.unwrap();
    // And bytes that are no JSON at all: neither hides the others, and whoever lists them is told which is bad.
    let raw = world.flags[0].clone();
    raw.set_bytes("sample-broken", b"{\"type\": \x1b").await;
    raw.set_bytes("sample-twice", br#"{"type": "boolean", "variants": {"a": true, "a": false}, "default": "a"}"#).await;
    let listed = words(&["list"]).run(&world.flags[0], false).await.unwrap();
    assert!(!listed.is_whole);
    let listed = listed.text;
    assert!(listed.contains("sample-odd") && !listed.replace('\n', "").contains(char::is_control), "{listed:?}");
    assert!(listed.contains("\nsample-broken: ") && listed.contains("\nsample-twice: the name \"a\""), "{listed:?}");
    assert!(SAMPLES.iter().all(|(name, _)| listed.contains(name)), "{listed:?}");
    let listed = run(world, &["list"]).await.unwrap();
    let bad = |flag: &&Json| flag.get("malformed").is_some();
    let bad: Vec<_> = listed["flags"].as_array().unwrap().iter().filter(bad).map(|flag| &flag["name"]).collect();
    assert_eq!(bad, ["sample-broken", "sample-odd", "sample-twice"]);
    for name in ["sample-broken", "sample-twice"] {
        world.flags[0].remove(name).await.unwrap();
    }
    let said = words(&["evaluate", "sample-odd"]).run(&world.flags[0], false).await.unwrap_err().to_string();
    assert!(said.contains("malformed") && !said.contains(char::is_control), "{said:?}");
    world.flags[0].remove("sample-odd").await.unwrap();
}

//! The documented table of concurrent operations, line by line: both operations, each in its own region, then what every
//! region shows. The table is the one in the docs, so it cannot say what does not hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::sync::Arc;

use archipelago::{
    exec::{Interpreter, split_line},
    store::Store,
    testing::{
        poll,
        servers::{Options, Program},
    },
};
use archipelago_tests::world::{self, Ground, World, settle};
use bytes::Bytes;

/// A line of the table. Its key `k` is one of its own.
struct Line {
    number: usize,
    before: Vec<String>,
    here: Vec<String>,
    there: Vec<String>,
    read: String,
    expected: String,
}

fn table() -> Vec<Line> {
    let lines = include_str!("../../sdk/src/docs/rules.md").lines().enumerate().skip(2);
    let line = |(at, text): (usize, &str)| {
        let cells: Vec<&str> = text.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, before, here, there, read, expected] = cells[..] else { panic!("line {}: {text}", at + 1) };
        let commands = |cell: &str| match cell {
            "-" => Vec::new(),
            cell => cell.split(';').map(|command| command.trim().to_owned()).collect(),
        };
        Line {
            number: at + 1,
            before: commands(before),
            here: commands(here),
            there: commands(there),
            read: read.to_owned(),
            expected: expected.to_owned(),
        }
    };
    lines.map(line).collect()
}

/// Executes a line's command on the line's own key.
async fn execute(store: &Arc<dyn Store>, number: usize, command: &str) -> String {
    let own = Bytes::from(format!("k{number}"));
    let words = split_line(command).unwrap();
    let words: Vec<Bytes> = words.into_iter().map(|word| if word == "k" { own.clone() } else { word }).collect();
    Interpreter::new(store.clone()).execute(&words).await.to_line()
}

async fn run_all(store: &Arc<dyn Store>, lines: &[Line], commands: impl Fn(&Line) -> &Vec<String>) {
    for line in lines {
        for command in commands(line) {
            let reply = execute(store, line.number, command).await;
            assert!(!reply.starts_with("(error)"), "line {}: {command}: {reply}", line.number);
        }
    }
}

/// Whether a reply is what the table says; `~n` is a time to live that has begun to run.
fn is_as_expected(expected: &str, found: &str) -> bool {
    let Some(seconds) = expected.strip_prefix('~') else { return expected == found };
    let seconds: i64 = seconds.parse().unwrap();
    let left = found.strip_prefix("(integer) ").and_then(|left| left.parse::<i64>().ok());
    left.is_some_and(|left| (seconds - 100..=seconds).contains(&left))
}

/// Later on every clock: what the second region does counts as the later write.
async fn clocks_go_on(stores: &[Arc<dyn Store>]) {
    let mut latest = 0;
    for store in stores {
        latest = latest.max(store.clock().await.unwrap().as_millis());
    }
    for store in stores {
        poll::until("the clocks go on", || async {
            (store.clock().await.unwrap().as_millis() > latest + 1).then_some(())
        })
        .await;
    }
}

async fn hold(ground: Ground) {
    let Some(world) = World::with(ground, Options::default(), world::settings()).await else {
        println!("not run: no valkey-server in the path, and VALKEY_SERVER names none");
        return;
    };
    let clients = world.idle_clients().await;
    let stores: Vec<Arc<dyn Store>> = clients.iter().map(world::store).collect();
    let lines = table();
    assert!(lines.len() > 40, "only {} lines", lines.len());
    run_all(&stores[2], &lines, |line| &line.before).await;
    settle(&clients[0]).await;
    clocks_go_on(&stores).await;
    run_all(&stores[0], &lines, |line| &line.here).await;
    clocks_go_on(&stores).await;
    run_all(&stores[1], &lines, |line| &line.there).await;
    settle(&clients[0]).await;
    let mut wrong = Vec::new();
    for store in &stores {
        for line in &lines {
            let found = execute(store, line.number, &line.read).await;
            if !is_as_expected(&line.expected, &found) {
                wrong.push(format!("line {} in {}: {} is {found}", line.number, store.region(), line.read));
            }
        }
    }
    assert!(wrong.is_empty(), "the table says otherwise:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_line_of_the_rule_table_holds_on_embedded_regions() {
    hold(Ground::Embedded).await;
}

#[tokio::test]
async fn every_line_of_the_rule_table_holds_on_redis() {
    hold(Ground::Servers(Program::Redis)).await;
}

#[tokio::test]
async fn every_line_of_the_rule_table_holds_on_valkey() {
    hold(Ground::Servers(Program::Valkey)).await;
}

#[test]
fn the_comparison_finds_what_differs() {
    for (expected, found) in [("\"1\"", "\"2\""), ("~2000", "(integer) 1000"), ("~2000", "(integer) -1"), ("~10", "x")]
    {
        assert!(!is_as_expected(expected, found), "{expected} {found}");
    }
    assert!(is_as_expected("~2000", "(integer) 1999"));
}

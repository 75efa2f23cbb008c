//! The table as a table, and the decisions it leads to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::time::Duration;

use super::{Access, Blocking, Command, Placement, Refusal, lookup::row_of, of_cmd, of_pipeline, table::ROWS};

#[test]
fn rows_are_sorted_and_none_is_double() {
    for pair in ROWS.windows(2) {
        assert!(pair[0].name < pair[1].name, "{} before {}", pair[0].name, pair[1].name);
    }
}

#[test]
fn every_row_is_found_under_its_name_in_any_case() {
    for row in ROWS {
        let name = row.name.to_lowercase();
        let (name, subcommand) = name.split_once(' ').map_or((name.as_str(), None), |(name, sub)| (name, Some(sub)));
        let found = row_of(name.as_bytes(), subcommand.map(str::as_bytes)).map(|row| row.name);
        assert_eq!(found, Some(row.name));
    }
}

#[test]
fn a_subcommand_has_a_container() {
    for row in ROWS {
        let (container, _) = row.name.split_once(' ').unwrap_or((row.name, ""));
        assert!(row_of(container.as_bytes(), None).is_some(), "{}", row.name);
    }
}

#[test]
fn an_argument_that_looks_like_a_subcommand_belongs_to_no_container() {
    assert_eq!(Command::new([b"GET".as_slice(), b"ENCODING"].into_iter()).name(), Some("GET"));
    assert_eq!(Command::new([b"CONFIG GET".as_slice(), b"save"].into_iter()).name(), None, "one word with a space");
}

#[test]
fn names_longer_than_any_are_unknown() {
    let long = [b'A'; 1000];
    assert_eq!(Command::new([long.as_slice()].into_iter()).name(), None);
    assert_eq!(Command::new([b"CONFIG".as_slice(), &long].into_iter()).name(), Some("CONFIG"));
    assert_eq!(Command::new([].into_iter()).name(), None);
}

/// The answers about one command, in the notation of the decision table.
fn answers(words: &[&str]) -> String {
    let words: Vec<&[u8]> =
        words.iter().map(|word| if *word == "_" { b"".as_slice() } else { word.as_bytes() }).collect();
    let command = Command::new(words.iter().copied());
    let keys: Vec<String> = command.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
    let access = match command.access() {
        Access::Read => "read",
        Access::Write => "write",
    };
    let blocking = match command.blocking() {
        None => "-".to_owned(),
        Some(Blocking::Forever) => "forever".to_owned(),
        Some(Blocking::Malformed) => "malformed".to_owned(),
        Some(Blocking::AtMost(timeout)) => format!("{timeout:?}"),
    };
    let parts = [
        access.to_owned(),
        if command.is_idempotent() { "yes" } else { "no" }.to_owned(),
        format!("{:?}", command.placement()),
        if keys.is_empty() { "-".to_owned() } else { keys.join(" ") },
        blocking,
        command.refusal().map_or_else(|| "-".to_owned(), |refusal| format!("{refusal:?}")),
    ];
    parts.join(" | ")
}

#[test]
fn decisions_are_as_written_down() {
    let lines = include_str!("testdata/decisions.txt").lines();
    let decisions = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    let wrong: Vec<String> = decisions
        .filter_map(|line| {
            let (words, expected) = line.split_once(" | ").unwrap();
            let found = answers(&words.split(' ').collect::<Vec<_>>());
            (found != expected).then(|| format!("{words}\n  expected {expected}\n  found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_redis_cmd_answers_like_its_words() {
    let mut cmd = redis::cmd("SSCAN");
    cmd.arg("k").cursor_arg(7).arg("COUNT").arg(5);
    let command = of_cmd(&cmd);
    assert_eq!((command.name(), command.placement()), (Some("SSCAN"), Placement::Keyed));
    assert!(command.keys().eq([b"k"]));
}

#[test]
fn nothing_shows_an_argument() {
    let cmd = redis::Cmd::set("secret-key", "secret-value");
    let command = of_cmd(&cmd);
    let mut pipeline = redis::pipe();
    pipeline.add_command(cmd.clone());
    let shown = format!("{command:?} {:?} {:?}", command.keys(), of_pipeline(&pipeline));
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn every_refusal_tells_what_to_do() {
    for (refusal, call) in [
        (Refusal::Transaction, "connection.exclusive(key)"),
        (Refusal::Subscription, "client.subscribe(..)"),
        (Refusal::Topology, "archipelago promote"),
        (Refusal::Server, "redis::Client"),
    ] {
        assert!(refusal.to_string().contains(call), "{refusal}");
    }
}

#[test]
fn a_long_timeout_can_be_added_to_an_instant() {
    let words = [b"BLPOP".as_slice(), b"k", b"179769313486231570000000000000000000000"];
    let Some(Blocking::AtMost(timeout)) = Command::new(words.into_iter()).blocking() else { panic!("a timeout") };
    assert!(std::time::Instant::now().checked_add(timeout).is_some());
    let words = [b"XREAD".as_slice(), b"BLOCK", b"18446744073709551615", b"STREAMS", b"k", b"$"];
    assert_eq!(Command::new(words.into_iter()).blocking(), Some(Blocking::AtMost(Duration::from_secs(31_536_000))));
}

mod batches {
    use super::*;

    fn pipeline(lines: &[&str]) -> redis::Pipeline {
        let mut pipeline = redis::pipe();
        for line in lines {
            let mut words = line.split(' ');
            pipeline.add_command(redis::cmd(words.next().unwrap())).arg(words.collect::<Vec<_>>());
        }
        pipeline
    }

    fn is_idempotent(lines: &[&str]) -> bool {
        of_pipeline(&pipeline(lines)).is_idempotent()
    }

    #[test]
    fn one_write_makes_a_write_and_one_key_makes_it_keyed() {
        let of = |lines: &[&str]| {
            let pipeline = pipeline(lines);
            let batch = of_pipeline(&pipeline);
            (batch.access(), batch.placement())
        };
        assert_eq!(of(&[]), (Access::Read, Placement::Anywhere));
        assert_eq!(of(&["PING", "GET a"]), (Access::Read, Placement::Keyed));
        assert_eq!(of(&["GET a", "SET a 1", "GET a"]), (Access::Write, Placement::Keyed));
        assert_eq!(of(&["PING", "PUBLISH c m"]), (Access::Write, Placement::Writer));
        assert_eq!(of(&["SCRIPT LOAD x", "EVALSHA x 1 a"]), (Access::Write, Placement::Keyed));
        assert_eq!(of(&["SCRIPT LOAD x"]), (Access::Read, Placement::EveryNode));
    }

    #[test]
    fn keys_come_in_order() {
        let pipeline = pipeline(&["MGET a b", "PING", "SET a 1"]);
        assert!(of_pipeline(&pipeline).keys().eq([b"a", b"b", b"a"]));
    }

    #[test]
    fn the_first_refused_command_is_named() {
        let of = |lines: &[&str]| of_pipeline(&pipeline(lines)).refusal();
        assert_eq!(of(&["GET a", "WATCH a", "MULTI"]), Some((1, Refusal::Transaction)));
        assert_eq!(of(&["GET a", "BLPOP q 1"]), Some((1, Refusal::InPipeline)));
        assert_eq!(of(&["XREAD BLOCK 5 STREAMS a $"]), Some((0, Refusal::InPipeline)));
        assert_eq!(of(&["XREAD STREAMS a 0"]), None);
        assert_eq!(of(&["SCAN 0"]), Some((0, Refusal::InPipeline)));
        assert_eq!(of(&["SCRIPT FLUSH"]), Some((0, Refusal::InPipeline)));
        assert_eq!(of(&["FUNCTION LOAD x"]), Some((0, Refusal::InPipeline)));
        assert_eq!(of(&["SCRIPT LOAD x", "EVALSHA x 1 a"]), None);
    }

    #[test]
    fn only_a_transaction_needs_one_slot() {
        let mut pipeline = pipeline(&["SET a 1", "SET b 1"]);
        assert!(!of_pipeline(&pipeline).needs_one_slot());
        assert!(of_pipeline(pipeline.atomic()).needs_one_slot());
    }

    #[test]
    fn repeating_a_batch_takes_more_than_repeatable_commands() {
        assert!(is_idempotent(&[]));
        assert!(is_idempotent(&["GET a", "GET a"]));
        assert!(is_idempotent(&["SADD a x", "EXPIRE a 60"]));
        assert!(is_idempotent(&["SET a 1", "SET a 2", "GET a"]));
        assert!(is_idempotent(&["GET a", "SET b 1"]));
        assert!(is_idempotent(&["FLUSHALL"]));
        assert!(!is_idempotent(&["SET a 1", "INCR b"]));
        assert!(!is_idempotent(&["GET a", "SET a 1"]), "the answer of the first run is gone");
        assert!(!is_idempotent(&["EXPIRE a 60", "SADD a x"]), "the repetition makes a expire");
        assert!(!is_idempotent(&["SUNIONSTORE d a b", "DEL a"]), "the repetition lacks a");
        assert!(!is_idempotent(&["SET a 1", "FLUSHALL"]), "a write to every key");
    }

    #[test]
    fn a_huge_batch_is_decided_quickly_and_with_caution() {
        let lines: Vec<String> = (0..3000).flat_map(|i| [format!("EXPIRE a{i} 60"), format!("SADD b{i} x")]).collect();
        assert!(!is_idempotent(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
        let lines: Vec<String> = (0..3000).map(|i| format!("SADD a{i} x")).collect();
        assert!(is_idempotent(&lines.iter().map(String::as_str).collect::<Vec<_>>()), "which needs no comparison");
    }
}

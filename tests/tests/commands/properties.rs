//! Whatever the arguments: no panic, no key that is not an argument, and the case of a name does not matter.

use archipelago::commands::{self, Command};
use proptest::prelude::*;

/// Names and options of the table, counts, and noise.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "XREAD",
        "XREADGROUP",
        "STREAMS",
        "BLOCK",
        "COUNT",
        "GROUP",
        "SORT",
        "STORE",
        "BY",
        "LIMIT",
        "GEORADIUS",
        "STOREDIST",
        "MIGRATE",
        "KEYS",
        "AUTH",
        "AUTH2",
        "EVAL",
        "ZUNION",
        "ZUNIONSTORE",
        "LMPOP",
        "BLMPOP",
        "BLPOP",
        "WAIT",
        "WAITAOF",
        "MSETEX",
        "JSON.MSET",
        "JSON.MGET",
        "MSET",
        "BITOP",
        "SET",
        "NX",
        "ZADD",
        "INCR",
        "CONFIG",
        "GET",
        "XINFO",
        "STREAM",
        "OBJECT",
        "HELP",
        "SCRIPT",
        "LOAD",
        "FUNCTION",
        "RESTORE",
        "REPLACE",
        "COPY",
        "CLIENT",
        "",
        "a",
        "b",
    ]);
    prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        2 => (0..5_u8).prop_map(|number| number.to_string().into_bytes()),
        1 => any::<f64>().prop_map(|number| number.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn every_answer(words: &[Vec<u8>]) -> String {
    let command = Command::new(words.iter().map(Vec::as_slice));
    let answers = (command.name(), command.access(), command.is_idempotent(), command.placement());
    format!("{answers:?} {:?} {:?}", command.blocking(), command.refusal())
}

fn cmd(words: &[Vec<u8>]) -> redis::Cmd {
    let mut cmd = redis::Cmd::new();
    for word in words {
        cmd.arg(word.as_slice());
    }
    cmd
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn keys_are_arguments_in_their_order(words in prop::collection::vec(word(), 0..12)) {
        every_answer(&words);
        let mut rest = words.iter().skip(1);
        for key in Command::new(words.iter().map(Vec::as_slice)).keys() {
            prop_assert!(rest.any(|word| word == key), "{:?} is not an argument, or comes too early", key);
        }
    }

    #[test]
    fn the_case_of_names_and_options_does_not_matter(words in prop::collection::vec(word(), 0..12)) {
        let lower: Vec<Vec<u8>> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
        // Storing over a source compares keys, whose case does matter.
        let name = Command::new(words.iter().map(Vec::as_slice)).name();
        prop_assume!(!matches!(name, Some("SORT" | "GEORADIUS" | "BITOP" | "ZUNIONSTORE")));
        prop_assert_eq!(every_answer(&words), every_answer(&lower));
    }

    #[test]
    fn a_cmd_and_its_words_answer_alike(words in prop::collection::vec(word(), 0..12)) {
        let cmd = cmd(&words);
        let command = commands::of_cmd(&cmd);
        prop_assert!(command.keys().eq(Command::new(words.iter().map(Vec::as_slice)).keys()));
    }

    #[test]
    fn batches_of_anything_are_answered(lines in prop::collection::vec(prop::collection::vec(word(), 0..8), 0..6)) {
        let mut pipeline = redis::pipe();
        for words in &lines {
            pipeline.add_command(cmd(words));
        }
        let batch = commands::of_pipeline(&pipeline);
        prop_assert!(batch.refusal().is_none_or(|(position, _)| position < lines.len()));
        prop_assert!(batch.keys().all(|key| lines.iter().flatten().any(|word| word == key)));
        let all = pipeline.cmd_iter().all(|cmd| commands::of_cmd(cmd).is_idempotent());
        prop_assert!(all || !batch.is_idempotent());
    }
}

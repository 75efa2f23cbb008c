//! The fuzz targets without a fuzzer: on their corpus, and on what becomes of it by chance. `ARCHIPELAGO_SEEDS` chooses
//! other seeds; what breaks a promise belongs into the corpus.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::{fs, path::Path};

use archipelago_tests::random::{Rng, seeds};

/// Inputs for each target and seed.
const ROUNDS: usize = 300;

/// Longer than every bound that a target knows.
const LONGEST: usize = 10_000;

/// Says at what a target panicked.
struct Under<'i> {
    target: &'i str,
    seed: Option<u64>,
    input: &'i [u8],
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { target, seed, input } = self;
            eprintln!("{target}, seed {seed:?}: b\"{}\"", input.escape_ascii());
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{target} has no corpus");
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One to four changes: a bit, a byte, a piece gone, a piece twice, a piece of another input.
fn mutated(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.pick(corpus).clone();
    for _ in 0..=rng.below(4) {
        let (from, to) = piece(rng, &input);
        match rng.below(6) {
            0 if from < input.len() => input[from] ^= 1 << rng.below(8),
            1 if from < input.len() => input[from] = *rng.pick(b"\0\x01\x7f\x80\xff,;=:\".-_A1 \n"),
            2 => drop(input.drain(from..to)),
            3 => drop(input.splice(from..from, input[from..to].to_vec())),
            4 => {
                let other = rng.pick(corpus);
                let (start, end) = piece(rng, other);
                drop(input.splice(from..to, other[start..end].to_vec()));
            }
            _ => input.insert(from, u8::try_from(rng.below(256)).unwrap()),
        }
    }
    input.truncate(LONGEST);
    input
}

fn piece(rng: &mut Rng, of: &[u8]) -> (usize, usize) {
    let (a, b) = (rng.below(of.len() + 1), rng.below(of.len() + 1));
    (a.min(b), a.max(b))
}

/// The corpus, then what becomes of it by chance.
fn hold(target: &str, run: fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        let _under = Under { target, seed: None, input };
        run(input);
    }
    let seeds = seeds(0..50);
    println!("{target}: seeds {seeds:?}, {ROUNDS} inputs of each");
    for seed in seeds {
        let mut rng = Rng::new(seed);
        for _ in 0..ROUNDS {
            let input = mutated(&mut rng, &corpus);
            let _under = Under { target, seed: Some(seed), input: &input };
            run(&input);
        }
    }
}

macro_rules! targets {
    ($($target:ident)+) => {
        $(#[test]
        fn $target() { hold(stringify!($target), targets::$target); })+
    };
}

targets! { session_token session_token_body web_session_id user_address forwarded_for }

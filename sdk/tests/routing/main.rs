//! Decision tables: worlds, requests and the expected plans with their reasons, in text files beside this one.
//!
//! The format is plain, so that a client in another language can run the same tables:
//!
//! ```text
//! region NAME [weight=N] [at=LAT,LON]             a new world begins with the first region after a case
//! node NAME [replica] [of=REGION] [in=REGION]     a primary unless said otherwise; of: the part before the slash;
//!                                                 in: the part behind the @
//! local REGION                                    the client's own region; default the first
//! active REGION                                   the region that RegionalPrimary writes to; default the first
//!
//! case SENTENCE
//! config TOML                                     the routing configuration, as an inline table
//! state NODE [up|half-open|down] [latency=D] [in-flight=N] [behind=D] [syncing]     up, unless said otherwise
//! read|write [key=K] [home=REGION] [max-staleness=D] [needs-primary] [random=N]
//! expect                                          the plan follows, up to the next empty line:
//!   1 NODE: REASON                                steps in order, then skipped nodes with a dash
//!   - NODE: REASON
//!   miss|error|stale -> NODE                      the primary to ask after such an answer
//!   refused: REASON                               when no node may serve
//! ```
//!
//! A case may have several requests. Durations are such as `15ms` and `3.2s`. With `UPDATE_TABLES=1` in the
//! environment the files are rewritten with what the code answers: read the difference before it is committed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod table;
mod world;

use std::{fs, path::Path};

#[test]
fn every_decision_is_as_its_table_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/routing");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let (mut decisions, mut failures) = (0, String::new());
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let played = table::play(&written);
        decisions += played.decisions;
        if std::env::var_os("UPDATE_TABLES").is_some() {
            fs::write(&file, &played.text).unwrap();
        } else if played.text != written {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            failures.push_str(&format!("\n{name}\n{}", table::difference(&written, &played.text)));
        }
    }
    assert!(failures.is_empty(), "decisions differ (- expected, + decided):\n{failures}");
    assert!(decisions >= 40, "only {decisions} decisions are left");
}

#[test]
fn a_wrong_table_is_caught() {
    let right =
        "region us\nnode us/primary\n\ncase simple\nread\nexpect\n  1 us/primary: primary of the active region\n";
    assert_eq!(table::play(right).text, right);
    let wrong = right.replace("1 us", "- us");
    let decided = table::play(&wrong).text;
    assert_eq!(decided, right);
    let difference = table::difference(&wrong, &decided);
    assert!(difference.contains("case simple") && difference.contains("- us/primary"), "{difference}");
}

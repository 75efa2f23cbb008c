//! What README and crate documentation share is the same in both, and the table of options is that of the code.
//!
//! `UPDATE_DOCS=1 cargo test -p archipelago --test documented` writes it anew.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::{fs, path::PathBuf};

use archipelago::{
    Config,
    config::RoutedConfig,
    homes::HomesConfig,
    resilience::{OptionRow, ResilienceOptions},
    routing::RoutingConfig,
    sessions::SessionKind,
};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// Writes a file anew where that is asked for, and holds it to what it should be.
fn hold(name: &str, expected: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(name), expected).unwrap();
    }
    assert_eq!(read(name), expected, "{name} is not up to date: run this test with UPDATE_DOCS=1");
}

fn options() -> String {
    let mut text = "| option | default | what it does |\n|---|---|---|\n".to_owned();
    let mut add = |prefix: &str, rows: Vec<OptionRow>| {
        for OptionRow { key, default, meaning } in rows {
            text.push_str(&format!("| `{prefix}{key}` | `{default}` | {meaning} |\n"));
        }
    };
    add("keyspaces.NAME.routing.", RoutingConfig::table());
    add("keyspaces.NAME.", SessionKind::table());
    add("", RoutedConfig::table());
    add("resilience.", ResilienceOptions::table());
    add("", HomesConfig::table());
    text
}

/// The text with what stands between a file's markers replaced by the file.
fn with_part(text: &str, file: &str) -> String {
    let (begin, end) = (format!("<!-- {file} -->\n"), format!("<!-- end of {file} -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}{}{end}{after}", read(file))
}

#[test]
fn every_configuration_of_the_readme_is_one() {
    let readme = read("README.md");
    let configurations: Vec<_> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).collect();
    assert!(configurations.len() >= 3, "the split sees nothing");
    // The first is an application's Cargo.toml.
    for (text, _) in configurations.into_iter().filter(|(text, _)| !text.starts_with("[dependencies]")) {
        text.parse::<Config>().unwrap();
    }
}

#[test]
fn the_readme_shows_the_program_that_is_tested_and_the_options_of_the_code() {
    hold("sdk/src/docs/options.md", &options());
    let readme = read("README.md");
    let parts = ["sdk/src/docs/routed.md", "sdk/src/docs/sessions.md", "sdk/src/docs/options.md"];
    let readme = parts.iter().fold(readme, |readme, part| with_part(&readme, part));
    hold("README.md", &readme);
}

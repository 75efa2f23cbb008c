//! What the examples share: serving a page, and visiting it without a browser. The examples are listed in `README.md`
//! beside this file.

pub mod browser;
pub mod serving;

use std::{ffi::OsString, process::ExitCode};

/// What can go wrong in many ways, all of them told in words.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// How a program ends: an error is told in words, where returning it from `main` would print how it is made.
#[must_use]
pub fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Refuses what follows the name of a program that takes nothing: who mistypes an option would take the run for an answer.
pub fn no_arguments(arguments: impl IntoIterator<Item = OsString>, usage: &str) -> Result<()> {
    match arguments.into_iter().next() {
        None => Ok(()),
        Some(unknown) => Err(format!("unknown argument {:?}\n{usage}", quoted(&unknown.to_string_lossy())).into()),
    }
}

/// The start of a text that somebody else wrote, without what would move a cursor: to be quoted in a message.
#[must_use]
pub fn quoted(text: &str) -> String {
    const LIMIT: usize = 200;
    let more = if text.chars().nth(LIMIT).is_some() { "..." } else { "" };
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(LIMIT).map(plain).chain(more.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::{no_arguments, quoted};

    #[test]
    fn a_program_that_takes_nothing_says_so() {
        assert!(no_arguments([], "usage: x").is_ok());
        let said = no_arguments(["--stok=\u{1b}".into(), "7".into()], "usage: x").unwrap_err().to_string();
        assert_eq!(said, "unknown argument \"--stok=\u{fffd}\"\nusage: x");
    }

    #[test]
    fn what_is_quoted_is_short_and_moves_no_cursor() {
        assert_eq!(quoted("<b>\u{1b}[2J\r\0é</b>"), "<b>\u{fffd}[2J\u{fffd}\u{fffd}é</b>");
        assert_eq!(quoted(&"é".repeat(1_000_000)).chars().count(), 203);
        assert_eq!(quoted(&"x".repeat(200)).len(), 200);
    }
}

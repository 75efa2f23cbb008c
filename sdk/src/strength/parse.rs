//! Strengths as text: in the configuration and on the command line.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use super::{ReadStrength, WriteStrength};

/// More regions or replicas than anybody has.
const MOST: u16 = 1000;

/// A text that names no strength.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no strength of a {what}")]
pub struct StrengthError {
    text: String,
    what: &'static str,
}

impl StrengthError {
    fn of(text: &str, what: &'static str) -> Self {
        Self { text: text.chars().take(32).collect(), what }
    }
}

/// `NAME:COUNT`, with a count of at least one.
fn counted(text: &str, name: &str) -> Option<u16> {
    let count = text.strip_prefix(name)?.strip_prefix(':')?.parse().ok()?;
    (1..=MOST).contains(&count).then_some(count)
}

impl FromStr for ReadStrength {
    type Err = StrengthError;

    fn from_str(text: &str) -> Result<Self, StrengthError> {
        match text {
            "local" => Ok(Self::Local),
            "home" => Ok(Self::Home),
            "majority" => Ok(Self::Majority),
            _ => counted(text, "merged")
                .map(Self::Merged)
                .ok_or_else(|| StrengthError::of(text, "read: use local, home, merged:K or majority")),
        }
    }
}

impl FromStr for WriteStrength {
    type Err = StrengthError;

    fn from_str(text: &str) -> Result<Self, StrengthError> {
        let what = "write: use local, replicated:N, regions:K, majority or all";
        match text {
            "local" => Ok(Self::Local),
            "majority" => Ok(Self::Majority),
            "all" => Ok(Self::All),
            _ => counted(text, "replicated")
                .map(Self::Replicated)
                .or_else(|| counted(text, "regions").map(Self::Regions))
                .ok_or_else(|| StrengthError::of(text, what)),
        }
    }
}

impl fmt::Display for ReadStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Home => f.write_str("home"),
            Self::Merged(regions) => write!(f, "merged:{regions}"),
            Self::Majority => f.write_str("majority"),
        }
    }
}

impl fmt::Display for WriteStrength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Replicated(replicas) => write!(f, "replicated:{replicas}"),
            Self::Regions(regions) => write!(f, "regions:{regions}"),
            Self::Majority => f.write_str("majority"),
            Self::All => f.write_str("all"),
        }
    }
}

fn deserialized<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = StrengthError>,
    D: Deserializer<'de>,
{
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

impl<'de> Deserialize<'de> for ReadStrength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialized(deserializer)
    }
}

impl<'de> Deserialize<'de> for WriteStrength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialized(deserializer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn strengths_read_back_and_others_are_refused() {
        for text in ["local", "home", "merged:2", "majority"] {
            assert_eq!(text.parse::<ReadStrength>().unwrap().to_string(), text);
        }
        for text in ["local", "replicated:1", "regions:2", "majority", "all"] {
            assert_eq!(text.parse::<WriteStrength>().unwrap().to_string(), text);
        }
        for text in ["", "merged", "merged:0", "merged:-1", "merged:70000", "regions:2x", "Local", "merged:1001"] {
            assert!(text.parse::<ReadStrength>().is_err() && text.parse::<WriteStrength>().is_err(), "{text}");
        }
    }
}

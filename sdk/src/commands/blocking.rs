//! How long a command may wait at the server.

use std::time::Duration;

use super::{
    arguments::{Arguments, number, options},
    keys::STREAM_OPTIONS,
};

/// How long a blocking command may keep its connection, by its own timeout.
///
/// Such a command needs a connection to itself: on a shared one everybody behind it waits, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocking {
    /// At most that long, and never more than 365 days: a longer timeout is cut to it, so that adding it to an `Instant`
    /// is safe.
    AtMost(Duration),
    /// Until there is something to answer: timeout 0.
    Forever,
    /// The timeout is missing or cannot be read. The server refuses the command at once, so an ordinary deadline does.
    Malformed,
}

/// Where a command has its timeout. Indexes count words, the command's name being word 0.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Seconds, with fractions. A negative index counts from the end: -1 is the last word.
    Seconds(isize),
    /// Whole milliseconds.
    Millis(usize),
    /// Whole milliseconds behind BLOCK, without which it does not wait. XREAD, XREADGROUP.
    BlockOption,
}

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Wait {
    /// `None` when it does not wait at all.
    pub(super) fn timeout<'a>(self, arguments: &impl Arguments<'a>) -> Option<Blocking> {
        let timeout = match self {
            Self::Seconds(at) => word(arguments, at).and_then(seconds),
            Self::Millis(at) => arguments.clone().nth(at).and_then(millis),
            Self::BlockOption => {
                let found = options(arguments, 1, STREAM_OPTIONS, &["STREAMS", "BLOCK"]);
                // The servers let the last one win. What follows STREAMS are keys and ids, whatever their names.
                let (at, _) = found.take_while(|(_, name)| *name == "BLOCK").last()?;
                arguments.clone().nth(at.saturating_add(1)).and_then(millis)
            }
        };
        Some(timeout.unwrap_or(Blocking::Malformed))
    }
}

fn word<'a>(arguments: &impl Arguments<'a>, at: isize) -> Option<&'a [u8]> {
    let at = usize::try_from(at).ok().or_else(|| arguments.len().checked_sub(at.unsigned_abs()))?;
    arguments.clone().nth(at)
}

fn seconds(word: &[u8]) -> Option<Blocking> {
    let seconds: f64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    // Clamped before the conversion, which refuses what a Duration cannot hold. The comparison also refuses NaN.
    (seconds >= 0.0 && seconds.is_finite())
        .then(|| Duration::try_from_secs_f64(seconds.min(LONGEST.as_secs_f64())).ok())
        .flatten()
        .map(|timeout| at_most(timeout, seconds == 0.0))
}

fn millis(word: &[u8]) -> Option<Blocking> {
    number(word).map(|millis| at_most(Duration::from_millis(millis), millis == 0))
}

fn at_most(timeout: Duration, is_zero: bool) -> Blocking {
    if is_zero { Blocking::Forever } else { Blocking::AtMost(timeout.min(LONGEST)) }
}

//! Which arguments are keys.

use super::arguments::{Arguments, number, options};

/// Where a command has its keys. Indexes count words, the command's name being word 0.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeySpec {
    /// Nowhere.
    Nowhere,
    /// From `first` to `last`, every `step`th word. A negative `last` counts from the end: -1 is the last word.
    Range { first: usize, last: isize, step: usize },
    /// The word `at` says how many follow it, each `step` words from the next.
    Counted { at: usize, step: usize },
    /// A destination, then a counted list: ZUNIONSTORE.
    StoreCounted,
    /// The first half of what follows STREAMS; the other half are ids. XREAD, XREADGROUP.
    Streams,
    /// The source, and the last STORE. SORT.
    SortStore,
    /// The source, and the last STORE or STOREDIST. GEORADIUS.
    GeoStore,
    /// The third word or, when that is empty, all words after KEYS. MIGRATE.
    Migrate,
}

/// The keys of a command, in the order of its arguments. They are always words of the command.
///
/// Malformed arguments have fewer keys, or none: the server refuses those commands, wherever they go.
#[derive(Clone)]
pub struct Keys<A> {
    /// What is left, beginning with the word `position`.
    arguments: A,
    position: usize,
    /// In ascending order and apart, so that one walk finds all.
    runs: [Run; 2],
}

/// Evenly spaced words.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    next: usize,
    step: usize,
    left: usize,
}

impl Run {
    const NONE: Self = Self { next: 0, step: 1, left: 0 };

    const fn one(at: usize) -> Self {
        Self { next: at, step: 1, left: 1 }
    }

    /// `left` keys from `next`, no more than `words` has.
    fn within(words: usize, next: usize, step: usize, left: usize) -> Self {
        let step = step.max(1);
        Self { next, step, left: left.min(words.saturating_sub(next).div_ceil(step)) }
    }
}

/// The keys, by their specification.
pub(super) fn keys<'a, A: Arguments<'a>>(spec: KeySpec, arguments: A) -> Keys<A> {
    let runs = match spec {
        KeySpec::Nowhere => [Run::NONE; 2],
        KeySpec::Range { first, last, step } => [range(arguments.len(), first, last, step), Run::NONE],
        KeySpec::Counted { at, step } => [counted(&arguments, at, step), Run::NONE],
        KeySpec::StoreCounted => [Run::one(1), counted(&arguments, 2, 1)],
        KeySpec::Streams => [streams(&arguments), Run::NONE],
        KeySpec::SortStore => {
            [Run::one(1), stored(&arguments, 2, &[("BY", 1), ("GET", 1), ("LIMIT", 2), ("STORE", 1)], &["STORE"])]
        }
        KeySpec::GeoStore => [
            Run::one(1),
            stored(&arguments, 5, &[("COUNT", 1), ("STORE", 1), ("STOREDIST", 1)], &["STORE", "STOREDIST"]),
        ],
        KeySpec::Migrate => [migrate(&arguments), Run::NONE],
    };
    Keys { arguments, position: 0, runs }
}

fn range(words: usize, first: usize, last: isize, step: usize) -> Run {
    let end = match usize::try_from(last) {
        Ok(last) => words.min(last.saturating_add(1)),
        Err(_) => words.saturating_sub(last.unsigned_abs().saturating_sub(1)),
    };
    Run::within(end, first, step, usize::MAX)
}

/// A list that its own length stands before. A length that does not fit has no keys: the server refuses it.
fn counted<'a>(arguments: &impl Arguments<'a>, at: usize, step: usize) -> Run {
    let Some(count) = arguments.clone().nth(at).and_then(number) else { return Run::NONE };
    let run = Run::within(arguments.len(), at.saturating_add(1), step, usize::MAX);
    match usize::try_from(count) {
        Ok(count) if count <= run.left => Run { left: count, ..run },
        Ok(_) | Err(_) => Run::NONE,
    }
}

/// The options of XREAD and XREADGROUP that have values. CLAIM is Redis 8's.
pub(super) const STREAM_OPTIONS: &[(&str, usize)] = &[("COUNT", 1), ("BLOCK", 1), ("CLAIM", 1), ("GROUP", 2)];

fn streams<'a>(arguments: &impl Arguments<'a>) -> Run {
    let Some((at, _)) = options(arguments, 1, STREAM_OPTIONS, &["STREAMS"]).next() else { return Run::NONE };
    let first = at.saturating_add(1);
    Run::within(arguments.len(), first, 1, arguments.len().saturating_sub(first) / 2)
}

/// The value of the last such option: the servers let the last one win.
fn stored<'a>(
    arguments: &impl Arguments<'a>,
    from: usize,
    takes: &'static [(&'static str, usize)],
    wanted: &'static [&'static str],
) -> Run {
    let last = options(arguments, from, takes, wanted).last();
    last.map_or(Run::NONE, |(at, _)| Run::within(arguments.len(), at.saturating_add(1), 1, 1))
}

fn migrate<'a>(arguments: &impl Arguments<'a>) -> Run {
    if arguments.clone().nth(3).is_some_and(|key| !key.is_empty()) {
        return Run::one(3);
    }
    let list = options(arguments, 6, &[("AUTH", 1), ("AUTH2", 2)], &["KEYS"]).next();
    list.map_or(Run::NONE, |(at, _)| Run::within(arguments.len(), at.saturating_add(1), 1, usize::MAX))
}

impl<'a, A: Iterator<Item = &'a [u8]>> Iterator for Keys<A> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let run = self.runs.iter_mut().find(|run| run.left > 0)?;
        let key = self.arguments.nth(run.next.saturating_sub(self.position))?;
        self.position = run.next.saturating_add(1);
        run.next = run.next.saturating_add(run.step);
        run.left -= 1;
        Some(key)
    }
}

impl<A> std::fmt::Debug for Keys<A> {
    /// Names no key: keys may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("runs", &self.runs).finish_non_exhaustive()
    }
}

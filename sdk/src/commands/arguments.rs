//! The arguments of a command, wherever they are kept.

use redis::{Arg, Cmd};

/// The words of one command, its name first: any cloneable iterator of byte slices that knows its length, such as
/// `words.iter().copied()` for a `&[&[u8]]`.
///
/// Implemented for all such iterators; there is nothing to implement. Cloning should be cheap: a question clones the
/// iterator and walks as far as it needs.
pub trait Arguments<'a>: ExactSizeIterator<Item = &'a [u8]> + Clone {}

impl<'a, A: ExactSizeIterator<Item = &'a [u8]> + Clone> Arguments<'a> for A {}

/// The words of a `redis::Cmd`. A cursor set by `cursor_arg` is shown as empty: the crate does not give it away.
pub(super) fn words(cmd: &Cmd) -> impl Arguments<'_> {
    cmd.args_iter().map(|word| match word {
        Arg::Simple(word) => word,
        // The crate may add kinds of words. The table has no key, count or timeout where a cursor can stand.
        Arg::Cursor | _ => b"",
    })
}

/// Where one of the `wanted` words stands among the options that begin at `from`, and which.
///
/// `takes` names the options that have values, which are skipped: the value of another option may be spelled the same.
pub(super) fn options<'a>(
    arguments: &impl Arguments<'a>,
    from: usize,
    takes: &'static [(&'static str, usize)],
    wanted: &'static [&'static str],
) -> impl Iterator<Item = (usize, &'static str)> {
    let mut rest = arguments.clone().enumerate().skip(from);
    std::iter::from_fn(move || {
        loop {
            let (position, word) = rest.next()?;
            let values = takes.iter().find(|(name, _)| is(word, name)).map_or(0, |(_, values)| *values);
            let found = wanted.iter().find(|name| is(word, name));
            if values > 0 {
                rest.nth(values - 1);
            }
            if let Some(name) = found {
                return Some((position, *name));
            }
        }
    })
}

/// Whether a word is that option: the servers do not mind the case.
pub(super) fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// A decimal number, as the servers read counts and milliseconds.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

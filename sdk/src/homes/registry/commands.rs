//! A user's commands, as the script that runs them takes them.

use std::borrow::Cow;

use redis::{Arg, Cmd};

use super::user::User;
use crate::{
    commands::{Access, of_cmd},
    error::{Error, ErrorKind},
};

/// The most words of one command: what fits onto the stack of a script.
const MOST_WORDS: usize = 7000;

/// Commands of one user.
pub(super) struct Commands<'c> {
    /// The keys that they may write, each once.
    pub(super) written: Vec<&'c [u8]>,
    /// For each command the number of its words, and the words.
    pub(super) words: Vec<Cow<'c, [u8]>>,
    pub(super) count: usize,
    pub(super) is_idempotent: bool,
}

impl<'c> Commands<'c> {
    /// # Errors
    /// [`ErrorKind::Refused`] for a command that cannot run in a script, or names a key that is not the user's.
    pub(super) fn of(
        user: &User,
        commands: impl IntoIterator<Item = &'c Cmd>,
        is_idempotent: bool,
    ) -> Result<Self, Error> {
        let mut all = Self { written: Vec::new(), words: Vec::new(), count: 0, is_idempotent };
        for cmd in commands {
            all.add(user, cmd)?;
        }
        all.written.sort_unstable();
        all.written.dedup();
        Ok(all)
    }

    fn add(&mut self, user: &User, cmd: &'c Cmd) -> Result<(), Error> {
        let command = of_cmd(cmd);
        let unknown = || refused(&shown(cmd), "which keys it writes is not known");
        let name = command.name().ok_or_else(unknown)?;
        if let Some(refusal) = command.refusal() {
            return Err(refused(name, refusal.instruction()));
        }
        if command.blocking().is_some() {
            return Err(refused(name, "it waits at the server, and nobody would be served meanwhile"));
        }
        if matches!(name, "EVAL" | "EVAL_RO" | "EVALSHA" | "EVALSHA_RO" | "FCALL" | "FCALL_RO") {
            return Err(refused(name, "it would be a script in a script; send its commands as one pipeline"));
        }
        if let Some(why) = leaves_the_keys(name, cmd) {
            return Err(refused(name, why));
        }
        if command.keys().next().is_none() {
            return Err(refused(name, "it names no key of the user's"));
        }
        if !command.keys().all(|key| user.has(key)) {
            return Err(refused(name, "each key has to have the user's hash tag: `connection.key(name)` makes one"));
        }
        if command.access() == Access::Write {
            self.written.extend(command.keys());
        }
        let words = cmd.args_iter().map(|word| match word {
            Arg::Simple(word) => Ok(Cow::Borrowed(word)),
            // The crate may add kinds of words.
            Arg::Cursor | _ => Err(refused(name, "its cursor belongs to one server")),
        });
        let words = words.collect::<Result<Vec<_>, _>>()?;
        if words.len() > MOST_WORDS {
            return Err(refused(name, &format!("it has more than {MOST_WORDS} words; send it in parts")));
        }
        self.words.push(Cow::Owned(words.len().to_string().into_bytes()));
        self.words.extend(words);
        self.count += 1;
        Ok(())
    }
}

/// Why a command reads or writes what no migration moves, although its keys are the user's.
fn leaves_the_keys(name: &str, cmd: &Cmd) -> Option<&'static str> {
    let has = |wanted: &[&str]| {
        let is_wanted = |word: &[u8]| wanted.iter().any(|wanted| word.eq_ignore_ascii_case(wanted.as_bytes()));
        cmd.args_iter().skip(2).any(|word| matches!(word, Arg::Simple(word) if is_wanted(word)))
    };
    match name {
        "MOVE" | "MIGRATE" => Some("a migration does not follow keys into another database or to another server"),
        "COPY" if has(&["DB"]) => Some("a migration does not follow keys into another database"),
        "SORT" | "SORT_RO" if has(&["BY", "GET"]) => Some("patterns may name keys that are not the user's"),
        _ => None,
    }
}

/// The name of a command that is not known, as far as it can be shown.
fn shown(cmd: &Cmd) -> String {
    let Some(Arg::Simple(name)) = cmd.args_iter().next() else { return "a command".to_owned() };
    String::from_utf8_lossy(name).chars().filter(|letter| !letter.is_control()).take(32).collect()
}

fn refused(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Refused, format!("{name} cannot run at a user's home: {why}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use redis::cmd;

    use super::*;

    fn of(cmd: &Cmd) -> Result<Commands<'_>, Error> {
        Commands::of(&User::new(b"7").unwrap(), [cmd], false)
    }

    #[test]
    fn what_is_written_is_told_and_what_is_read_is_not() {
        let read = cmd("MGET").arg("{7}:a").arg("x{7}").to_owned();
        let read = of(&read).unwrap();
        assert!(read.written.is_empty());
        assert_eq!(read.words, [&b"3"[..], b"MGET", b"{7}:a", b"x{7}"]);
        let write = cmd("MSET").arg("{7}:b").arg("{7}").arg("{7}:a").arg(2).arg("{7}:b").arg(3).to_owned();
        let write = of(&write).unwrap();
        assert_eq!(write.written, [&b"{7}:a"[..], b"{7}:b"]);
    }

    #[test]
    fn what_cannot_run_in_a_script_or_is_not_the_users_is_refused() {
        for (words, why) in [
            (&["GET", "{8}:a"][..], "hash tag"),
            (&["RENAME", "{7}:a", "a"], "hash tag"),
            (&["DEL", "archipelago:gate:{7}"], "hash tag"),
            (&["PING"], "no key"),
            (&["DBSIZE"], "no key"),
            (&["BLPOP", "{7}:a", "0"], "waits"),
            (&["EVAL", "return 1", "1", "{7}:a"], "script in a script"),
            (&["WATCH", "{7}:a"], "atomic"),
            (&["NO.SUCH", "{7}:a"], "NO.SUCH cannot run at a user's home: which keys it writes is not known"),
            (&["MOVE", "{7}:a", "1"], "another database"),
            (&["COPY", "{7}:a", "{7}:b", "db", "1"], "another database"),
            (&["SORT", "{7}:a", "by", "nosort", "GET", "{8}:*"], "patterns"),
        ] {
            let mut cmd = Cmd::new();
            cmd.arg(words);
            let error = of(&cmd).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.to_string().contains(why), "{error}");
        }
        let mut long = cmd("SADD");
        long.arg("{7}:a").arg(vec![1; MOST_WORDS]);
        assert!(of(&long).is_err());
    }
}

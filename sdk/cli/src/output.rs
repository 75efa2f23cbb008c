//! What is printed: lines for people, JSON for programs.

use std::io::Write;

use archipelago::{Report, exec::ExecReply};

/// One reply on one line, flushed, so that a program at the other end of a pipe gets it at once.
pub(crate) fn reply(reply: &ExecReply, as_json: bool) -> Result<(), std::io::Error> {
    let line = if as_json { reply.to_json() } else { reply.to_line() };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A JSON value on one line.
pub(crate) fn json(value: &serde_json::Value) -> Result<(), std::io::Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

/// A key's report, or only its physical keys.
pub(crate) fn report(report: &Report, keys_only: bool, as_json: bool) {
    let mut out = std::io::stdout().lock();
    // A closed pipe is the reader's way to say that it has seen enough.
    let _ = match (keys_only, as_json) {
        (true, true) => {
            let keys: serde_json::Map<String, serde_json::Value> =
                report.physical.iter().map(|(what, key)| (what.clone(), key.clone().into())).collect();
            writeln!(out, "{}", serde_json::Value::Object(keys))
        }
        (true, false) => report.physical.iter().try_for_each(|(what, key)| writeln!(out, "{what:<10} {key}")),
        (false, true) => writeln!(out, "{}", serde_json::to_string(report).unwrap_or_default()),
        (false, false) => write!(out, "{report}"),
    };
}

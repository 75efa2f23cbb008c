//! What is printed: lines for people, JSON for programs.

use std::io::Write;

use archipelago::{ConflictEvent, NodeReport, Report, exec::ExecReply};

/// One reply on one line, flushed, so that a program at the other end of a pipe gets it at once.
pub(crate) fn reply(reply: &ExecReply, as_json: bool) -> Result<(), std::io::Error> {
    let line = if as_json { reply.to_json() } else { reply.to_line() };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A JSON value on one line.
pub(crate) fn json(value: &serde_json::Value) -> Result<(), std::io::Error> {
    line(&value.to_string())
}

/// One line, flushed.
pub(crate) fn line(text: &str) -> Result<(), std::io::Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// A conflict, with its values: whoever asks for conflicts wants to see them.
pub(crate) fn conflict(event: &ConflictEvent, as_json: bool) -> Result<(), Box<dyn std::error::Error>> {
    if as_json {
        return Ok(json(&serde_json::to_value(event)?)?);
    }
    let mut text = event.to_string();
    if let ConflictEvent::Resolved(conflict) = event {
        for contender in &conflict.contenders {
            let shown = if contender.wins { "shown" } else { "not shown" };
            text.push_str(&format!("\n  {shown}: {} of {}", contender.value_text(), contender.origin));
        }
    }
    Ok(line(&text)?)
}

/// The nodes as a table.
pub(crate) fn nodes(nodes: &[NodeReport]) -> Result<(), std::io::Error> {
    let head = ["node", "role", "stands in", "state", "latency", "behind"].map(str::to_owned);
    let millis = |millis: Option<f64>| millis.map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1} ms"));
    let rows = nodes.iter().map(|node| {
        let role = if node.is_active { "primary, writes" } else { node.role }.to_owned();
        let (latency, behind) = (millis(node.latency_ms), millis(node.behind_ms));
        [node.name.clone(), role, node.stands_in.clone(), node.availability.to_owned(), latency, behind]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
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

//! Text of the file: names, URLs, environment variables, and messages that never quote a secret.

use std::collections::BTreeMap;

/// A URL that may be shown: user and password replaced.
pub(crate) fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
    // A query may carry a password, too.
    let address = address.split(['?', '#']).next().unwrap_or(address);
    let hidden = if rest.contains('@') { "***@" } else { "" };
    format!("{scheme}://{hidden}{address}")
}

/// The part of a URL that names a server.
pub(super) fn address_of(url: &str) -> String {
    let shown = without_credentials(url);
    shown
        .rsplit_once("***@")
        .or_else(|| shown.split_once("://"))
        .map_or(shown.clone(), |(_, address)| address.to_owned())
}

/// Whether a keyspace can have this name: it stands in the hash tag of physical keys.
pub(crate) fn is_keyspace_name(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    plain && (1..=64).contains(&name.len())
}

/// The names of a map, for messages.
pub(crate) fn names<V>(map: &BTreeMap<String, V>) -> String {
    map.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The line and the key at an offset of the file, for messages.
pub(super) fn place_of(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let number = before.matches('\n').count();
    let plain = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let key = text.lines().nth(number).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    let tables = text.lines().take(number + 1).map(str::trim).filter(|line| line.starts_with('['));
    let table = tables.last().map(|line| line.trim_matches(['[', ']', ' ']));
    let path: Vec<&str> = [table, key].into_iter().flatten().filter(|part| plain(part)).collect();
    let colon = if path.is_empty() { "" } else { ", " };
    format!("line {}{colon}{}: ", number + 1, path.join("."))
}

/// A message without what it quotes: the value of a misplaced `url` may hold a password.
pub(super) fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!(
                "{}\"...\"{}",
                message.get(..first).unwrap_or_default(),
                message.get(last + 1..).unwrap_or_default()
            )
        }
        _ => message.to_owned(),
    }
}

/// Replaces `${NAME}`.
pub(super) fn substitute(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or("${ without }")?;
        out.push_str(before);
        out.push_str(&variable(name).ok_or_else(|| format!("environment variable {name} is not set"))?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether a URL asks for TLS.
pub(crate) fn is_tls(url: &str) -> bool {
    url.starts_with("rediss://") || url.starts_with("valkeys://")
}

/// Whether a URL names a server that this build can talk to.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    const SHAPE: &str = "redis://[user:password@]host:port[/db], or rediss:// for TLS";
    if is_tls(url) && cfg!(not(feature = "tls")) {
        return Err("rediss:// needs TLS, which this build does not have: it needs the feature `tls`".into());
    }
    if !is_tls(url) && !url.starts_with("redis://") && !url.starts_with("valkey://") {
        return Err(format!("expected {SHAPE}"));
    }
    if url.contains('#') {
        return Err("no fragment is allowed; certificates are always verified, and `tls.ca` names an authority of \
                    your own"
            .into());
    }
    // The crate's own message may quote the URL, and with it the password.
    redis::Client::open(url)
        .map(drop)
        .map_err(|_| format!("expected {SHAPE}, special characters of a password percent-encoded"))
}

//! The two headers in which proxies write for whom they ask: `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! Only parsing; whom to believe is decided in `proxies`.

use std::net::{IpAddr, Ipv6Addr};

use super::address::canonical;

/// The most bytes of headers that are looked at, over all lines. Servers have limits like it on all headers together.
pub(super) const MAX_BYTES: usize = 8192;

/// One entry of a header: for whom a proxy asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// For this address.
    Address(IpAddr),
    /// For somebody whom the proxy does not name: `unknown`, `_something`, or no `for` at all.
    Hidden,
    /// Nothing that has a meaning here.
    Garbage,
}

/// The entries of one line of `X-Forwarded-For`, the last first. Empty ones are left out: RFC 9110, 5.6.1.
pub(super) fn entries_from_right(line: &[u8]) -> impl Iterator<Item = Hop> + '_ {
    line.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()).map(hop)
}

/// The elements of one line of `Forwarded` in their order, or `None` when it is malformed.
///
/// The whole line is refused then: a quote that somebody left open may have swallowed what a proxy appended.
pub(super) fn elements(line: &[u8]) -> Option<Vec<Hop>> {
    let mut elements = Vec::new();
    for element in split_outside_quotes(line, b',') {
        let element = element?.trim_ascii();
        if !element.is_empty() {
            elements.push(element_hop(element)?);
        }
    }
    Some(elements)
}

/// What one element says behind `for=`, among its other parameters.
fn element_hop(element: &[u8]) -> Option<Hop> {
    let mut found = None;
    for pair in split_outside_quotes(element, b';') {
        let pair = pair?.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        if !is_token(name) || !(is_quoted(value) || is_bare(value)) {
            return None;
        }
        // Each parameter at most once: RFC 7239, 4.
        if name.eq_ignore_ascii_case(b"for") && found.replace(hop(value)).is_some() {
            return None;
        }
    }
    Some(found.unwrap_or(Hop::Hidden))
}

/// The parts between separators that stand outside quoted strings; `None` for the rest when a quote stays open.
fn split_outside_quotes(text: &[u8], separator: u8) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.iter().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => return !quoted && *byte == separator,
            }
            false
        });
        rest = end.and_then(|end| text.get(end + 1..));
        Some(match end {
            Some(end) => text.get(..end),
            None => (!quoted).then_some(text),
        })
    })
}

/// Whether a value is one quoted string, all of it.
fn is_quoted(value: &[u8]) -> bool {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    // The text between has no other quote but escaped ones. An escaped last quote leaves none to end the string, and
    // the split has refused that.
    inner.is_some_and(|inner| {
        let mut escaped = false;
        inner.iter().all(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            !ends
        }) && !escaped
    })
}

/// Whether a value needs no quotes: a token (RFC 9110, 5.6.2) or, as many proxies write them, an address as it is.
fn is_bare(value: &[u8]) -> bool {
    value.iter().all(|byte| is_token_byte(*byte) || matches!(byte, b':' | b'[' | b']'))
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// One entry: an address with or without port, brackets and quotes.
fn hop(entry: &[u8]) -> Hop {
    let unquoted = entry.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(entry).trim_ascii();
    let Ok(text) = str::from_utf8(unquoted) else { return Hop::Garbage };
    match address(text) {
        Some(address) => Hop::Address(canonical(address)),
        None if is_hidden(text) => Hop::Hidden,
        None => Hop::Garbage,
    }
}

/// `unknown` or an obfuscated identifier (RFC 7239, 6.2 and 6.3), with or without port.
fn is_hidden(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "0"));
    let is_identifier = |name: &str| {
        let rest = name.strip_prefix('_').unwrap_or_default();
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    (name.eq_ignore_ascii_case("unknown") || is_identifier(name)) && is_port(port)
}

/// `a.b.c.d`, `a.b.c.d:port`, `v6`, `[v6]`, `[v6]:port`. Not `v6:port`: it is an address itself.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_whole.then(|| address.parse::<Ipv6Addr>().ok().map(IpAddr::V6))?;
    }
    text.parse().ok().or_else(|| {
        let (address, port) = text.split_once(':')?;
        is_port(port).then(|| address.parse().ok())?
    })
}

/// A port is not looked at, and so may be obfuscated, but it has to be one.
fn is_port(text: &str) -> bool {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let obfuscated = text.strip_prefix('_').unwrap_or_default();
    is_number
        || (!obfuscated.is_empty() && obfuscated.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address_of(entry: &str) -> Hop {
        entries_from_right(entry.as_bytes()).next().unwrap_or(Hop::Garbage)
    }

    #[test]
    fn an_address_is_found_in_every_notation() {
        for (entry, expected) in [
            ("192.0.2.43", "192.0.2.43"),
            (" 192.0.2.43\t", "192.0.2.43"),
            ("192.0.2.43:47011", "192.0.2.43"),
            ("\"192.0.2.43:47011\"", "192.0.2.43"),
            ("192.0.2.43:_obf", "192.0.2.43"),
            ("2001:db8:cafe::17", "2001:db8:cafe::17"),
            ("[2001:db8:cafe::17]", "2001:db8:cafe::17"),
            ("[2001:db8:cafe::17]:4711", "2001:db8:cafe::17"),
            ("\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("::ffff:192.0.2.43", "192.0.2.43"),
            ("[::ffff:c000:22b]:80", "192.0.2.43"),
        ] {
            assert_eq!(address_of(entry), Hop::Address(expected.parse().unwrap()), "{entry}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for entry in ["unknown", "UNKNOWN", "_hidden", "_SEVKISEK", "_x.y-z:80", "unknown:_p"] {
            assert_eq!(address_of(entry), Hop::Hidden, "{entry}");
        }
        for entry in [
            "1.2.3",
            "1.2.3.256",
            "01.2.3.4",
            "1.2.3.4:",
            "1.2.3.4:123456",
            "1.2.3.4:8a",
            "[1.2.3.4]",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1]:",
            "fe80::1%eth0",
            "1.2.3.4 5",
            "\"1.2.3.4",
            "1.2.3.4\"",
            "localhost",
            "_",
            "_a b",
            "1.2.3.4/8",
            "<script>",
            "\u{661}.2.3.4",
            "\0",
        ] {
            assert_eq!(address_of(entry), Hop::Garbage, "{entry}");
        }
        assert_eq!(entries_from_right(b"1.2.3.4, \xff").next(), Some(Hop::Garbage));
    }

    #[test]
    fn elements_are_those_of_the_rfc() {
        let one = |text: &str| Hop::Address(text.parse().unwrap());
        for (line, expected) in [
            ("for=\"_gazonk\"", vec![Hop::Hidden]),
            ("For=\"[2001:db8:cafe::17]:4711\"", vec![one("2001:db8:cafe::17")]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", vec![one("192.0.2.60")]),
            ("for=192.0.2.43, for=198.51.100.17", vec![one("192.0.2.43"), one("198.51.100.17")]),
            ("proto=https ; FOR = 1.2.3.4", vec![]),
            ("proto=https;by=1.2.3.4", vec![Hop::Hidden]),
            ("host=\"a,b;for=9.9.9.9\\\"\";for=1.2.3.4,,for=[::2]", vec![one("1.2.3.4"), one("::2")]),
            ("for=1.2.3.4;;, ", vec![one("1.2.3.4")]),
            ("for=nonsense", vec![Hop::Garbage]),
            ("", vec![]),
        ] {
            let found = elements(line.as_bytes());
            match line.contains(" = ") {
                true => assert_eq!(found, None, "no space belongs around the equals sign: {line}"),
                false => assert_eq!(found, Some(expected), "{line}"),
            }
        }
    }

    #[test]
    fn a_malformed_line_says_nothing() {
        for line in [
            "for=\"1.2.3.4",
            "for=evil, x=\", for=1.2.3.4",
            "for=evil, x=\", for=\"[2001:db8::1]\"",
            "for=\"1.2.3.4\\\"",
            "for=\"1.2.3.4\"junk",
            "for=junk\"1.2.3.4\"",
            "for=1.2.3.4;for=5.6.7.8",
            "for",
            "=1.2.3.4",
            "f r=1.2.3.4",
            "for=1.2.3.4 5",
        ] {
            assert_eq!(elements(line.as_bytes()), None, "{line}");
        }
    }

    /// Bytes that come near to a header, so that every branch is reached.
    fn near_header() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "for=", "FOR=", "by=", ";", ",", " ", "\"", "\\", "[", "]", ":", "::1", "1.2.3.4", "80", "_x", "unknown",
            "=", "\u{ff}", "%eth0", ".",
        ]);
        prop::collection::vec(word, 0..24).prop_map(|words| words.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop_oneof![any::<Vec<u8>>(), near_header()]) {
            prop_assert!(entries_from_right(&bytes).count() <= bytes.len());
            prop_assert!(elements(&bytes).unwrap_or_default().len() <= bytes.len());
        }

        #[test]
        fn what_a_proxy_appends_is_the_last_element_or_none_counts(spoofed in near_header(), quoted in any::<bool>()) {
            let own = if quoted { "for=\"[2001:db8::7]:1\"" } else { "for=198.51.100.7" };
            let line = [&spoofed[..], b", ", own.as_bytes()].concat();
            let expected = if quoted { "2001:db8::7" } else { "198.51.100.7" };
            if let Some(elements) = elements(&line) {
                prop_assert_eq!(elements.last(), Some(&Hop::Address(expected.parse().unwrap())));
            }
            // And of the other header: nothing on the left ever matters.
            let own = if quoted { "\"[2001:db8::7]:1\"" } else { "198.51.100.7" };
            let line = [&spoofed[..], b", ", own.as_bytes()].concat();
            let last = entries_from_right(&line).next();
            prop_assert_eq!(last, Some(Hop::Address(expected.parse().unwrap())));
        }
    }
}

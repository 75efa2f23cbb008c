//! Whose word on a client's address is taken.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;

use super::{
    address::canonical,
    forwarded::{Hop, MAX_BYTES, elements, entries_from_right},
};

/// The most proxies between a client and the application.
pub const MAX_HOPS: usize = 16;
/// The most networks of trusted proxies.
pub const MAX_NETWORKS: usize = 1024;

/// Whose word on a client's address is taken: the proxies in front of the application.
///
/// Anyone can send any header, so each entry of one is worth as much as who appended it. The client's address is the
/// rightmost that was not appended for a trusted proxy; everything left of it is ignored, whatever it says. When the
/// header does not tell, the address is that of the connection's peer, and [`ClientAddress::source`] says why.
///
/// Trust **networks** where the proxies' addresses are known: a request that did not come through them is seen for
/// what it is. A number of **hops** is for proxies whose addresses change. It promises less: who can reach the
/// application around a proxy is believed as if the proxy had spoken.
///
/// In a configuration file either `hops` (1 to 16) or `networks` (at most 1,024, as `10.0.0.0/8` or a single address);
/// neither trusts nobody.
///
/// No more than 8 KiB of header and 16 entries behind the client's are looked at; longer ones count as not telling.
///
/// ```
/// use std::net::IpAddr;
/// use archipelago::homes::{ClientSource, TrustedProxies};
///
/// let proxies: TrustedProxies = toml::from_str("networks = ['10.0.0.0/8', '192.0.2.7']")?;
/// let balancer: IpAddr = "10.0.0.1".parse()?;
/// // A client wrote 127.0.0.1 itself, the CDN at 192.0.2.7 appended the client, the balancer appended the CDN.
/// let client = proxies.client(balancer, ["127.0.0.1, 81.2.69.142, 192.0.2.7"]);
/// assert_eq!(client.address, "81.2.69.142".parse::<IpAddr>()?);
///
/// // A stranger connects directly, and claims to be somebody.
/// let stranger: IpAddr = "45.33.32.156".parse()?;
/// let client = proxies.client(stranger, ["81.2.69.142"]);
/// assert_eq!((client.address, client.source), (stranger, ClientSource::PeerNotTrusted));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct TrustedProxies(Trust);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Trust {
    #[default]
    Nobody,
    /// As many as this, the peer among them. Not zero.
    Hops(usize),
    /// Without repetition; IPv4 as IPv4.
    Networks(Vec<IpNet>),
}

/// Trusted proxies as somebody wrote them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    hops: Option<usize>,
    networks: Option<Vec<String>>,
}

/// Why something describes no trusted proxies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProxiesError {
    /// Two ways to say it, which may contradict each other.
    #[error("expected `hops` or `networks`, not both")]
    Both,
    /// No such number of proxies.
    #[error("hops: expected 1 to {MAX_HOPS}, found {0}")]
    Hops(usize),
    /// Not a network.
    #[error("networks: {found:?} is neither a network such as 10.0.0.0/8 nor an address")]
    Network {
        /// The text, cut to what a network can have.
        found: String,
    },
    /// An address with a prefix that covers more than the address says: who wrote it may trust more than they know.
    #[error("networks: {found} has bits beyond its prefix; write {meant}, or the address alone")]
    HostBits {
        /// The network as written.
        found: IpNet,
        /// All that it covers.
        meant: IpNet,
    },
    /// An IPv4 network in IPv6 notation; addresses are compared as IPv4.
    #[error("networks: {0} holds IPv4 addresses; write it as an IPv4 network")]
    Mapped(IpNet),
    /// More than [`MAX_NETWORKS`].
    #[error("networks: {0} are too many: at most {MAX_NETWORKS}")]
    TooMany(usize),
}

/// A client's address, and how it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// The address; IPv4 as IPv4, also when it was written as IPv6.
    pub address: IpAddr,
    /// How it is known.
    pub source: ClientSource,
}

/// How a client's address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientSource {
    /// A trusted proxy appended it.
    Header,
    /// Every address is a trusted one: the leftmost, a client inside the trusted networks.
    AllTrusted,
    /// The peer: no proxy is trusted.
    NoneTrusted,
    /// The peer: it is no trusted proxy, so what it sends is its own word.
    PeerNotTrusted,
    /// The peer: a trusted one sent no entry.
    NoEntry,
    /// The peer: fewer entries than trusted hops, so the request went around a proxy.
    TooFewEntries,
    /// The peer: a trusted proxy appended `unknown` or an obfuscated name.
    Hidden,
    /// The peer: what should be the client's address is none, or the header is malformed.
    Malformed,
    /// The peer: the header is longer than anyone's, or names more proxies.
    TooLong,
}

impl TrustedProxies {
    /// Nobody: the client is who connects.
    #[must_use]
    pub const fn none() -> Self {
        Self(Trust::Nobody)
    }

    /// This many proxies, the one that connects to the application among them.
    ///
    /// # Errors
    /// [`ProxiesError::Hops`] unless 1 to 16.
    pub fn hops(hops: usize) -> Result<Self, ProxiesError> {
        match hops {
            1..=MAX_HOPS => Ok(Self(Trust::Hops(hops))),
            _ => Err(ProxiesError::Hops(hops)),
        }
    }

    /// The proxies with addresses in these networks, such as `10.0.0.0/8`, `2001:db8::/32` or `192.0.2.7`.
    ///
    /// # Errors
    /// [`ProxiesError`], naming the network.
    pub fn networks<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, ProxiesError> {
        let networks = networks.into_iter().map(|text| network(text.as_ref())).collect::<Result<BTreeSet<_>, _>>()?;
        match networks.len() {
            0 => Ok(Self::none()),
            1..=MAX_NETWORKS => Ok(Self(Trust::Networks(networks.into_iter().collect()))),
            count => Err(ProxiesError::TooMany(count)),
        }
    }

    /// The client's address, from the peer's and the lines of `X-Forwarded-For` in their order.
    ///
    /// Never panics and does not allocate; its time is bounded whatever the header.
    pub fn client<I>(&self, peer: IpAddr, lines: I) -> ClientAddress
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: DoubleEndedIterator>,
    {
        let peer = canonical(peer);
        let mut walk = match Walk::begin(&self.0, peer) {
            Ok(walk) => walk,
            Err(source) => return ClientAddress { address: peer, source },
        };
        let mut left = MAX_BYTES;
        for line in lines.into_iter().rev() {
            let line = line.as_ref();
            // Of a line that is too long the right end still counts: the rest may be a client's.
            let visible = line.get(line.len().saturating_sub(left)..).unwrap_or_default();
            let is_cut = visible.len() < line.len();
            let mut entries = entries_from_right(visible).peekable();
            while let Some(hop) = entries.next() {
                let is_part_of_an_entry = is_cut && entries.peek().is_none();
                if is_part_of_an_entry {
                    return walk.give_up(ClientSource::TooLong);
                }
                if let Some(client) = walk.step(hop) {
                    return client;
                }
            }
            if is_cut {
                return walk.give_up(ClientSource::TooLong);
            }
            left = left.saturating_sub(line.len());
        }
        walk.end()
    }

    /// As [`TrustedProxies::client`], from the lines of `Forwarded` (RFC 7239).
    ///
    /// Proxies write one of the two headers: take the one that yours write, and let them remove the other.
    pub fn client_of_forwarded<I>(&self, peer: IpAddr, lines: I) -> ClientAddress
    where
        I: IntoIterator<Item: AsRef<[u8]>, IntoIter: DoubleEndedIterator>,
    {
        let peer = canonical(peer);
        let mut walk = match Walk::begin(&self.0, peer) {
            Ok(walk) => walk,
            Err(source) => return ClientAddress { address: peer, source },
        };
        let mut left = MAX_BYTES;
        for line in lines.into_iter().rev() {
            let line = line.as_ref();
            // The line is read from its left for the sake of quotes, so its right end alone says nothing.
            let Some(rest) = left.checked_sub(line.len()) else { return walk.give_up(ClientSource::TooLong) };
            left = rest;
            let Some(elements) = elements(line) else { return walk.give_up(ClientSource::Malformed) };
            for hop in elements.into_iter().rev() {
                if let Some(client) = walk.step(hop) {
                    return client;
                }
            }
        }
        walk.end()
    }
}

/// On the way from the peer towards the client, one entry at a time.
struct Walk<'t> {
    trust: &'t Trust,
    peer: IpAddr,
    /// The last trusted address seen: the leftmost so far.
    last: IpAddr,
    /// How many entries were seen.
    seen: usize,
}

impl<'t> Walk<'t> {
    /// Starts at the peer, if its word is worth anything.
    fn begin(trust: &'t Trust, peer: IpAddr) -> Result<Self, ClientSource> {
        match trust {
            Trust::Nobody => Err(ClientSource::NoneTrusted),
            Trust::Networks(networks) if !covers(networks, peer) => Err(ClientSource::PeerNotTrusted),
            Trust::Hops(_) | Trust::Networks(_) => Ok(Self { trust, peer, last: peer, seen: 0 }),
        }
    }

    /// Looks at the next entry to the left: the client, when this was it.
    fn step(&mut self, hop: Hop) -> Option<ClientAddress> {
        self.seen += 1;
        if self.seen > MAX_HOPS {
            return Some(self.give_up(ClientSource::TooLong));
        }
        // Entries of trusted hops only count: one that hides the next proxy is a proxy still.
        if matches!(self.trust, Trust::Hops(hops) if self.seen < *hops) {
            return None;
        }
        match (hop, self.trust) {
            (Hop::Address(address), Trust::Networks(networks)) if covers(networks, address) => {
                self.last = address;
                None
            }
            (Hop::Address(address), _) => Some(ClientAddress { address, source: ClientSource::Header }),
            (Hop::Hidden, _) => Some(self.give_up(ClientSource::Hidden)),
            (Hop::Garbage, _) => Some(self.give_up(ClientSource::Malformed)),
        }
    }

    /// There are no more entries.
    fn end(&self) -> ClientAddress {
        match (self.seen, self.trust) {
            (0, _) => self.give_up(ClientSource::NoEntry),
            (_, Trust::Networks(_)) => ClientAddress { address: self.last, source: ClientSource::AllTrusted },
            (_, Trust::Hops(_) | Trust::Nobody) => self.give_up(ClientSource::TooFewEntries),
        }
    }

    fn give_up(&self, source: ClientSource) -> ClientAddress {
        ClientAddress { address: self.peer, source }
    }
}

fn covers(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn network(text: &str) -> Result<IpNet, ProxiesError> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(|alone| IpNet::from(canonical(alone))));
    let network = parsed.map_err(|_| ProxiesError::Network { found: text.chars().take(49).collect() })?;
    if network != network.trunc() {
        return Err(ProxiesError::HostBits { found: network, meant: network.trunc() });
    }
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
            Err(ProxiesError::Mapped(network))
        }
        IpNet::V4(_) | IpNet::V6(_) => Ok(network),
    }
}

impl TryFrom<Written> for TrustedProxies {
    type Error = ProxiesError;

    fn try_from(written: Written) -> Result<Self, ProxiesError> {
        match (written.hops, written.networks) {
            (None, None) => Ok(Self::none()),
            (Some(hops), None) => Self::hops(hops),
            (None, Some(networks)) => Self::networks(networks),
            (Some(_), Some(_)) => Err(ProxiesError::Both),
        }
    }
}

impl fmt::Display for ClientSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Header => "appended by a trusted proxy",
            Self::AllTrusted => "leftmost entry: all are trusted",
            Self::NoneTrusted => "peer: no proxy is trusted",
            Self::PeerNotTrusted => "peer: not a trusted proxy",
            Self::NoEntry => "peer: no entry in the header",
            Self::TooFewEntries => "peer: fewer entries than trusted hops",
            Self::Hidden => "peer: the client's address is hidden",
            Self::Malformed => "peer: the header is malformed",
            Self::TooLong => "peer: the header is too long",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted() -> TrustedProxies {
        TrustedProxies::networks(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]).unwrap()
    }

    /// The client and its source, in one line.
    fn found(client: ClientAddress) -> String {
        format!("{} {:?}", client.address, client.source)
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_not_trusted() {
        for (peer, lines, expected) in [
            ("10.0.0.1", vec!["8.8.8.8"], "8.8.8.8 Header"),
            ("10.0.0.1", vec!["1.1.1.1, 8.8.8.8"], "8.8.8.8 Header"),
            ("10.0.0.1", vec!["1.1.1.1, 8.8.8.8, 10.9.9.9,192.0.2.7 "], "8.8.8.8 Header"),
            ("10.0.0.1", vec!["1.1.1.1", "8.8.8.8", "10.9.9.9"], "8.8.8.8 Header"),
            ("::ffff:10.0.0.1", vec!["::ffff:8.8.8.8, ::ffff:10.0.0.2"], "8.8.8.8 Header"),
            ("2001:db8::1", vec!["[2a00::1]:80, \"[2001:db8::2]:443\""], "2a00::1 Header"),
            ("10.0.0.1", vec!["garbage, 8.8.8.8"], "8.8.8.8 Header"),
            ("10.0.0.1", vec!["", ", ,8.8.8.8,,", " "], "8.8.8.8 Header"),
            ("10.0.0.1", vec!["8.8.8.8, garbage, 10.0.0.2"], "10.0.0.1 Malformed"),
            ("10.0.0.1", vec!["8.8.8.8, unknown"], "10.0.0.1 Hidden"),
            ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3 AllTrusted"),
            ("10.0.0.1", vec![], "10.0.0.1 NoEntry"),
            ("10.0.0.1", vec!["", " , "], "10.0.0.1 NoEntry"),
            ("9.9.9.9", vec!["8.8.8.8"], "9.9.9.9 PeerNotTrusted"),
            ("192.0.2.8", vec!["8.8.8.8"], "192.0.2.8 PeerNotTrusted"),
        ] {
            assert_eq!(found(trusted().client(ip(peer), &lines)), expected, "{peer} {lines:?}");
            let elements = lines.iter().map(|line| {
                let quoted = |entry: &str| match entry.trim().trim_matches('"') {
                    "" => String::new(),
                    entry => format!("proto=https;for=\"{entry}\";by=_me"),
                };
                line.split(',').map(quoted).collect::<Vec<_>>().join(",")
            });
            let elements: Vec<_> = elements.collect();
            assert_eq!(found(trusted().client_of_forwarded(ip(peer), &elements)), expected, "{peer} {elements:?}");
        }
    }

    #[test]
    fn trusted_hops_are_counted_from_the_peer() {
        for (hops, lines, expected) in [
            (1, vec!["1.1.1.1, 8.8.8.8"], "8.8.8.8 Header"),
            (2, vec!["1.1.1.1, 8.8.8.8, 5.5.5.5"], "8.8.8.8 Header"),
            (2, vec!["1.1.1.1, 8.8.8.8", "unknown"], "8.8.8.8 Header"),
            (2, vec!["8.8.8.8"], "7.7.7.7 TooFewEntries"),
            (2, vec!["x, 8.8.8.8"], "7.7.7.7 Malformed"),
            (1, vec![], "7.7.7.7 NoEntry"),
        ] {
            let client = TrustedProxies::hops(hops).unwrap().client(ip("7.7.7.7"), &lines);
            assert_eq!(found(client), expected, "{hops} {lines:?}");
        }
        assert_eq!(found(TrustedProxies::none().client(ip("7.7.7.7"), ["8.8.8.8"])), "7.7.7.7 NoneTrusted");
    }

    #[test]
    fn a_long_header_is_not_read_to_its_end() {
        let spoofed = "1.1.1.1,".repeat(1_000_000);
        let client = |end: &str| found(trusted().client(ip("10.0.0.1"), [format!("{spoofed}{end}")]));
        assert_eq!(client("8.8.8.8"), "8.8.8.8 Header");
        assert_eq!(client("8.8.8.8, 10.0.0.2"), "8.8.8.8 Header");
        let silent = "10.0.0.2".repeat(100_000);
        assert_eq!(found(trusted().client(ip("10.0.0.1"), [silent])), "10.0.0.1 TooLong");
        let mut proxies = "8.8.8.8".to_owned();
        proxies.push_str(&", 10.0.0.2".repeat(MAX_HOPS - 1));
        assert_eq!(found(trusted().client(ip("10.0.0.1"), [&proxies])), "8.8.8.8 Header");
        proxies.push_str(", 10.0.0.2");
        assert_eq!(found(trusted().client(ip("10.0.0.1"), [&proxies])), "10.0.0.1 TooLong");
        // Cut through the middle, 28.8.8.8 would be read as 8.8.8.8.
        let cut = format!("28.8.8.8{}", " ".repeat(MAX_BYTES - 7));
        assert_eq!(found(trusted().client(ip("10.0.0.1"), [cut])), "10.0.0.1 TooLong");
        let spaces = vec![" ".repeat(MAX_BYTES), "8.8.8.8".into()];
        assert_eq!(found(trusted().client(ip("10.0.0.1"), &spaces)), "8.8.8.8 Header");
        let spaces = vec!["8.8.8.8".into(), " ".repeat(MAX_BYTES)];
        assert_eq!(found(trusted().client(ip("10.0.0.1"), &spaces)), "10.0.0.1 TooLong");
        let elements = format!("{}for=8.8.8.8", "for=1.1.1.1,".repeat(1000));
        assert_eq!(found(trusted().client_of_forwarded(ip("10.0.0.1"), [elements])), "10.0.0.1 TooLong");
    }

    #[test]
    fn an_open_quote_swallows_no_proxy() {
        let lines = ["for=1.1.1.1, x=\", for=8.8.8.8"];
        assert_eq!(found(trusted().client_of_forwarded(ip("10.0.0.1"), lines)), "10.0.0.1 Malformed");
        // A proxy that writes lines of its own is not hurt by it.
        let lines = ["for=1.1.1.1, x=\"", "for=8.8.8.8"];
        assert_eq!(found(trusted().client_of_forwarded(ip("10.0.0.1"), lines)), "8.8.8.8 Header");
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, message) in [
            ("hops = 0", "hops: expected 1 to 16, found 0"),
            ("hops = 17", "hops: expected 1 to 16, found 17"),
            ("hops = 1\nnetworks = ['10.0.0.0/8']", "expected `hops` or `networks`, not both"),
            ("networks = ['10.0.0.0/33']", "networks: \"10.0.0.0/33\" is neither a network such as 10.0.0.0/8 nor an"),
            ("networks = ['proxy.example']", "networks: \"proxy.example\" is neither"),
            ("networks = ['10.1.2.3/8']", "networks: 10.1.2.3/8 has bits beyond its prefix; write 10.0.0.0/8, or"),
            ("networks = ['::ffff:10.0.0.0/104']", "holds IPv4 addresses; write it as an IPv4 network"),
            ("nets = ['10.0.0.0/8']", "unknown field `nets`"),
        ] {
            let error = toml::from_str::<TrustedProxies>(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert_eq!(toml::from_str::<TrustedProxies>("networks = []"), Ok(TrustedProxies::none()));
        let many = (0..=MAX_NETWORKS).map(|i| format!("2001:db8:{i:x}::/48"));
        assert_eq!(TrustedProxies::networks(many), Err(ProxiesError::TooMany(MAX_NETWORKS + 1)));
    }

    /// The same by the obvious way: write the chain down, and go through it from the right.
    fn model(peer: &str, entries: &[&str]) -> String {
        let is_trusted = |text: &str| text.starts_with("10.");
        if !is_trusted(peer) {
            return format!("{peer} PeerNotTrusted");
        }
        let mut last = None;
        for entry in entries.iter().rev().filter(|entry| !entry.is_empty()) {
            match *entry {
                "unknown" => return format!("{peer} Hidden"),
                "junk" => return format!("{peer} Malformed"),
                trusted if is_trusted(trusted) => last = Some(trusted),
                client => return format!("{client} Header"),
            }
        }
        last.map_or(format!("{peer} NoEntry"), |last| format!("{last} AllTrusted"))
    }

    proptest! {
        #[test]
        fn as_the_model_says(
            peer in prop::sample::select(vec!["10.0.0.1", "9.9.9.9"]),
            lines in prop::collection::vec(
                prop::collection::vec(
                    prop::sample::select(vec!["10.0.0.2", "10.0.0.3", "8.8.8.8", "2a00::1", "unknown", "junk", ""]),
                    0..4,
                ),
                0..4,
            ),
        ) {
            let entries: Vec<_> = lines.iter().flatten().copied().collect();
            let plain: Vec<_> = lines.iter().map(|line| line.join(" , ")).collect();
            prop_assert_eq!(found(trusted().client(ip(peer), &plain)), model(peer, &entries));
            let element = |entry: &&str| if entry.is_empty() { String::new() } else { format!("for=\"{entry}\"") };
            let rfc = lines.iter().map(|line| line.iter().map(element).collect::<Vec<_>>().join(" , "));
            let rfc: Vec<_> = rfc.collect();
            prop_assert_eq!(found(trusted().client_of_forwarded(ip(peer), &rfc)), model(peer, &entries));
        }

        #[test]
        fn no_bytes_panic_and_nothing_on_the_left_matters(
            spoofed in prop::collection::vec(any::<Vec<u8>>(), 0..4),
            hops in 1..=MAX_HOPS,
        ) {
            let proxies = TrustedProxies::hops(hops).unwrap();
            proxies.client(ip("10.0.0.1"), &spoofed);
            proxies.client_of_forwarded(ip("10.0.0.1"), &spoofed);
            // The edge proxy appends the client, the others append the proxy before them.
            let mut line = spoofed.join(&b", "[..]);
            line.extend_from_slice(b", 8.8.8.8");
            line.extend_from_slice(", 10.0.0.2".repeat(hops - 1).as_bytes());
            prop_assert_eq!(found(proxies.client(ip("10.0.0.1"), [&line])), "8.8.8.8 Header");
            prop_assert_eq!(found(trusted().client(ip("10.0.0.1"), [&line])), "8.8.8.8 Header");
        }
    }
}

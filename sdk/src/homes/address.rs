//! IP addresses that say nothing about where somebody is.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What an address is for when it is no public host's.
///
/// Source: the IANA special-purpose address registries (RFC 6890) as of 2025.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// Nobody's: `0.0.0.0/8`, `::`.
    Unspecified,
    /// This host: `127.0.0.0/8`, `::1`.
    Loopback,
    /// This network: `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, `fc00::/7`, `fec0::/10`, `64:ff9b:1::/48`.
    Private,
    /// Behind a carrier's address translation: `100.64.0.0/10`.
    CarrierNat,
    /// This link: `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// A group: `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// Examples: `192.0.2.0/24`, `198.51.100.0/24`, `203.0.113.0/24`, `2001:db8::/32`, `3fff::/20`.
    Documentation,
    /// Measurements: `198.18.0.0/15`, `2001:2::/48`.
    Benchmarking,
    /// Not given to anyone: `192.0.0.0/24`, `240.0.0.0/4`, IPv6 outside `2000::/3`.
    Reserved,
}

/// The address behind its notation: `::ffff:a.b.c.d` (IPv4-mapped) and `64:ff9b::a.b.c.d` (the translation prefix of
/// RFC 6052) are the IPv4 address in them.
#[must_use]
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                Ipv4Addr::new(a, b, c, d).into()
            }
            _ => v6.to_canonical(),
        },
        IpAddr::V4(_) => address,
    }
}

impl SpecialUse {
    /// What an address is for; `None` for one that a public host may have.
    ///
    /// ```
    /// use archipelago::homes::SpecialUse;
    ///
    /// assert_eq!(SpecialUse::of("100.64.0.1".parse()?), Some(SpecialUse::CarrierNat));
    /// assert_eq!(SpecialUse::of("::ffff:10.0.0.1".parse()?), Some(SpecialUse::Private));
    /// assert_eq!(SpecialUse::of("2a00:1450::1".parse()?), None);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        match canonical(address) {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Option<SpecialUse> {
    Some(match address.octets() {
        [0, ..] => SpecialUse::Unspecified,
        [127, ..] => SpecialUse::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => SpecialUse::Private,
        [100, 64..=127, ..] => SpecialUse::CarrierNat,
        [169, 254, ..] => SpecialUse::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => SpecialUse::Documentation,
        [198, 18..=19, ..] => SpecialUse::Benchmarking,
        [224..=239, ..] => SpecialUse::Multicast,
        [192, 0, 0, _] | [240..=255, ..] => SpecialUse::Reserved,
        _ => return None,
    })
}

fn of_v6(address: Ipv6Addr) -> Option<SpecialUse> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => SpecialUse::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => SpecialUse::Loopback,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => SpecialUse::Private,
        [0xfe80..=0xfebf, ..] => SpecialUse::LinkLocal,
        [0xff00..=0xffff, ..] => SpecialUse::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => SpecialUse::Documentation,
        [0x2001, 2, 0, ..] => SpecialUse::Benchmarking,
        [0x2000..=0x3fff, ..] => return None,
        // A database keeps IPv4 below ::/96, so that ::a.b.c.d, which nobody has, would be found there.
        _ => SpecialUse::Reserved,
    })
}

impl fmt::Display for SpecialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierNat => "carrier NAT",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First and last address of each block, and their neighbours outside.
    const EDGES: &str = "
        0.0.0.0 unspecified      0.255.255.255 unspecified       1.0.0.0 -
        9.255.255.255 -          10.0.0.0 private                10.255.255.255 private       11.0.0.0 -
        100.63.255.255 -         100.64.0.0 carrier-NAT          100.127.255.255 carrier-NAT  100.128.0.0 -
        126.255.255.255 -        127.0.0.0 loopback              127.255.255.255 loopback     128.0.0.0 -
        169.253.255.255 -        169.254.0.0 link-local          169.254.255.255 link-local   169.255.0.0 -
        172.15.255.255 -         172.16.0.0 private              172.31.255.255 private       172.32.0.0 -
        191.255.255.255 -        192.0.0.0 reserved              192.0.0.255 reserved         192.0.1.0 -
        192.0.2.0 documentation  192.0.2.255 documentation       192.0.3.0 -
        192.167.255.255 -        192.168.0.0 private             192.168.255.255 private      192.169.0.0 -
        198.17.255.255 -         198.18.0.0 benchmarking         198.19.255.255 benchmarking  198.20.0.0 -
        198.51.99.255 -          198.51.100.0 documentation      198.51.101.0 -
        203.0.112.255 -          203.0.113.255 documentation     203.0.114.0 -
        223.255.255.255 -        224.0.0.0 multicast             239.255.255.255 multicast
        240.0.0.0 reserved       255.255.255.255 reserved
        :: unspecified           ::1 loopback                    ::2 reserved                 ::8.8.8.8 reserved
        ::ffff:8.8.8.8 -         ::ffff:127.0.0.1 loopback       64:ff9b::8.8.8.8 -           64:ff9b::10.0.0.1 private
        64:ff9b:1::8.8.8.8 private   1fff:ffff:: reserved        2000:: -                     2001:2:0:ffff:: benchmarking
        2001:2:1:: -             2001:db7:ffff:: -               2001:db8:: documentation     2001:db9:: -
        3ffe:ffff:: -            3fff:: documentation            3fff:fff:ffff:: documentation   3fff:1000:: -
        4000:: reserved          fbff:ffff:: reserved            fc00:: private               fdff:ffff:: private
        fe00:: reserved          fe80:: link-local               febf:ffff:: link-local       fec0:: private
        feff:ffff:: private      ff00:: multicast                ffff:: multicast";

    #[test]
    fn every_block_ends_where_its_registry_says() {
        let words: Vec<_> = EDGES.split_whitespace().collect();
        for pair in words.chunks(2) {
            let found = SpecialUse::of(pair.first().unwrap().parse().unwrap()).map(|special| special.to_string());
            let expected = pair.last().copied().filter(|word| *word != "-").map(|word| word.replace("r-N", "r N"));
            assert_eq!(found, expected, "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn notation_does_not_matter(bits in any::<u32>()) {
            let plain = Ipv4Addr::from(bits);
            let translated: IpAddr = format!("64:ff9b::{plain}").parse().unwrap();
            for other in [plain.to_ipv6_mapped().into(), translated] {
                prop_assert_eq!(canonical(other), IpAddr::V4(plain));
                prop_assert_eq!(SpecialUse::of(other), SpecialUse::of(plain.into()));
            }
        }

        #[test]
        fn the_standard_library_agrees_where_it_has_a_word(v4 in any::<u32>(), v6 in any::<u128>()) {
            let (v4, v6) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
            let found = SpecialUse::of(v4.into());
            prop_assert_eq!(v4.is_private(), found == Some(SpecialUse::Private));
            prop_assert_eq!(v4.is_multicast(), found == Some(SpecialUse::Multicast));
            let found = SpecialUse::of(v6.into());
            prop_assert_eq!(v6.is_multicast(), found == Some(SpecialUse::Multicast));
            prop_assert!(!v6.is_unique_local() || found == Some(SpecialUse::Private));
            prop_assert!(!v6.is_unicast_link_local() || found == Some(SpecialUse::LinkLocal));
        }
    }
}

//! What this library does with input of strangers: one function for each kind of it. They panic when a promise is broken.

use std::net::{IpAddr, Ipv4Addr};

use archipelago::{
    homes::{ClientSource, HomeRequest, SpecialUse, TrustedProxies, UserAddress},
    sessions::{Session, TokenError},
    web_sessions::SessionId,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use xxhash_rust::xxh3::xxh3_64;

/// A browser keeps 4096 bytes of a cookie, its name and attributes among them.
const LONGEST_TOKEN: usize = 3500;

/// A session token, as a cookie brings it.
pub fn session_token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        drop(read(text));
    }
}

/// Two session tokens with true checksums: the first as long as the first byte says.
pub fn session_token_body(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (first, second) = rest.split_at(usize::from(*length).min(rest.len()));
    let (first, second) = (read(&sealed(first)), read(&sealed(second)));
    let (Ok(first), Ok(second)) = (first, second) else { return };
    let merged = |a: &str, b: &str| {
        let session = session(a).expect("a token that was read");
        session.merge(b).expect("a token that was read");
        session.token()
    };
    let both = merged(&first, &second);
    assert_eq!(merged(&second, &first), both, "the order does not matter");
    assert_eq!(merged(&first, &first), first, "nor does seeing it twice");
    assert_eq!(merged(&both, &first), both, "what is in it is in it");
    assert_eq!(merged(&second, &both), both, "what is in it is in it");
    read(&both).expect("what merging gives is a token");
}

/// What a token's text means, written anew: the same for ever. Without tags, which depend on the time.
fn read(text: &str) -> Result<String, TokenError> {
    let token = session(text)?.token();
    assert!(token.len() <= LONGEST_TOKEN, "{} bytes", token.len());
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{token}");
    let again = session(&token).expect("what was written is read").token();
    assert_eq!(again, token, "it does not change by being read");
    Ok(token)
}

fn session(text: &str) -> Result<Session, TokenError> {
    Session::builder().tag_for(std::time::Duration::ZERO).from_token(text)
}

fn sealed(body: &[u8]) -> String {
    let [.., a, b, c, d] = xxh3_64(body).to_be_bytes();
    URL_SAFE_NO_PAD.encode([body, &[a, b, c, d]].concat())
}

/// The id of a web session, as a cookie brings it.
pub fn web_session_id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<SessionId>() {
        Ok(id) => {
            assert_eq!(id.to_text(), text, "one id has one text");
            let shown = format!("{id:?}");
            let is_told = text.as_bytes().windows(12).any(|part| shown.as_bytes().windows(12).any(|seen| seen == part));
            assert!(!is_told, "the secret is shown");
        }
        Err(error) => assert_eq!(error.to_string(), "not a session id", "an error repeats nothing"),
    }
}

/// A user's address as text, and a network of proxies as text.
pub fn user_address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match HomeRequest::new().with_address_text(text).address {
        Some(UserAddress::Ip(address)) => {
            assert_eq!(text.trim_ascii().parse(), Ok(address));
            if let IpAddr::V4(v4) = address {
                let mapped = IpAddr::from(v4.to_ipv6_mapped());
                assert_eq!(SpecialUse::of(mapped), SpecialUse::of(address), "notation does not matter");
            }
        }
        Some(UserAddress::Malformed) => assert!(text.trim_ascii().parse::<IpAddr>().is_err()),
        None => unreachable!("an address was given"),
    }
    if let Err(error) = TrustedProxies::networks([text]) {
        assert!(error.to_string().len() < 1000, "an error is short, whatever it is about");
    }
}

/// Lines of `X-Forwarded-For`, then of `Forwarded`; the first byte chooses who connects, and whom we trust.
pub fn forwarded_for(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let peers: [IpAddr; 3] = [
        Ipv4Addr::new(10, 0, 0, 1).into(),
        Ipv4Addr::new(45, 33, 32, 156).into(),
        Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().into(),
    ];
    let trusts = [
        TrustedProxies::networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]),
        TrustedProxies::hops(2),
        Ok(TrustedProxies::none()),
    ];
    let (peer, trust) = (peers[usize::from(choice % 3)], usize::from(choice / 3 % 3));
    let proxies = trusts[trust].as_ref().expect("networks, and a number of hops");
    let lines: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').collect();
    let claim =
        |claim: &'static str| std::iter::once(claim.as_bytes()).chain(lines.iter().copied()).collect::<Vec<_>>();

    let plain = proxies.client(peer, &lines);
    let standard = proxies.client_of_forwarded(peer, &lines);
    for found in [plain, standard] {
        let is_peers = found.address == peer.to_canonical();
        match found.source {
            ClientSource::Header => {
                assert!(trust != 0 || !is_trusted(found.address), "a proxy is no client: {found:?}")
            }
            ClientSource::AllTrusted => assert!(is_trusted(found.address), "{found:?}"),
            _ => assert!(is_peers, "nobody's word is taken: {found:?}"),
        }
        assert_eq!(found.address, found.address.to_canonical(), "IPv4 is IPv4");
    }
    // What stands left of the client is its own claim, and changes nothing.
    if plain.source == ClientSource::Header {
        assert_eq!(proxies.client(peer, claim("6.6.6.6")), plain);
        let longer = [b"6.6.6.6, ", lines.first().copied().unwrap_or_default()].concat();
        let lines: Vec<_> = std::iter::once(longer.as_slice()).chain(lines.iter().skip(1).copied()).collect();
        assert_eq!(proxies.client(peer, lines), plain);
    }
    if standard.source == ClientSource::Header {
        assert_eq!(proxies.client_of_forwarded(peer, claim("for=6.6.6.6")), standard);
    }
}

/// Whether the first of the trusts above trusts it.
fn is_trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 10 || v4.octets() == [192, 0, 2, 7],
        IpAddr::V6(v6) => v6.segments()[..2] == [0x2001, 0xdb8],
    }
}

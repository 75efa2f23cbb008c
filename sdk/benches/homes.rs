//! What finding a user's home costs: kept, looked up, refused before the lookup, and behind proxies.
//!
//! The database has 57,000 networks with records of a City database, each its own; there are four regions. Medians of
//! three runs on two shared cores that had three to five times as much to do; the lower ends are the nearer to the truth:
//!
//! | | |
//! |---|---|
//! | kept answer | 0.16 to 0.29 µs, pinned 0.20 to 0.30 µs |
//! | looked up, 1,000 addresses (warm) | 1.4 to 1.9 µs |
//! | looked up, 1,000,000 addresses (cold) | 2.0 to 3.1 µs |
//! | looked up and kept, the cache full | 4.5 to 9.3 µs |
//! | private address: rules only | 0.08 to 0.11 µs |
//! | `X-Forwarded-For` of three entries, three trusted networks | 0.20 µs |
//! | `Forwarded` of three elements, the same | 0.77 µs |
//!
//! Keeping an answer in a full cache costs more than looking it up: `cache.entries` pays where users come back.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no API, and stops at what it does not expect")]

#[allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "the tests' own")]
#[path = "../tests/homes/mmdb.rs"]
mod mmdb;

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

use archipelago::{
    homes::{Database, HomeRequest, HomeResolver, HomesConfig, TrustedProxies},
    routing::{Location, RegionInfo},
};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;

/// One /24 in each /16 block of public addresses, each with a record of its own.
fn database() -> Database {
    let networks =
        (1..=223_u8).filter(|first| *first != 127).flat_map(|first| (0..=255_u8).map(move |second| (first, second)));
    let writer = networks.fold(mmdb::Writer::new(6, 28), |writer, (first, second)| {
        let record = json!({
            "city": {"geoname_id": 2_950_159, "names": {"de": "Berlin", "en": "Berlin", "ja": "ベルリン", "ru": "Берлин"}},
            "continent": {"code": "EU", "geoname_id": 6_255_148, "names": {"de": "Europa", "en": "Europe", "fr": "Europe"}},
            "country": {"geoname_id": 2_921_044, "iso_code": "DE", "names": {"de": "Deutschland", "en": "Germany"}},
            "location": {"accuracy_radius": 20, "latitude": f64::from(first) / 5.0, "longitude": f64::from(second) / 3.0},
            "postal": {"code": "10115"},
            "subdivisions": [{"iso_code": "BE", "names": {"de": "Land Berlin", "en": "Land Berlin"}}],
        });
        writer.network(&format!("{first}.{second}.128.0/17"), record)
    });
    Database::from_bytes(writer.bytes()).unwrap()
}

fn resolver(database: &Database, entries: u64) -> HomeResolver {
    let mut config: HomesConfig = toml::from_str(
        "default = 'us-east-1'
        countries = { IN = 'ap-south-1' }
        residency = [{ countries = ['FR', 'GB'], regions = ['eu-west-1', 'eu-central-1'] }]",
    )
    .unwrap();
    config.cache.entries = entries;
    let regions = [
        ("us-east-1", 39.04, -77.49),
        ("eu-west-1", 53.35, -6.26),
        ("eu-central-1", 50.11, 8.68),
        ("ap-south-1", 19.08, 72.88),
    ];
    let regions = regions
        .map(|(name, lat, lon)| RegionInfo::new(name.parse().unwrap()).with_location(Location::new(lat, lon).unwrap()));
    config.build(&regions).unwrap().with_database(database.clone())
}

/// Public addresses all over the database, the same at every run.
fn addresses(count: u32) -> Vec<IpAddr> {
    let spread = |i: u32| {
        let [a, b, c, d] = i.wrapping_mul(2_654_435_761).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(11 + a % 80, b, c | 128, d))
    };
    (0..count).map(spread).collect()
}

fn homes(criterion: &mut Criterion) {
    let database = database();
    let (kept, bare) = (resolver(&database, 10_000), resolver(&database, 0));
    let mut of = |name: &str, resolver: &HomeResolver, addresses: &[IpAddr], pin: Option<&str>| {
        let mut next = addresses.iter().cycle();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let request = HomeRequest::new().with_address(*next.next().unwrap());
                let request = pin.into_iter().fold(request, HomeRequest::with_pin);
                black_box(resolver.resolve(black_box(&request)).index())
            });
        });
    };
    of("kept, one address", &kept, &addresses(1), None);
    of("kept, 1,000 addresses", &kept, &addresses(1000), None);
    of("kept, pinned", &kept, &addresses(1), Some("ap-south-1"));
    of("looked up, 1,000 addresses", &bare, &addresses(1000), None);
    of("looked up, 1,000,000 addresses", &bare, &addresses(1_000_000), None);
    of("looked up and kept, 1,000,000 addresses", &kept, &addresses(1_000_000), None);
    of("private address", &kept, &["10.1.2.3".parse().unwrap()], None);

    let proxies = TrustedProxies::networks(["10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"]).unwrap();
    let peer: IpAddr = "10.0.0.1".parse().unwrap();
    criterion.bench_function("X-Forwarded-For, three entries", |bencher| {
        bencher.iter(|| black_box(proxies.client(peer, [black_box("1.2.3.4, 81.2.69.142, 192.0.2.7")])));
    });
    criterion.bench_function("Forwarded, three elements", |bencher| {
        let line = "for=1.2.3.4, for=\"[2a00::1]:80\";proto=https, for=192.0.2.7";
        bencher.iter(|| black_box(proxies.client_of_forwarded(peer, [black_box(line)])));
    });
}

criterion_group!(benches, homes);
criterion_main!(benches);

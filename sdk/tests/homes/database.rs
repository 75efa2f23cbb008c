//! Databases: layouts, sizes, and files that change while in use.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use archipelago::{
    homes::{Database, DatabaseConfig, DatabaseError, HomeRequest, HomesConfig, Lookup, Place},
    routing::{Location, RegionInfo},
    testing::poll,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::mmdb::Writer;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn in_country(code: &str) -> Lookup {
    Lookup::Found(Place::in_country(code.parse().unwrap()))
}

/// A database in which 8.8.8.0/24 is in this country.
fn with_country(code: &str) -> Vec<u8> {
    Writer::new(6, 24).network("8.8.8.0/24", json!({"country_code": code})).bytes()
}

fn looked_up(record: Value) -> Lookup {
    let other = json!({"country_code": "FR"});
    let bytes = Writer::new(6, 24).network("8.8.8.0/24", record).network("9.0.0.0/8", other).bytes();
    Database::from_bytes(bytes).unwrap().look_up(ip("8.8.8.8"))
}

#[test]
fn every_layout_is_understood() {
    let berlin = Place::in_country("DE".parse().unwrap()).with_location(Location::new(52.5, 13.25).unwrap());
    for record in [
        json!({
            "city": {"geoname_id": 2_950_159, "names": {"de": "Berlin", "ja": "ベルリン"}},
            "continent": {"code": "EU", "geoname_id": 6_255_148, "names": {"en": "Europe"}},
            "country": {"iso_code": "DE", "is_in_european_union": true, "names": {"en": "Germany"}},
            "location": {"accuracy_radius": 20, "latitude": 52.5, "longitude": 13.25, "time_zone": "Europe/Berlin"},
            "registered_country": {"iso_code": "US"},
            "subdivisions": [{"iso_code": "BE", "names": {"en": "Land Berlin"}}],
        }),
        json!({"city": "Berlin", "country_code": "DE", "latitude": 52.5, "longitude": 13.25, "postcode": "10115"}),
        json!({"country": "DE", "country_name": "Germany", "continent": "EU", "lat": "52.5", "lng": "13.25"}),
        json!({"country": "Germany", "country_code": "DE", "continent": "Europe", "latitude": "52.5", "longitude": "13.25"}),
    ] {
        assert_eq!(looked_up(record.clone()), Lookup::Found(berlin), "{record}");
    }
    assert_eq!(looked_up(json!({"country_code": "DE"})), in_country("DE"));
    let europe = Place { continent: "EU".parse().ok(), ..Place::default() };
    assert_eq!(looked_up(json!({"continent": {"code": "EU"}})), Lookup::Found(europe));
    // What the database says of the continent counts, not what we would.
    let cyprus = Place { continent: "AS".parse().ok(), ..Place::in_country("CY".parse().unwrap()) };
    assert_eq!(looked_up(json!({"country": {"iso_code": "CY"}, "continent": {"code": "AS"}})), Lookup::Found(cyprus));
}

#[test]
fn fields_of_another_shape_are_not_there() {
    for record in [
        json!({}),
        json!({"country_code": 5}),
        json!({"country_code": true, "country": ["DE"], "continent": 1.5}),
        json!({"country": {"iso_code": {"code": "DE"}}}),
        json!({"country": {"iso_code": "Deutschland"}, "location": "52.5,13.25"}),
        json!({"location": {"latitude": 52.5}}),
        json!({"location": {"latitude": 95.5, "longitude": 5.5}}),
        json!({"latitude": "NaN", "longitude": "inf"}),
    ] {
        assert_eq!(looked_up(record.clone()), Lookup::Unknown, "{record}");
    }
}

#[test]
fn every_record_size_and_version_is_read() {
    for (version, bits) in [(4, 24), (4, 28), (4, 32), (6, 24), (6, 28), (6, 32)] {
        let mut writer = Writer::new(version, bits)
            .network("8.0.0.0/8", json!({"country_code": "US"}))
            .network("8.8.8.0/24", json!({"country_code": "DE"}))
            .network("8.8.8.8/32", json!({"country_code": "FR"}));
        if version == 6 {
            writer = writer.network("2a00::/16", json!({"country_code": "GB"}));
        }
        let database = Database::from_bytes(writer.bytes()).unwrap();
        for (address, expected) in [
            ("8.8.8.8", in_country("FR")),
            ("::ffff:8.8.8.8", in_country("FR")),
            ("8.8.8.9", in_country("DE")),
            ("8.8.9.0", in_country("US")),
            ("9.0.0.0", Lookup::Unknown),
            ("2a00:1::1", if version == 6 { in_country("GB") } else { Lookup::NotCovered }),
        ] {
            assert_eq!(database.look_up(ip(address)), expected, "{address} in IPv{version} of {bits} bits");
        }
    }
}

#[test]
fn what_is_no_database_is_refused() {
    let good = with_country("DE");
    for bytes in [vec![], b"hello".to_vec(), good[..good.len() - 1].to_vec(), good[4..].to_vec()] {
        assert!(matches!(Database::from_bytes(bytes), Err(DatabaseError::Broken(_))));
    }
    // One damaged record among good ones would be met by a user some day.
    let mut damaged = Writer::new(6, 24)
        .network("8.8.8.0/24", json!({"country_code": "DE"}))
        .network("9.9.9.0/24", json!({"country_code": "FR"}))
        .bytes();
    let at = damaged.windows(2).position(|bytes| bytes == b"FR").unwrap();
    damaged[at] = 0xff;
    assert!(matches!(Database::from_bytes(damaged), Err(DatabaseError::Broken(_))));
    let owners = Writer::new(6, 24).kind("Test-ASN").network("8.8.8.0/24", json!({"autonomous_system_number": 15169}));
    let error = Database::from_bytes(owners.bytes()).unwrap_err().to_string();
    assert!(error.starts_with("Test-ASN is no database of places"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damage_never_panics(at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Writer::new(6, 24)
            .network("8.8.8.0/24", json!({"country": {"iso_code": "DE"}, "location": {"latitude": 1.5, "longitude": 2.5}}))
            .network("2a00::/16", json!({"country_code": "GB"}))
            .bytes();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let cut = cut.index(bytes.len() * 4).min(bytes.len());
        bytes.truncate(cut);
        if let Ok(database) = Database::from_bytes(bytes) {
            for address in ["8.8.8.8", "2a00::1", "::", "255.255.255.255"] {
                let _ = database.look_up(ip(address));
            }
        }
    }

    #[test]
    fn the_tree_is_the_list_of_networks(
        networks in prop::collection::vec((any::<u32>(), 1_u8..=32), 1..20),
        probes in prop::collection::vec(any::<u32>(), 20),
    ) {
        let codes = ["DE", "FR", "GB", "US", "IN"];
        let networks: Vec<_> = networks
            .into_iter()
            .map(|(address, prefix)| ipnet::Ipv4Net::new(address.into(), prefix).unwrap().trunc())
            .zip(codes.into_iter().cycle())
            .collect();
        let writer = networks.iter().fold(Writer::new(6, 28), |writer, (network, code)| {
            writer.network(&network.to_string(), json!({"country_code": code}))
        });
        let database = Database::from_bytes(writer.bytes()).unwrap();
        let inside = networks.iter().map(|(network, _)| network.broadcast());
        for probe in probes.into_iter().map(Into::into).chain(inside) {
            // The longest prefix; of one network written twice, the later.
            let best = networks.iter().filter(|(network, _)| network.contains(&probe));
            let best = best.max_by_key(|(network, _)| network.prefix_len());
            let expected = best.map_or(Lookup::Unknown, |(_, code)| in_country(code));
            prop_assert_eq!(database.look_up(probe.into()), expected, "{}", probe);
        }
    }
}

/// As a careful updater does it.
fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("places.mmdb");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// A database that looks at its file when it is told to.
async fn still(path: &Path, mapped: bool) -> Database {
    let config = DatabaseConfig { path: path.to_owned(), reload_secs: 0, mapped };
    Database::open(&config).await.unwrap()
}

#[tokio::test]
async fn a_new_file_is_picked_up_and_a_broken_one_is_not() {
    is_picked_up(false).await;
}

#[cfg(feature = "homes-mmap")]
#[tokio::test]
async fn a_new_file_is_picked_up_where_it_is_mapped_too() {
    is_picked_up(true).await;
}

#[cfg(not(feature = "homes-mmap"))]
#[test]
fn a_build_that_maps_no_files_says_so() {
    let homes: HomesConfig = toml::from_str("database = { path = 'x.mmdb', mapped = true }").unwrap();
    let error = homes.build(&[RegionInfo::new("us".parse().unwrap())]).unwrap_err().to_string();
    assert!(error.contains("homes-mmap"), "{error}");
}

async fn is_picked_up(mapped: bool) {
    let (_folder, path) = file(&with_country("DE"));
    let database = still(&path, mapped).await;
    assert_eq!(database.look_up(ip("8.8.8.8")), in_country("DE"));
    assert!(!database.reload().await.unwrap(), "nothing changed");

    replace(&path, &with_country("FR"));
    assert!(database.reload().await.unwrap());
    assert_eq!(database.look_up(ip("8.8.8.8")), in_country("FR"));
    assert_eq!((database.status().exchanged, database.status().last_error), (1, None));

    replace(&path, b"half a file");
    assert!(matches!(database.reload().await, Err(DatabaseError::Broken(_))));
    assert!(!database.reload().await.unwrap(), "it is reported once");
    assert_eq!(database.look_up(ip("8.8.8.8")), in_country("FR"));
    assert!(database.status().last_error.unwrap().contains("not a usable MaxMind DB"));

    fs::remove_file(&path).unwrap();
    assert!(matches!(database.reload().await, Err(DatabaseError::Read { .. })));
    assert_eq!(database.look_up(ip("8.8.8.8")), in_country("FR"));

    replace(&path, &with_country("GB"));
    assert!(database.reload().await.unwrap());
    assert_eq!(database.look_up(ip("8.8.8.8")), in_country("GB"));
    assert_eq!(database.status().last_error, None);
}

#[tokio::test]
async fn the_task_picks_up_new_files_and_ends_with_the_last_handle() {
    let (_folder, path) = file(&with_country("DE"));
    let database = Database::open_every(&path, Duration::from_millis(5)).await.unwrap();
    let other = database.clone();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks(), 1);
    drop(database);
    for (code, broken_before) in [("FR", false), ("GB", true)] {
        if broken_before {
            replace(&path, b"broken");
            poll::until("the broken file to be seen", async || other.status().last_error).await;
        }
        replace(&path, &with_country(code));
        poll::until(code, async || (other.look_up(ip("8.8.8.8")) == in_country(code)).then_some(())).await;
        assert_eq!(other.status().last_error, None);
    }
    drop(other);
    poll::until("the task to end", async || (tasks() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_an_error_at_the_start() {
    let config = |path: &str| HomesConfig {
        database: Some(DatabaseConfig { path: path.into(), reload_secs: 60, mapped: false }),
        ..HomesConfig::default()
    };
    let regions = [RegionInfo::new("us".parse().unwrap())];
    let error = config("nowhere.mmdb").open(&regions).await.unwrap_err().to_string();
    assert!(error.starts_with("database: cannot read nowhere.mmdb"), "{error}");

    let (_folder, path) = file(&with_country("DE"));
    let homes = config(path.to_str().unwrap()).open(&regions).await.unwrap();
    let home = homes.resolve(&HomeRequest::new().with_address(ip("8.8.8.8")));
    assert_eq!(home.lookup(), in_country("DE"));
    assert_eq!(homes.database().unwrap().status().kind, "Test-City");
}

#[test]
fn no_answer_outlives_the_contents_it_came_from() {
    let regions = ["us", "eu"].map(|name| RegionInfo::new(name.parse().unwrap()));
    for entries in [0, 1000] {
        let mut config: HomesConfig = toml::from_str("default = 'us'\ncountries = { DE = 'eu', FR = 'us' }").unwrap();
        config.cache.entries = entries;
        let database = Database::from_bytes(with_country("DE")).unwrap();
        let homes = config.build(&regions).unwrap().with_database(database.clone());
        let home = |pin: Option<&'static str>| {
            let request = HomeRequest::new().with_address(ip("8.8.8.8"));
            let request = pin.into_iter().fold(request, HomeRequest::with_pin);
            homes.resolve(&request).region().to_string()
        };
        for _ in 0..3 {
            assert_eq!((home(None), home(Some("us"))), ("eu".into(), "us".into()), "a pin is not kept");
        }
        database.replace(with_country("FR")).unwrap();
        assert_eq!(home(None), "us", "with {entries} entries");
        assert!(database.replace(&b"broken"[..]).is_err());
        assert_eq!((home(None), database.status().exchanged), ("us".into(), 1));
    }
}

#[test]
fn addresses_of_users_reach_no_debug() {
    let regions = [RegionInfo::new("us".parse().unwrap())];
    let database = Database::from_bytes(with_country("DE")).unwrap();
    let homes = HomesConfig::default().build(&regions).unwrap().with_database(database);
    let home = homes.resolve(&HomeRequest::new().with_address(ip("8.8.8.8")));
    for text in [format!("{homes:?}"), format!("{home:?}"), home.to_string()] {
        assert!(!text.contains("8.8.8"), "{text}");
    }
}

/// On a real database, named by `ARCHIPELAGO_MMDB`.
#[test]
fn a_real_database_is_understood() {
    let Some(path) = std::env::var_os("ARCHIPELAGO_MMDB") else {
        eprintln!("ARCHIPELAGO_MMDB names no database: skipped");
        return;
    };
    let database = Database::from_bytes(fs::read(path).unwrap()).unwrap();
    println!("{:?}", database.status());
    let (mut found, mut placed) = (0_u32, 0_u32);
    for i in 0..100_000_u32 {
        // Spread over all addresses, the same at every run.
        match database.look_up(IpAddr::V4(i.wrapping_mul(2_654_435_761).into())) {
            Lookup::Found(place) => {
                found += 1;
                assert!(place.country.is_some() || place.continent.is_some() || place.location.is_some());
                placed += u32::from(place.location.is_some());
            }
            Lookup::Unknown => {}
            other => panic!("{other:?}"),
        }
    }
    println!("{found} of 100000 addresses found, {placed} with coordinates");
    assert!(found > 50_000, "only {found} of 100000 addresses found");
    let country = |address: &str| database.look_up(ip(address)).place().country.map(|country| country.to_string());
    assert_eq!(country("8.8.8.8").as_deref(), Some("US"));
    assert_eq!(country("193.0.6.139").as_deref(), Some("NL"), "the RIPE NCC in Amsterdam");
}

//! The decision table: regions, a database, users and the expected homes with their reasons, in `homes.txt`.
//!
//! ```text
//! region NAME [weight=N] [at=LAT,LON]       a new world begins with the first region after a case
//! network CIDR JSON                         a record of the database; without any there is no database
//!
//! case SENTENCE
//! config                                    the configuration follows, indented TOML
//! user [pin=REGION] [address=A] [country=C] [at=LAT,LON]
//!   home REGION: STEP                       the answer, as it displays itself
//!     ...
//! refused: MESSAGE                          instead of users: the configuration is not accepted
//! ```
//!
//! With `UPDATE_TABLES=1` in the environment the file is rewritten with what the code answers: read the difference
//! before it is committed.

use std::{fmt::Write, fs, iter::Peekable, path::Path, str::Lines};

use archipelago::{
    homes::{Database, HomeRequest, HomeResolver, HomesConfig, Place},
    routing::{Location, RegionInfo},
};

use super::mmdb;

#[test]
fn every_home_is_as_the_table_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/homes/homes.txt");
    let written = fs::read_to_string(&file).unwrap();
    let (decided, homes) = play(&written);
    if std::env::var_os("UPDATE_TABLES").is_some() {
        fs::write(&file, decided).unwrap();
    } else {
        for (number, (written, decided)) in written.lines().zip(decided.lines()).enumerate() {
            assert_eq!(decided, written, "line {}: left decided, right written", number + 1);
        }
        assert_eq!(decided, written);
    }
    assert!(homes >= 30, "only {homes} homes are left");
}

#[test]
fn a_wrong_table_is_caught() {
    let right = "region us\n\ncase simple\nconfig\nuser\n  home us: default\n";
    let (decided, homes) = play(&right.replace("home us", "home eu"));
    assert_eq!((&decided[..49], homes), (&right[..49], 1), "{decided}");
}

/// The table with the answers of the code, and how many there are.
fn play(text: &str) -> (String, usize) {
    let (mut out, mut world, mut homes, mut in_case) = (String::new(), World::default(), 0, false);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "region" && in_case {
            (world, in_case) = (World::default(), false);
        }
        if word != "refused:" {
            writeln!(out, "{line}").unwrap();
        }
        match word {
            "region" => world.regions.push(region(rest)),
            "network" => world.networks.push(rest.split_once(' ').unwrap()),
            "case" => in_case = true,
            "config" => {
                let config = indented(&mut lines);
                out.push_str(&config);
                world.resolver = None;
                match world.build(&config) {
                    Ok(resolver) => world.resolver = Some(resolver),
                    Err(refusal) => writeln!(out, "refused: {refusal}").unwrap(),
                }
            }
            "user" => {
                indented(&mut lines);
                let resolver = world.resolver.as_ref().expect("a user after a configuration that was refused");
                let home = resolver.resolve(&user(rest)).to_string();
                home.lines().for_each(|line| writeln!(out, "  {line}").unwrap());
                homes += 1;
            }
            "" | "#" | "refused:" => {}
            word => panic!("{word:?} begins no line of a table"),
        }
    }
    (out, homes)
}

#[derive(Default)]
struct World<'t> {
    regions: Vec<RegionInfo>,
    networks: Vec<(&'t str, &'t str)>,
    resolver: Option<HomeResolver>,
}

impl World<'_> {
    fn build(&self, config: &str) -> Result<HomeResolver, String> {
        let config: HomesConfig = toml::from_str(config).map_err(|error| error.message().to_owned())?;
        let resolver = config.build(&self.regions).map_err(|error| error.to_string())?;
        if self.networks.is_empty() {
            return Ok(resolver);
        }
        let writer = self.networks.iter().fold(mmdb::Writer::new(6, 28), |writer, (network, record)| {
            writer.network(network, serde_json::from_str(record).unwrap())
        });
        Ok(resolver.with_database(Database::from_bytes(writer.bytes()).unwrap()))
    }
}

/// The lines that follow with an indent.
fn indented(lines: &mut Peekable<Lines<'_>>) -> String {
    let mut text = String::new();
    while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
        writeln!(text, "{line}").unwrap();
    }
    text
}

fn region(text: &str) -> RegionInfo {
    let mut words = text.split(' ');
    let region = RegionInfo::new(words.next().unwrap().parse().unwrap());
    words.fold(region, |region, word| match word.split_once('=').unwrap() {
        ("weight", weight) => region.with_weight(weight.parse().unwrap()),
        ("at", place) => region.with_location(location(place)),
        (word, _) => panic!("{word:?} describes no region"),
    })
}

fn user(text: &str) -> HomeRequest<'_> {
    let (mut request, mut place) = (HomeRequest::new(), None);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match word.split_once('=').unwrap() {
            ("pin", region) => request = request.with_pin(region),
            ("address", address) => request = request.with_address_text(address),
            ("country", country) => place = Some(Place::in_country(country.parse().unwrap())),
            ("at", at) => place = Some(place.unwrap_or_default().with_location(location(at))),
            (word, _) => panic!("{word:?} describes no user"),
        }
    }
    place.into_iter().fold(request, HomeRequest::with_place)
}

fn location(text: &str) -> Location {
    let (lat, lon) = text.split_once(',').unwrap();
    Location::new(lat.parse().unwrap(), lon.parse().unwrap()).unwrap()
}

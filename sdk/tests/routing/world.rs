//! The lines of a table that say how things are.

use std::{collections::BTreeMap, time::Duration};

use archipelago::routing::{
    Availability, Location, NodeInfo, NodeState, RegionIndex, RegionInfo, Request, Role, RoutingConfig, Topology,
};

/// Regions and nodes, as listed so far.
#[derive(Default)]
pub(crate) struct World {
    regions: Vec<RegionInfo>,
    nodes: Vec<NodeInfo>,
    local: Option<RegionIndex>,
    active: Option<String>,
    pub(crate) is_played: bool,
}

impl World {
    pub(crate) fn begin_anew_after_a_case(&mut self) {
        if self.is_played {
            *self = Self::default();
        }
    }

    pub(crate) fn take(&mut self, word: &str, rest: &str) {
        let (name, words) = named(rest);
        match word {
            "region" => self.regions.push(region(name, &words)),
            "node" => self.nodes.push(self.node(name, &words)),
            "local" => self.local = Some(self.index(name)),
            "active" => self.active = Some(name.to_owned()),
            other => panic!("unknown word {other}"),
        }
    }

    pub(crate) fn topology(&self) -> Topology {
        let local = self.local.unwrap_or(RegionIndex(0));
        Topology::new(self.regions.clone(), self.nodes.clone(), local, 1).unwrap()
    }

    pub(crate) fn active(&self, topology: &Topology) -> RegionIndex {
        self.active.as_deref().map_or(RegionIndex(0), |name| topology.region_named(name).unwrap())
    }

    fn index(&self, name: &str) -> RegionIndex {
        let at = self.regions.iter().position(|region| region.id.as_str() == name);
        RegionIndex(at.unwrap_or_else(|| panic!("no region {name}")).try_into().unwrap())
    }

    fn node(&self, name: &str, words: &BTreeMap<&str, &str>) -> NodeInfo {
        let of = words.get("of").copied().unwrap_or_else(|| name.split_once('/').unwrap().0);
        let stands_in = words.get("in").copied().unwrap_or_else(|| name.split_once('@').map_or(of, |(_, place)| place));
        let role = if words.contains_key("replica") { Role::Replica } else { Role::Primary };
        NodeInfo { name: name.into(), region: self.index(of), stands_in: self.index(stands_in), role }
    }
}

/// What one case says: the configuration, and how nodes are.
#[derive(Default)]
pub(crate) struct Setting {
    config: String,
    states: BTreeMap<String, NodeState>,
}

impl Setting {
    pub(crate) fn take(&mut self, word: &str, rest: &str) {
        match word {
            "config" => self.config = rest.to_owned(),
            "state" => {
                let (name, words) = named(rest);
                self.states.insert(name.to_owned(), state(&words));
            }
            other => panic!("unknown word {other}"),
        }
    }

    pub(crate) fn config(&self) -> RoutingConfig {
        #[derive(serde::Deserialize)]
        struct Line {
            config: RoutingConfig,
        }
        let text = if self.config.is_empty() { "{}" } else { &self.config };
        toml::from_str::<Line>(&format!("config = {text}")).unwrap().config
    }

    pub(crate) fn states(&self, topology: &Topology) -> Vec<NodeState> {
        for name in self.states.keys() {
            assert!(topology.node_named(name).is_some(), "no node {name}");
        }
        topology.nodes().iter().map(|node| self.states.get(&*node.name).copied().unwrap_or(NodeState::up())).collect()
    }
}

/// The request of a line such as `read key=user:1`.
pub(crate) fn request<'a>(topology: &Topology, line: &'a str) -> Request<'a> {
    let (access, words) = named(line);
    let mut request = if access == "read" { Request::read() } else { Request::write() };
    for (key, value) in words {
        request = match key {
            "key" => request.with_key(value.as_bytes()),
            "home" => request.with_home(topology.region_named(value).unwrap_or(RegionIndex(u8::MAX))),
            "max-staleness" => request.with_max_staleness(duration(value)),
            "needs-primary" => request.needing_primary(),
            "random" => request.with_random(value.parse().unwrap()),
            other => panic!("unknown word {other}"),
        };
    }
    request
}

fn region(name: &str, words: &BTreeMap<&str, &str>) -> RegionInfo {
    let mut region = RegionInfo::new(name.parse().unwrap());
    if let Some(weight) = words.get("weight") {
        region = region.with_weight(weight.parse().unwrap());
    }
    if let Some((lat, lon)) = words.get("at").map(|place| place.split_once(',').unwrap()) {
        region = region.with_location(Location::new(lat.parse().unwrap(), lon.parse().unwrap()).unwrap());
    }
    region
}

fn state(words: &BTreeMap<&str, &str>) -> NodeState {
    words.iter().fold(NodeState::up(), |state, (key, value)| match *key {
        "up" => state,
        "half-open" => state.with_availability(Availability::Probing),
        "down" => state.with_availability(Availability::Down),
        "latency" => state.with_latency(duration(value)),
        "in-flight" => state.with_in_flight(value.parse().unwrap()),
        "behind" => state.with_staleness(duration(value)),
        "syncing" => state.syncing(),
        other => panic!("unknown word {other}"),
    })
}

/// A name, and the words behind it: `key=value` or bare.
fn named(text: &str) -> (&str, BTreeMap<&str, &str>) {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    (name, words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect())
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap());
    let number: f64 = number.parse().unwrap();
    Duration::from_secs_f64(if unit == "ms" { number / 1000.0 } else { number })
}

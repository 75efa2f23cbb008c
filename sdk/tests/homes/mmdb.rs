//! A writer of small MaxMind DB files, after <https://maxmind.github.io/MaxMind-DB/>: as much of the format as tests need.
#![allow(dead_code, reason = "tests and the benchmark each use a part")]

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

/// What a record of the search tree points to.
#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A file in the making.
pub(crate) struct Writer {
    ip_version: u8,
    record_bits: u8,
    kind: &'static str,
    networks: Vec<(IpNet, Value)>,
}

impl Writer {
    /// For addresses of this version (an IPv6 file holds IPv4, too), with records of 24, 28 or 32 bits.
    pub(crate) fn new(ip_version: u8, record_bits: u8) -> Self {
        Self { ip_version, record_bits, kind: "Test-City", networks: Vec::new() }
    }

    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// Adds a network; a smaller one within a greater is cut out of it.
    pub(crate) fn network(mut self, network: &str, record: Value) -> Self {
        self.networks.push((network.parse().expect("a network"), record));
        self
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.networks.sort_by_key(|(network, _)| self_depth(self.ip_version, network));
        let (mut tree, mut data) = (vec![[Record::Nothing; 2]], Vec::new());
        for (network, record) in &self.networks {
            let at = data.len();
            encode(record, &mut data);
            insert(&mut tree, &bits(self.ip_version, network), at);
        }
        let mut file = Vec::new();
        for node in &tree {
            let value = |record: Record| match record {
                Record::Nothing => tree.len(),
                Record::Node(node) => node,
                Record::Data(at) => tree.len() + 16 + at,
            };
            put_node(self.record_bits, value(node[0]), value(node[1]), &mut file);
        }
        file.extend([0; 16]);
        file.extend(data);
        file.extend(b"\xab\xcd\xefMaxMind.com");
        self.put_metadata(tree.len(), &mut file);
        file
    }

    /// Readers insist on the types that the format gives these numbers.
    fn put_metadata(&self, nodes: usize, to: &mut Vec<u8>) {
        put_type(7, 9, to);
        for (key, kind, number) in [
            ("binary_format_major_version", UINT16, 2),
            ("binary_format_minor_version", UINT16, 0),
            ("build_epoch", UINT64, 1_700_000_000),
            ("ip_version", UINT16, u64::from(self.ip_version)),
            ("node_count", UINT32, nodes as u64),
            ("record_size", UINT16, u64::from(self.record_bits)),
        ] {
            encode(&json!(key), to);
            put_number(kind, number, to);
        }
        let texts = [
            ("database_type", json!(self.kind)),
            ("description", json!({"en": "made by a test"})),
            ("languages", json!(["en"])),
        ];
        for (key, value) in texts {
            encode(&json!(key), to);
            encode(&value, to);
        }
    }
}

const UINT16: u8 = 5;
const UINT32: u8 = 6;
const UINT64: u8 = 9;

/// How deep in the tree a network is: IPv4 is below ::/96.
fn self_depth(ip_version: u8, network: &IpNet) -> usize {
    bits(ip_version, network).len()
}

fn bits(ip_version: u8, network: &IpNet) -> Vec<usize> {
    let (bits, width, above) = match network.addr() {
        IpAddr::V4(v4) if ip_version == 6 => (u128::from(u32::from(v4)), 128, 96),
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32, 0),
        IpAddr::V6(v6) => (u128::from(v6), 128, 0),
    };
    (0..above + usize::from(network.prefix_len())).map(|i| usize::from(bits >> (width - 1 - i) & 1 == 1)).collect()
}

fn insert(tree: &mut Vec<[Record; 2]>, bits: &[usize], data: usize) {
    let Some((last, path)) = bits.split_last() else {
        tree[0] = [Record::Data(data); 2];
        return;
    };
    let mut node = 0;
    for bit in path {
        node = match tree[node][*bit] {
            Record::Node(next) => next,
            above => {
                tree.push([above; 2]);
                let next = tree.len() - 1;
                tree[node][*bit] = Record::Node(next);
                next
            }
        };
    }
    tree[node][*last] = Record::Data(data);
}

fn put_node(bits: u8, left: usize, right: usize, to: &mut Vec<u8>) {
    let (left, right) = (u32::try_from(left).expect("small"), u32::try_from(right).expect("small"));
    assert!(bits == 32 || left.max(right) < 1 << bits, "records of {bits} bits are too small");
    let ([l, left @ ..], [r, right @ ..]) = (left.to_be_bytes(), right.to_be_bytes());
    match bits {
        24 => to.extend([left, right].concat()),
        28 => to.extend([&left[..], &[l << 4 | r], &right[..]].concat()),
        32 => to.extend([&[l][..], &left[..], &[r][..], &right[..]].concat()),
        _ => panic!("no record has {bits} bits"),
    }
}

fn encode(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            put_type(2, text.len(), to);
            to.extend(text.as_bytes());
        }
        Value::Number(number) if number.is_f64() => {
            put_type(3, 8, to);
            to.extend(number.as_f64().expect("a double").to_be_bytes());
        }
        Value::Number(number) => put_number(UINT32, number.as_u64().expect("no negative whole number"), to),
        Value::Bool(value) => put_type(14, usize::from(*value), to),
        Value::Array(values) => {
            put_type(11, values.len(), to);
            values.iter().for_each(|value| encode(value, to));
        }
        Value::Object(map) => {
            put_type(7, map.len(), to);
            for (key, value) in map {
                encode(&Value::String(key.clone()), to);
                encode(value, to);
            }
        }
        Value::Null => panic!("the format has no null"),
    }
}

fn put_number(kind: u8, number: u64, to: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    put_type(kind, bytes.len() - zeros, to);
    to.extend(&bytes[zeros..]);
}

/// The control byte, and what follows it: the type if it is above 7, and the size if it is above 28.
fn put_type(kind: u8, size: usize, to: &mut Vec<u8>) {
    let (short, more) = match size {
        0..=28 => (size, vec![]),
        29..=284 => (29, vec![size - 29]),
        285..=65_820 => (30, vec![(size - 285) / 256, (size - 285) % 256]),
        _ => panic!("too long for a test"),
    };
    let byte = |n: usize| u8::try_from(n).expect("a byte");
    to.push(if kind <= 7 { kind << 5 } else { 0 } | byte(short));
    if kind > 7 {
        to.push(kind - 7);
    }
    to.extend(more.into_iter().map(byte));
}

//! The routed connection against its promises, on real servers of the benchmark's own.
//!
//! ```sh
//! cargo bench -p archipelago-tests --bench routed -- throughput   # against the raw connection: 1 minute
//! cargo bench -p archipelago-tests --bench routed -- faults       # and the same faults on redis-py: 2 hours
//! cargo bench -p archipelago-tests --bench routed -- sessions     # what a token costs: 1 minute
//! cargo bench -p archipelago-tests --bench routed -- calm         # no false failover: 10 minutes
//! ```
//!
//! `--json` prints every figure for programs; `--help` lists how to measure less.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod calm;
mod faults;
mod peer;
mod report;
mod sessions;
mod throughput;
mod traffic;
mod trial;
mod turn;
mod world;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    /// What `cargo bench` adds.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Measurement {
    /// Routed GET and SET against the raw multiplexed connection, in turns.
    Throughput(throughput::Options),
    /// A region is killed, paused or black-holed under traffic.
    Faults(faults::Options),
    /// Calls of a session against calls without.
    Sessions(sessions::Options),
    /// Jitter and slow calls are no outage.
    Calm(calm::Options),
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    match arguments.measurement {
        Measurement::Throughput(options) => throughput::run(&options, arguments.json).await,
        Measurement::Faults(options) => faults::run(&options, arguments.json).await,
        Measurement::Sessions(options) => sessions::run(&options, arguments.json).await,
        Measurement::Calm(options) => calm::run(&options, arguments.json).await,
    }
}

//! How much of the raw connection's throughput the routed one keeps.

use std::time::Duration;

use archipelago::Config;
use indicatif::ProgressBar;
use redis::aio::ConnectionLike;
use serde_json::json;

use crate::{
    report::{self, median},
    turn::{Command, Turn},
    world::{Way, World},
};

/// The least share of the raw throughput.
const PROMISED: f64 = 0.93;

#[derive(clap::Args)]
pub struct Options {
    /// Rounds, of which the median counts. The sides take turns, so that what else the machine does meets both.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Tasks, each of which makes one call after the other.
    #[arg(long, default_value_t = 64)]
    tasks: usize,
    /// Milliseconds of one side's turn.
    #[arg(long, default_value_t = 1_000)]
    turn_ms: u64,
    /// Connections of the routed side to each node, instead of the default.
    #[arg(long)]
    connections: Option<usize>,
    /// One side alone, for a profiler.
    #[arg(long)]
    only: Option<Side>,
    /// One command alone.
    #[arg(long)]
    command: Option<Command>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    Raw,
    Routed,
}

pub async fn run(options: &Options, is_json: bool) {
    let world = World::start().await;
    let set_connections = |config: &mut Config| {
        for region in config.regions.values_mut() {
            region.connections = options.connections.unwrap_or(region.connections);
        }
    };
    let (client, routed) = world.client_with(Way::Direct, set_connections).await;
    // As a plain user has it: the crate's defaults, its own response timeout among them.
    let raw = redis::Client::open(world.us.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let commands = options.command.map_or_else(|| vec![Command::Get, Command::Set], |command| vec![command]);
    let progress = ProgressBar::new((commands.len() * options.rounds) as u64);
    let mut rows = Vec::new();
    for command in commands {
        let wants = |side| options.only.is_none_or(|only| only == side);
        let (mut of_raw, mut of_routed) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let raw = if wants(Side::Raw) { turn(&raw, command, options).await } else { 0.0 };
            let routed = if wants(Side::Routed) { turn(&routed, command, options).await } else { 0.0 };
            // The first round warms up.
            if round > 0 {
                of_raw.push(raw);
                of_routed.push(routed);
                progress.inc(1);
            }
        }
        rows.push((command, of_raw, of_routed));
    }
    progress.finish_and_clear();
    client.shut_down().await;
    show(&rows, is_json);
}

/// Calls a second. Each task has its own handle on the one connection.
async fn turn(
    connection: &(impl ConnectionLike + Clone + Send + Sync + 'static),
    command: Command,
    options: &Options,
) -> f64 {
    let handles = std::iter::repeat_n(connection, options.tasks).cloned();
    Turn::run(handles, command, Duration::from_millis(options.turn_ms)).await.per_second()
}

fn show(rows: &[(Command, Vec<f64>, Vec<f64>)], is_json: bool) {
    let mut table = report::table(["command", "raw/s", "routed/s", "ratio", "promised"]);
    let mut figures = Vec::new();
    for (command, raw, routed) in rows {
        let command = format!("{command:?}").to_uppercase();
        let ratio = median(raw.iter().zip(routed).map(|(raw, routed)| routed / raw));
        let (of_raw, of_routed) = (median(raw.iter().copied()), median(routed.iter().copied()));
        table.add_row([
            command.clone(),
            format!("{of_raw:.0}"),
            format!("{of_routed:.0}"),
            format!("{ratio:.3}"),
            format!("{PROMISED}"),
        ]);
        figures.push(json!({
            "command": command, "raw": of_raw, "routed": of_routed, "ratio": ratio,
            "promised": PROMISED, "kept": ratio >= PROMISED, "raw_rounds": raw, "routed_rounds": routed,
        }));
    }
    report::print(&table, &json!({ "throughput": figures }), is_json);
}

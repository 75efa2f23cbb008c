//! What a session's token costs the client, and the server.

use std::time::Duration;

use archipelago::{Config, Connection, routing::RoutingConfig, sessions::Session, testing::servers::Server};
use indicatif::ProgressBar;
use redis::AsyncCommands;
use serde_json::json;

use crate::{
    report::{self, median},
    turn::{Command, Turn},
    world::{Way, World},
};

#[derive(clap::Args)]
pub struct Options {
    /// Rounds, of which the median counts. With and without a token take turns.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Tasks, each with a session of its own, which makes one call after the other.
    #[arg(long, default_value_t = 64)]
    tasks: usize,
    /// Milliseconds of one side's turn.
    #[arg(long, default_value_t = 500)]
    turn_ms: u64,
}

/// One turn.
struct Cost {
    calls_per_second: f64,
    /// Processor time of the server that was asked.
    server_micros: f64,
}

pub async fn run(options: &Options, is_json: bool) {
    let world = World::start().await;
    let at_replica = |config: &mut Config| {
        for keyspace in config.keyspaces.values_mut() {
            keyspace.routing = Some(RoutingConfig { local_replica: true, ..RoutingConfig::default() });
        }
    };
    let (client, connection) = world.client_with(Way::Direct, at_replica).await;
    let progress = ProgressBar::new(2 * options.rounds as u64);
    let mut table =
        report::table(["call", "plain/s", "with token/s", "ratio", "server, plain", "with token", "ratio of both"]);
    let mut figures = Vec::new();
    for (call, name, server) in
        [(Command::Set, "SET", &world.us), (Command::Get, "GET at a replica", &world.us.replicas()[0])]
    {
        let mut turns = Vec::new();
        for round in 0..=options.rounds {
            let plain = turn(vec![connection.clone(); options.tasks], call, server, options).await;
            let mut of_sessions = Vec::new();
            for _ in 0..options.tasks {
                let mut of_session = connection.with_session(&Session::new());
                // So that there is something to check. SET writes, and GET reads at a replica that has everything.
                of_session.set::<_, _, ()>("written", "before").await.unwrap();
                of_sessions.push(of_session);
            }
            world.us.replicas_in_sync().await.unwrap();
            let with_token = turn(of_sessions, call, server, options).await;
            // The first round warms up.
            if round > 0 {
                turns.push((plain, with_token));
                progress.inc(1);
            }
        }
        let of = |pick: &dyn Fn(&(Cost, Cost)) -> f64| median(turns.iter().map(pick));
        let rates = (of(&|turn| turn.0.calls_per_second), of(&|turn| turn.1.calls_per_second));
        let costs = (of(&|turn| turn.0.server_micros), of(&|turn| turn.1.server_micros));
        let ratio = of(&|turn| turn.1.calls_per_second / turn.0.calls_per_second);
        let of_costs = of(&|turn| turn.1.server_micros / turn.0.server_micros);
        table.add_row([
            name.to_owned(),
            format!("{:.0}", rates.0),
            format!("{:.0}", rates.1),
            format!("{ratio:.2}"),
            format!("{:.2} µs", costs.0),
            format!("{:.2} µs", costs.1),
            format!("{of_costs:.2}"),
        ]);
        figures.push(json!({
            "call": name, "plain": rates.0, "with_token": rates.1, "ratio": ratio,
            "server_us_plain": costs.0, "server_us_with_token": costs.1, "server_ratio": of_costs,
        }));
    }
    progress.finish_and_clear();
    client.shut_down().await;
    report::print(&table, &json!({ "sessions": figures }), is_json);
}

async fn turn(connections: Vec<Connection>, call: Command, server: &Server, options: &Options) -> Cost {
    let spent_before = processor_time(server).await;
    let turn = Turn::run(connections, call, Duration::from_millis(options.turn_ms)).await;
    let spent = processor_time(server).await - spent_before;
    Cost { calls_per_second: turn.per_second(), server_micros: spent * 1e6 / turn.calls }
}

/// Seconds of a processor that the server has used so far.
async fn processor_time(server: &Server) -> f64 {
    let mut sum = 0.0;
    for field in ["used_cpu_user", "used_cpu_sys"] {
        sum += server.info(field).await.unwrap().parse::<f64>().unwrap();
    }
    sum
}

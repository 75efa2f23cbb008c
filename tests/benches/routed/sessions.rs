//! What a session's token costs the client, and the server.

use std::time::{Duration, Instant};

use archipelago::{Config, Connection, routing::RoutingConfig, sessions::Session, testing::servers::Server};
use indicatif::ProgressBar;
use redis::AsyncCommands;
use serde_json::json;

use crate::{
    report::{self, median},
    world::{KEY, VALUE, Way, World},
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

/// What every task does.
#[derive(Clone, Copy)]
enum Call {
    /// A write: behind it the server is asked where its history stands.
    Set,
    /// A read at a replica that has everything: the token is checked in the same transaction.
    Get,
}

/// One turn.
struct Turn {
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
        [(Call::Set, "SET", &world.us), (Call::Get, "GET at a replica", &world.us.replicas()[0])]
    {
        let mut turns = Vec::new();
        for round in 0..=options.rounds {
            let plain = turn(&connection, call, None, server, options).await;
            let mut sessions = Vec::new();
            for _ in 0..options.tasks {
                let session = Session::new();
                // So that there is something to check.
                connection.with_session(&session).set::<_, _, ()>("written", "before").await.unwrap();
                sessions.push(session);
            }
            world.us.replicas_in_sync().await.unwrap();
            let with_token = turn(&connection, call, Some(&sessions), server, options).await;
            // The first round warms up.
            if round > 0 {
                turns.push((plain, with_token));
                progress.inc(1);
            }
        }
        let of = |pick: &dyn Fn(&(Turn, Turn)) -> f64| median(turns.iter().map(pick));
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

async fn turn(
    connection: &Connection,
    call: Call,
    sessions: Option<&[Session]>,
    server: &Server,
    options: &Options,
) -> Turn {
    let spent_before = processor_time(server).await;
    let (began, length) = (Instant::now(), Duration::from_millis(options.turn_ms));
    let tasks = (0..options.tasks).map(|task| {
        let mut connection = match sessions {
            Some(sessions) => connection.with_session(&sessions[task]),
            None => connection.clone(),
        };
        tokio::spawn(async move {
            let mut calls = 0_u64;
            while began.elapsed() < length {
                match call {
                    Call::Get => assert_eq!(connection.get::<_, String>(KEY).await.unwrap(), VALUE),
                    Call::Set => connection.set::<_, _, ()>(KEY, VALUE).await.unwrap(),
                }
                calls += 1;
            }
            calls
        })
    });
    let mut calls = 0;
    for task in tasks.collect::<Vec<_>>() {
        calls += task.await.unwrap();
    }
    let took = began.elapsed();
    let spent = processor_time(server).await - spent_before;
    Turn { calls_per_second: calls as f64 / took.as_secs_f64(), server_micros: spent * 1e6 / calls as f64 }
}

/// Seconds of a processor that the server has used so far.
async fn processor_time(server: &Server) -> f64 {
    let mut sum = 0.0;
    for field in ["used_cpu_user", "used_cpu_sys"] {
        sum += server.info(field).await.unwrap().parse::<f64>().unwrap();
    }
    sum
}

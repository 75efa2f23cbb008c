//! The command table against the servers' own word, and against what they do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod flags;
mod key_arguments;
mod properties;
mod repetition;
mod replicas;
mod said;

use archipelago::testing::servers::{Options, Program, Server, ServerError};

/// A server; `None` for a Valkey that this machine has not been told of.
async fn started(program: Program) -> Option<Server> {
    match Server::start(program, Options::default()).await {
        Err(ServerError::MissingProgram { .. }) if program == Program::Valkey => None,
        server => Some(server.unwrap()),
    }
}

/// Redis and, where the machine has it, Valkey. Not Redis 6.2, which describes neither subcommands nor all keys.
async fn servers() -> Vec<Server> {
    let mut servers = Vec::new();
    for program in [Program::Redis, Program::Valkey] {
        let Some(server) = started(program).await else { continue };
        if !server.info("redis_version").await.unwrap().starts_with("6.") {
            servers.push(server);
        }
    }
    servers
}

/// A command from its words; `''` is an empty word.
fn cmd(line: &str) -> redis::Cmd {
    let mut words = line.split_whitespace();
    let mut cmd = redis::cmd(words.next().unwrap());
    for word in words {
        cmd.arg(if word == "''" { "" } else { word });
    }
    cmd
}

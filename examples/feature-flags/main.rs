//! Feature flags in two regions, by an OpenFeature provider on the near cache: evaluations take no network, a change made in
//! one region takes effect in the other, a rollout gives a user the same answer everywhere, and a kill is not undone by
//! whoever has not heard of it.
//!
//! `cargo run --release --example feature-flags` sets flags in two embedded regions, evaluates them in both, and asserts what is
//! promised; so does `-- --check`, with `--config archipelago.toml` (or `ARCHIPELAGO_CONFIG`) on the first two regions of a
//! file. Commands act on the local region of that file: `-- --config archipelago.toml list`, `set NAME JSON`, `kill NAME`,
//! `revive NAME`, `evaluate NAME --user U --attribute country=DE`, each with `--json`; the links of the app servers, or
//! `archipelago sync`, carry what they write. Without a file they act on sample flags, which end with the process. `-- --bench`
//! measures. Keys begin with `flag:` and `kill:`, and the names are in the set `flags`.

mod bench;
mod changes;
mod check;
mod commands;
mod definition;
mod form;
mod json;
mod provider;
mod regions;
mod samples;
mod store;
mod targeting;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

use archipelago::Config;
use archipelago_examples::Result;
use clap::Parser;
use serde_json::json;

use commands::{Answer, Command};
use regions::World;

/// Feature flags in two regions.
#[derive(Debug, Parser)]
struct Arguments {
    /// The file that names the regions; without it they are embedded.
    #[arg(long, env = "ARCHIPELAGO_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The local region, instead of the file's.
    #[arg(long, env = "ARCHIPELAGO_REGION", global = true)]
    region: Option<String>,
    /// Answers in JSON, errors included.
    #[arg(long, global = true)]
    json: bool,
    /// Asserts what is promised, as without any command. Removes the flags `sample-...` first.
    #[arg(long, conflicts_with = "bench")]
    check: bool,
    /// Measures evaluations, on an embedded region.
    #[arg(long)]
    bench: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(code) => code,
        Err(error) => {
            match arguments.json {
                true => println!("{}", json!({ "error": error.to_string() })),
                false => eprintln!("{error}"),
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Some(_) if arguments.check || arguments.bench => Err("--check and --bench take no command".into()),
        Some(command) => {
            let Answer { text, is_whole } = answer(arguments, command).await?;
            println!("{text}");
            Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        None if arguments.bench => bench::all().await.map(|()| ExitCode::SUCCESS),
        None => {
            let world = match &arguments.config {
                Some(file) => World::configured(Config::from_file(file)?).await?,
                None => World::embedded().await?,
            };
            check::all(world).await?;
            println!("\nFlags do what they promise. Asserted, not only printed.");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn answer(arguments: &Arguments, command: &Command) -> Result<Answer> {
    let Some(file) = &arguments.config else {
        eprintln!("No --config: these are sample flags, in this process.");
        let world = World::embedded().await?;
        let [us, _] = &world.flags;
        for (name, definition) in samples::SAMPLES {
            us.set(name, definition).await?;
        }
        let answer = command.run(us, arguments.json).await;
        world.close().await;
        return answer;
    };
    let (client, flags) = regions::open(file, arguments.region.as_deref()).await?;
    let answer = command.run(&flags, arguments.json).await;
    client.shut_down().await;
    answer
}

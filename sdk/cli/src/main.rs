//! `archipelago`: the operators' command line, a thin shell over the library.

mod commands;
mod output;
mod routed;
mod stock;
mod writers;

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

/// Several plain Redis or Valkey regions behaving as one.
#[derive(Debug, Parser)]
#[command(name = "archipelago", version, about)]
struct Cli {
    /// The configuration file.
    #[arg(long, env = "ARCHIPELAGO_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The local region.
    #[arg(long, env = "ARCHIPELAGO_REGION", global = true)]
    region: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a Redis-style command on the active-active plane, or one per line of standard input.
    Exec(Exec),
    /// Carries writes between all regions: as a daemon, or until nothing is left to carry.
    Sync(SyncOptions),
    /// Shows one key: cells, origins, versions as times, what is live, and the view.
    Inspect(Named),
    /// Prints the physical keys of one key.
    Key(Named),
    /// Shows who has which rights to a stock, and reclaims those that a region's lost data left frozen.
    #[command(subcommand)]
    Stock(stock::Stock),
    /// Lets a replica become the writer of its region's data; clients follow within a second.
    Promote(writers::Promote),
    /// Keeps what an old writer took after it was cut off, then lets it follow the present one.
    Rejoin(writers::Rejoin),
    /// Shows where a command on a routed keyspace would go at this moment, and why.
    Route(Route),
    /// Shows the nodes of the routed plane: role, state, latency and lag.
    Regions(Regions),
}

#[derive(Debug, Args)]
struct Exec {
    /// The keyspace.
    #[arg(long, default_value = "default")]
    keyspace: String,
    /// How strong reads are, instead of what the configuration says: local, home, merged:K or majority.
    #[arg(long, value_name = "STRENGTH")]
    read: Option<archipelago::ReadStrength>,
    /// How strong writes are: local, replicated:N, regions:K, majority or all.
    #[arg(long, value_name = "STRENGTH")]
    write: Option<archipelago::WriteStrength>,
    /// Answers as JSON: nil is null, errors are {"error": "..."}.
    #[arg(long)]
    json: bool,
    /// Ends with exit code 1 when the command's reply is an error, as redis-cli's -e does.
    #[arg(short = 'e')]
    fail_on_error: bool,
    /// The command and its arguments; without one, commands are read from standard input.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND ARG")]
    words: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
struct SyncOptions {
    /// Ends once every region holds everything every other region has.
    #[arg(long)]
    until_idle: bool,
    /// With --until-idle: gives up after so long, and names what is missing.
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Prints conflicts as links meet them: values that regions wrote to one field at the same time, and which is shown. Not told
    /// are writes against removals, and what a first exchange of two regions brings.
    #[arg(long)]
    conflicts: bool,
    /// Prints JSON: the result, and with --conflicts an object for each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Named {
    /// A word that TYPE answers, or a handle's name: string, set, counter, sorted-set and so on.
    #[arg(value_name = "TYPE")]
    kind: archipelago::engine::Kind,
    /// The key's name.
    name: std::ffi::OsString,
    /// The keyspace.
    #[arg(long, default_value = "default")]
    keyspace: String,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Route {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// The region that is home to the user the command is for.
    #[arg(long)]
    home: Option<String>,
    /// The routed keyspace.
    keyspace: String,
    /// The command and its arguments. It is not run.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND ARG")]
    words: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
struct Regions {
    /// Prints JSON: an object, and with --watch one more for each event.
    #[arg(long)]
    json: bool,
    /// Goes on with every change, until interrupted.
    #[arg(long)]
    watch: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let daemon = matches!(&cli.command, Command::Sync(options) if !options.until_idle);
    // The daemon's log is all it says. Elsewhere a command's own errors say what went wrong, but a server that evicts keys
    // destroys data without an error. RUST_LOG overrides.
    let level = if daemon { "info" } else { "error,archipelago::redis::wire=warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match commands::run(cli).await {
        Ok(code) => code,
        // Whoever reads the answers has seen enough: 128 and SIGPIPE's number, as of a tool that the signal ends.
        Err(error) if is_closed_pipe(&*error) => ExitCode::from(141),
        Err(error) => {
            eprintln!("archipelago: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

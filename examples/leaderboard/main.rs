//! A leaderboard in three regions, live on one page: two boards (the best score of each player, and the sum of their
//! points), links that can be cut and healed, regions that can be killed and restarted.
//!
//! `cargo run --release --example leaderboard` serves the page and prints its address; it needs no server, for the regions
//! are embedded, at real-looking distances. `-- --load 1000` plays a thousand rounds a second with ten thousand players.
//! `-- --config archipelago.toml` (or `ARCHIPELAGO_CONFIG`) takes the first three regions of a file; their servers and
//! networks are not this page's to break, and it says so. `-- --check` visits the page itself and asserts what it promises.
//! Keys begin with `leaderboard:`.

mod boards;
mod changes;
mod check;
#[cfg(test)]
mod chromium;
mod failure;
mod links;
mod load;
mod page;
mod regions;
mod routes;
mod stream;
#[cfg(test)]
mod tests;

use std::{future::Future, path::PathBuf, process::ExitCode, sync::Arc};

use archipelago_examples::{Result, ended, serving};
use clap::Parser;
use tokio::net::TcpListener;

use load::Load;
use regions::World;
use stream::Hub;

/// A leaderboard in three regions, live on one page.
#[derive(Debug, Parser)]
struct Arguments {
    /// Serves on this port of 127.0.0.1; any free one when it is 0.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The file that names the regions; without it they are embedded.
    #[arg(long, env = "ARCHIPELAGO_CONFIG")]
    config: Option<PathBuf>,
    /// Plays so many rounds a second, with ten thousand players.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(load::MOST)))]
    load: u32,
    /// Visits the page instead of serving it, and asserts what it promises. Empties both boards first.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    ended(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    let world = World::open(arguments.config.as_deref()).await?;
    if arguments.check {
        check::all(world).await?;
        println!("The page does what it promises. Asserted, not only printed.");
        return Ok(());
    }
    let listener = serving::listen(arguments.port).await?;
    println!("http://{} (Ctrl-C ends it)", listener.local_addr()?);
    serve(listener, world, arguments.load, serving::interrupted()).await?;
    println!("Stopped.");
    Ok(())
}

/// Serves until `stop`, then ends every stream and closes the regions.
async fn serve(
    listener: TcpListener,
    world: World,
    load: u32,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let world = Arc::new(world);
    let hub = Arc::new(Hub::start(world.clone()));
    let load = Load::start(&world, load);
    let router = routes::router(hub.clone());
    let stopping = {
        let hub = hub.clone();
        async move {
            stop.await;
            // A stream that goes on would hold up the end.
            hub.stop();
        }
    };
    let served = serving::serve(listener, router, stopping).await;
    load.shut_down().await;
    hub.shut_down().await;
    world.close().await;
    Ok(served?)
}

//! Sessions of a web application in two regions: a login that is valid everywhere at once, a cart that shows what was just
//! put into it although the copy nearby is behind, and a home region for each visitor, with the reason.
//!
//! `cargo run --release --example session` serves a page and prints its address; it needs no server, for the regions are
//! embedded. `-- --port 8080` chooses the port, `-- --check` plays a visitor itself and asserts what the page promises.
//! With `ARCHIPELAGO_CONFIG` set, both run on the configured regions (two of them, the other with a replica of the one that
//! writes). Keys begin with `session-example:`, those of the logins with `session:`.

mod cart;
mod check;
mod failure;
mod login;
mod page;
mod routes;
mod shop;
#[cfg(test)]
mod tests;
mod visitor;

use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};

use archipelago_examples::{Result, ended, serving};
use tokio::net::TcpListener;

use shop::Shop;

/// How far the embedded copy is behind: long enough to see.
const LAG: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ended(run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await)
}

async fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => open(0).await,
        ["--port", port] => open(port.parse().map_err(|_| format!("--port: {port:?} is no port"))?).await,
        ["--check"] => {
            check::all(Shop::open(check::LAG).await?).await?;
            println!("The page does what it promises. Asserted, not only printed.");
            Ok(())
        }
        _ => Err("usage: session [--port PORT | --check]".into()),
    }
}

async fn open(port: u16) -> Result<()> {
    let listener = serving::listen(port).await?;
    println!("http://{} (Ctrl-C ends it)", listener.local_addr()?);
    serve(listener, Arc::new(Shop::open(LAG).await?), serving::interrupted()).await?;
    println!("Stopped.");
    Ok(())
}

/// Serves until `stop`, then closes the shop.
async fn serve(listener: TcpListener, shop: Arc<Shop>, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let served = serving::serve(listener, routes::router(shop.clone()), stop).await;
    shop.close().await;
    Ok(served?)
}

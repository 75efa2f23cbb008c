//! `archipelago stock`: who has which rights, and what lost data left frozen.

use std::{io::Write, os::unix::ffi::OsStringExt, process::ExitCode};

use archipelago::{Builder, Frozen, Keyspace};
use clap::{Args, Subcommand};

use crate::output;

/// What a reclaim can cost, in the words that stand before every decision.
const COST: &str = "What an ended incarnation of this region sold, and no region has heard of, is sold a second time. So is \
                    what an old server still sells that is cut off from everybody: make sure that there is none.";

#[derive(Debug, Subcommand)]
pub(crate) enum Stock {
    /// Shows what the local region knows of a stock: what is left, and who may take how much of it.
    Show(Show),
    /// Lets the local region sell what it had a right to before it lost data. Says what it can cost; does nothing without
    /// --accept-risk.
    Reclaim(Reclaim),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The stock's name.
    name: std::ffi::OsString,
    /// The keyspace.
    #[arg(long, default_value = "default")]
    keyspace: String,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Reclaim {
    /// The keyspace.
    #[arg(long, default_value = "default")]
    keyspace: String,
    /// Reclaims, rather than says what would be.
    #[arg(long)]
    accept_risk: bool,
    /// Goes on when another region cannot be asked what it knows of lost sales.
    #[arg(long)]
    alone: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(builder: Builder, command: Stock) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // All regions: a reclaim asks the others first.
    let client = builder.without_sync().build().await?;
    let done = match &command {
        Stock::Show(options) => show(&client.keyspace(&options.keyspace)?, options).await,
        Stock::Reclaim(options) => reclaim(&client.keyspace(&options.keyspace)?, options).await,
    };
    client.shut_down().await;
    done
}

async fn show(keyspace: &Keyspace, options: &Show) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let report = keyspace.stock_report(options.name.clone().into_vec()).await?;
    if options.json {
        output::json(&serde_json::to_value(&report)?)?;
    } else {
        write!(std::io::stdout(), "{report}")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn reclaim(keyspace: &Keyspace, options: &Reclaim) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let frozen: Frozen = if options.accept_risk {
        keyspace.reclaim_stock(options.alone).await?
    } else {
        keyspace.frozen_stock().await?
    };
    let is_done = options.accept_risk || frozen.stocks.is_empty();
    if options.json {
        let cost = (!is_done).then_some(COST);
        let found = serde_json::json!({ "reclaimed": options.accept_risk, "frozen": frozen, "cost": cost });
        output::json(&found)?;
    } else {
        write!(std::io::stdout(), "{frozen}")?;
        if !is_done {
            eprintln!("archipelago: nothing was reclaimed. {COST} --accept-risk reclaims.");
        }
    }
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

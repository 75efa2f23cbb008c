//! `promote` and `rejoin`: who writes a region's data.

use std::{fs::OpenOptions, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use archipelago::{
    Config,
    promotion::{PromoteOptions, Promoted, RejoinOptions, Rejoined, promote, rejoin},
};
use clap::Args;

use crate::{commands::progress, output};

type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

/// Lets a replica become the writer of its region's data. Clients follow within a second.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The region where the new writer stands.
    #[arg(long)]
    to: String,
    /// The region whose data move; needed only when several have a replica there.
    #[arg(long = "data-of")]
    data_of: Option<String>,
    /// Goes on without the old writer, losing what the replica has not got.
    #[arg(long)]
    force: bool,
    /// How long to wait for the replica; writes are paused meanwhile.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Keeps what an old writer took after it was cut off, then lets it follow the present one.
#[derive(Debug, Args)]
pub(crate) struct Rejoin {
    /// The node, as in us-east-1/primary.
    node: String,
    /// The file for the keys that differ, one line of JSON each; must not exist yet.
    #[arg(long)]
    keep: PathBuf,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run_promote(config: &Config, options: Promote) -> Outcome {
    let wanted =
        PromoteOptions { to: options.to, region: options.data_of, force: options.force, timeout: options.timeout };
    let bar = progress();
    let promoted = promote(config, &wanted, |step| bar.set_message(step.to_string())).await;
    bar.finish_and_clear();
    let promoted = promoted?;
    if options.json {
        output::json(&serde_json::to_value(&promoted)?)?;
    } else {
        write!(std::io::stdout(), "{}", Told(&promoted))?;
    }
    let is_complete = promoted.not_following.is_empty() || promoted.behind.is_some();
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A promotion in words.
struct Told<'p>(&'p Promoted);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Promoted { region, from, to, epoch, paused_ms, behind, following, not_following } = self.0;
        if from == to {
            writeln!(f, "{to} writes {region}'s data already, by epoch {epoch}")?;
        } else {
            writeln!(f, "{to} writes {region}'s data instead of {from}, by epoch {epoch}")?;
        }
        if let Some(paused) = paused_ms {
            writeln!(f, "nothing was lost; writes were paused for {paused} ms")?;
        }
        if let Some(behind) = behind {
            match behind.bytes {
                Some(bytes) => writeln!(f, "it was {bytes} bytes behind the old writer")?,
                None => writeln!(f, "how far it was behind nobody can say, for the old writer does not answer")?,
            }
            if let Some(seconds) = behind.seconds {
                writeln!(f, "it last heard from the old writer {seconds} s before")?;
            }
        }
        for node in following {
            writeln!(f, "{node} follows")?;
        }
        for (node, why) in not_following {
            writeln!(f, "{node} does not follow: {why}")?;
        }
        Ok(())
    }
}

pub(crate) async fn run_rejoin(config: &Config, options: Rejoin) -> Outcome {
    // Never over what was kept before.
    let file = OpenOptions::new().write(true).create_new(true).open(&options.keep);
    let file = file.map_err(|error| format!("cannot create {}: {error}", options.keep.display()))?;
    let mut keep = std::io::BufWriter::new(file);
    let bar = progress();
    let wanted = RejoinOptions { node: options.node };
    let rejoined =
        rejoin(config, &wanted, &mut keep, |compared| bar.set_message(format!("{compared} keys compared"))).await;
    bar.finish_and_clear();
    let is_empty = keep.get_ref().metadata().is_ok_and(|metadata| metadata.len() == 0);
    if is_empty {
        std::fs::remove_file(&options.keep)?;
    }
    let rejoined = rejoined?;
    if options.json {
        output::json(&serde_json::to_value(&rejoined)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Rejoined { node, writer, had_diverged, compared, kept } = rejoined;
    let mut out = std::io::stdout();
    writeln!(out, "{node} follows {writer}")?;
    if kept > 0 {
        writeln!(out, "it had taken writes of its own: of {compared} keys {kept} differ")?;
        writeln!(out, "they are kept in {}", options.keep.display())?;
    } else if had_diverged {
        writeln!(out, "its history is another, but of {compared} keys none differs: nothing was kept")?;
    } else {
        writeln!(out, "it had taken nothing that {writer} lacks")?;
    }
    Ok(ExitCode::SUCCESS)
}

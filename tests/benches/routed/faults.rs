//! A region dies under traffic: how soon reads succeed, and what errors callers see.

use std::{collections::BTreeMap, time::Duration};

use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::{
    peer::Packages,
    report::{self, median, quantile},
    trial::{self, Fault, Outcome, Player},
    world::World,
};

#[derive(clap::Args)]
pub struct Options {
    /// Trials of each fault, at each rate, for each client.
    #[arg(long, default_value_t = 30)]
    trials: usize,
    /// Calls a second.
    #[arg(long, default_values_t = [10, 5_000])]
    rate: Vec<u64>,
    /// Which faults.
    #[arg(long, value_enum, default_values_t = [Fault::Kill, Fault::Pause, Fault::BlackHole])]
    fault: Vec<Fault>,
    /// Which clients.
    #[arg(long, value_enum, default_values_t = [Player::Archipelago, Player::Default, Player::Tuned])]
    client: Vec<Player>,
}

/// The rate from which clients take turns instead of meeting each fault together: they would wait for each other's
/// processor.
const BUSY: u64 = 1_000;

/// All trials of one fault, at one rate, for one client.
struct Row {
    fault: Fault,
    rate: u64,
    player: Player,
    outcomes: Vec<Outcome>,
}

pub async fn run(options: &Options, is_json: bool) {
    let packages = options.client.iter().any(|player| *player != Player::Archipelago).then(Packages::install);
    let mut world = World::start().await;
    let cases = options.rate.len() * options.fault.len();
    let progress = ProgressBar::new((cases * options.trials * options.client.len()) as u64);
    let mut rows = Vec::new();
    for rate in &options.rate {
        for fault in &options.fault {
            let groups: Vec<&[Player]> =
                if *rate < BUSY { vec![&options.client] } else { options.client.chunks(1).collect() };
            for players in groups {
                let mut of_players: Vec<_> = players.iter().map(|_| Vec::new()).collect();
                for _ in 0..options.trials {
                    progress.set_message(format!("{fault:?} at {rate}/s"));
                    let outcomes = trial::run(&mut world, packages.as_ref(), (*fault, *rate), players).await;
                    of_players.iter_mut().zip(outcomes).for_each(|(all, outcome)| all.push(outcome));
                    progress.inc(players.len() as u64);
                }
                let of_player =
                    |(player, outcomes): (&Player, _)| Row { fault: *fault, rate: *rate, player: *player, outcomes };
                rows.extend(players.iter().zip(of_players).map(of_player));
            }
        }
    }
    progress.finish_and_clear();
    show(&rows, is_json);
}

impl Row {
    fn p99(&self, of: impl Fn(&Outcome) -> f64) -> f64 {
        quantile(self.outcomes.iter().map(of), 0.99)
    }

    fn median(&self, of: impl Fn(&Outcome) -> f64) -> f64 {
        median(self.outcomes.iter().map(of))
    }

    fn errors(&self, of: impl Fn(&Outcome) -> &BTreeMap<String, usize>) -> BTreeMap<&str, usize> {
        let mut sum = BTreeMap::new();
        for (error, count) in self.outcomes.iter().flat_map(of) {
            *sum.entry(error.as_str()).or_default() += count;
        }
        sum
    }

    /// What is promised and was not kept.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let within = match self.fault {
            Fault::Kill => Duration::from_millis(50),
            Fault::Pause | Fault::BlackHole => Duration::from_millis(300),
        };
        if self.p99(|outcome| outcome.next_read - outcome.round_trip) > within.as_secs_f64() {
            broken.push(format!("next read after {within:?}"));
        }
        if self.p99(|outcome| outcome.left.unwrap_or(outcome.last_trouble)) > 1.0 {
            broken.push("traffic not off within 1 s".to_owned());
        }
        let read_errors: usize = self.errors(|outcome| &outcome.read_errors).values().sum();
        if read_errors > 0 {
            broken.push(format!("{read_errors} reads failed"));
        }
        let says = |error: &str| matches!(error, "MaybeApplied" | "Unavailable");
        for (error, count) in self.errors(|outcome| &outcome.write_errors).into_iter().filter(|(error, _)| !says(error))
        {
            broken.push(format!("{count} writes failed with {error}"));
        }
        let untrue: usize = self.outcomes.iter().map(|outcome| outcome.untrue).sum();
        if untrue > 0 {
            broken.push(format!("{untrue} writes untrue"));
        }
        broken
    }

    fn json(&self) -> Value {
        let each = |of: &dyn Fn(&Outcome) -> f64| self.outcomes.iter().map(of).collect::<Vec<_>>();
        json!({
            "fault": format!("{:?}", self.fault), "rate": self.rate, "client": format!("{:?}", self.player),
            "next_read": each(&|outcome| outcome.next_read), "slowest_read": each(&|outcome| outcome.slowest_read),
            "last_trouble": each(&|outcome| outcome.last_trouble),
            "left": each(&|outcome| outcome.left.unwrap_or(f64::NAN)),
            "round_trip": each(&|outcome| outcome.round_trip), "per_second": each(&|outcome| outcome.per_second),
            "reads": self.outcomes.iter().map(|outcome| outcome.reads).sum::<usize>(),
            "read_errors": self.errors(|outcome| &outcome.read_errors),
            "writes": self.outcomes.iter().map(|outcome| outcome.writes).sum::<usize>(),
            "write_errors": self.errors(|outcome| &outcome.write_errors),
            "untrue_writes": self.outcomes.iter().map(|outcome| outcome.untrue).sum::<usize>(),
            "broken": self.broken(),
        })
    }
}

fn show(rows: &[Row], is_json: bool) {
    let mut table = report::table([
        "fault",
        "calls/s",
        "client",
        "next read p50",
        "next read p99",
        "slowest read p99",
        "last trouble p99",
        "left p99",
        "reads failed",
        "writes failed",
        "broken promises",
    ]);
    let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
    for row in rows {
        let left = row.outcomes.iter().all(|outcome| outcome.left.is_some());
        table.add_row([
            format!("{:?}", row.fault),
            format!("{} ({:.0})", row.rate, row.median(|outcome| outcome.per_second)),
            format!("{:?}", row.player),
            ms(row.median(|outcome| outcome.next_read)),
            ms(row.p99(|outcome| outcome.next_read)),
            ms(row.p99(|outcome| outcome.slowest_read)),
            ms(row.p99(|outcome| outcome.last_trouble)),
            if left { ms(row.p99(|outcome| outcome.left.unwrap_or_default())) } else { String::new() },
            counts(&row.errors(|outcome| &outcome.read_errors)),
            counts(&row.errors(|outcome| &outcome.write_errors)),
            row.broken().join(", "),
        ]);
    }
    report::print(&table, &json!({ "faults": rows.iter().map(Row::json).collect::<Vec<_>>() }), is_json);
}

fn counts(errors: &BTreeMap<&str, usize>) -> String {
    let each = errors.iter().map(|(error, count)| format!("{count} {error}"));
    each.collect::<Vec<_>>().join(", ")
}

//! Every default of the policies in one place, the file format, the validation, and the table for the README.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::error::{Error, ErrorKind};

/// One row of [`ResilienceOptions::table`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionRow {
    /// The key in the configuration file, with its table: `breaker.window_ms`.
    pub key: String,
    /// The default as a configuration file would write it.
    pub default: String,
    /// What it does.
    pub meaning: &'static str,
}

/// A value that options have: how it is read, shown and bounded.
trait Setting: Copy + PartialOrd + Sized {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
    fn show(self) -> String;
}

macro_rules! plain_settings {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
            fn show(self) -> String {
                self.to_string()
            }
        }
    )+};
}

plain_settings!(u32, f64);

impl Setting for Duration {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_millis)
    }
    fn show(self) -> String {
        self.as_millis().to_string()
    }
}

fn setting<'de, D: Deserializer<'de>, T: Setting>(deserializer: D) -> Result<T, D::Error> {
    T::read(deserializer)
}

fn check<T: Setting>(key: &str, value: T, range: &RangeInclusive<T>) -> Result<(), Error> {
    // Also refuses NaN, which is in no range.
    if range.contains(&value) {
        return Ok(());
    }
    let (from, to) = (range.start().show(), range.end().show());
    Err(refusal(key, format_args!("expected {from} to {to}, found {}", value.show())))
}

fn refusal(key: &str, what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, format!("{key}: {what}"))
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One table of options. Each field is written once: its meaning, type, key, default and range.
macro_rules! options {
    ($(#[doc = $about:literal])+ $name:ident in $table:literal {
        $(#[doc = $meaning:literal] $(#[doc = $more:literal])* $field:ident: $type:ty, $key:literal = $default:expr, $range:expr;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                #[doc = $meaning]
                $(#[doc = $more])*
                #[serde(rename = $key, deserialize_with = "setting")]
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl $name {
            fn rows(&self) -> impl Iterator<Item = OptionRow> {
                [$(OptionRow {
                    key: concat!($table, ".", $key).to_owned(),
                    default: self.$field.show(),
                    meaning: $meaning.trim_ascii(),
                }),+].into_iter()
            }

            fn check_ranges(&self) -> Result<(), Error> {
                $(check(concat!($table, ".", $key), self.$field, &$range)?;)+
                Ok(())
            }
        }
    };
}

options! {
    /// When a node gets no more calls, and when it is tried again: see [`Breaker`](super::Breaker).
    BreakerOptions in "breaker" {
        /// Failures in a row, the node answering nobody meanwhile, that open the breaker.
        ///
        /// Three would open by chance: if 1 % of the calls time out, a caller that sends one after the other at 10 a
        /// second meets three in a row in one of 170 spells of 10 minutes; four, in one of 17,000.
        consecutive_failures: u32, "consecutive_failures" = 4, 1..=200;
        /// Failures closer together than this count once in a row: one broken connection fails all its calls at once.
        burst: Duration, "burst_ms" = ms(10), ms(0)..=ms(10_000);
        /// The sliding window of the two rates.
        ///
        /// Longer than a second would keep the successes from before a pause in sight for too long.
        window: Duration, "window_ms" = ms(1_000), ms(100)..=ms(600_000);
        /// Calls in the window below which rates say nothing.
        minimum_calls: u32, "minimum_calls" = 20, 1..=10_000;
        /// Share of failed calls in the window that opens the breaker.
        failure_rate: f64, "failure_rate" = 0.5, 0.01..=1.0;
        /// Share of slow calls in the window that opens the breaker; above 1 never.
        slow_rate: f64, "slow_rate" = 0.8, 0.01..=2.0;
        /// How long the breaker stays open at first; each failed probe doubles it.
        open: Duration, "open_ms" = ms(500), ms(1)..=ms(600_000);
        /// The longest time between two probes of a node that stays away.
        open_max: Duration, "open_max_ms" = ms(10_000), ms(1)..=ms(3_600_000);
        /// Calls let through at the same time to probe an open node.
        probes: u32, "probes" = 1, 1..=100;
        /// Probes that must succeed before the node is back in rotation.
        probe_successes: u32, "probe_successes" = 2, 1..=100;
    }
}

options! {
    /// How patient attempts are: see [`Latency`](super::Latency).
    LatencyOptions in "latency" {
        /// Half-life of what is remembered; the mean forgets four times as fast.
        half_life: Duration, "half_life_ms" = ms(5_000), ms(100)..=ms(3_600_000);
        /// The latency assumed until ten answers have been seen.
        initial: Duration, "initial_ms" = ms(60), ms(1)..=ms(60_000);
        /// An attempt gets this many times the 95th percentile.
        timeout_factor: f64, "timeout_factor" = 4.0, 1.0..=100.0;
        /// The least an attempt gets.
        ///
        /// Shorter turns a stalled thread or one lost packet into a failure.
        timeout_floor: Duration, "timeout_floor_ms" = ms(100), ms(1)..=ms(60_000);
        /// The most an attempt gets, unless twice the node's own median is longer.
        ///
        /// It bounds what a read loses to a paused node.
        timeout_cap: Duration, "timeout_cap_ms" = ms(250), ms(1)..=ms(600_000);
        /// The least a hedge waits; it goes out after the 95th percentile otherwise.
        hedge_floor: Duration, "hedge_floor_ms" = ms(10), ms(1)..=ms(60_000);
    }
}

options! {
    /// How much extra load retries and hedges may make: see [`Budget`](super::Budget).
    BudgetOptions in "budget" {
        /// Retries that each call pays in for, on average.
        retry_share: f64, "retry_share" = 0.1, 0.0..=10.0;
        /// The most retries that can be saved up; what a client starts with.
        ///
        /// It must cover what is in flight until a breaker opens: 40 ms of traffic, at 5,000 calls a second 200.
        capacity: u32, "capacity" = 1_000, 1..=1_000_000;
        /// Retries a second that are always possible.
        reserve_per_second: u32, "reserve_per_second" = 10, 0..=1_000_000;
        /// Hedges that each call pays in for, on average: the most extra load by hedging.
        hedge_share: f64, "hedge_share" = 0.05, 0.0..=1.0;
        /// The most hedges that can be saved up; what a client starts with.
        hedge_capacity: u32, "hedge_capacity" = 10, 0..=1_000_000;
    }
}

options! {
    /// The waits before the same node is tried again: see [`Backoff`](super::Backoff).
    BackoffOptions in "backoff" {
        /// The longest first wait; doubled each time.
        base: Duration, "base_ms" = ms(10), ms(1)..=ms(60_000);
        /// The longest wait.
        cap: Duration, "cap_ms" = ms(1_000), ms(1)..=ms(600_000);
    }
}

options! {
    /// How often a call is attempted: see [`decide`](super::decide).
    RetryOptions in "retry" {
        /// Attempts of one call, the first included; going on to the next node after a refusal is not counted.
        max_attempts: u32, "max_attempts" = 4, 1..=100;
    }
}

options! {
    /// Which region takes the writes, and how reluctantly that changes: see [`Selector`](super::Selector).
    SelectorOptions in "selector" {
        /// How long a region that was left as unhealthy is out of rotation.
        ///
        /// Peers wait 60 s because their checks look every 5 s; here a check a second gives the same evidence in less.
        grace: Duration, "grace_ms" = ms(30_000), ms(0)..=ms(86_400_000);
        /// Healthy checks in a row before a preferred region is returned to.
        failback_checks: u32, "failback_checks" = 5, 1..=10_000;
        /// How long it must have been healthy before it is returned to.
        failback_healthy: Duration, "failback_healthy_ms" = ms(10_000), ms(0)..=ms(86_400_000);
        /// The least time between any change and a failback.
        cooldown: Duration, "cooldown_ms" = ms(30_000), ms(0)..=ms(86_400_000);
        /// How soon to look again while every region is down.
        retry: Duration, "retry_ms" = ms(1_000), ms(10)..=ms(600_000);
    }
}

/// The options of every policy, with the defaults of the routed plane.
///
/// In a configuration file each group is a table; what is not named keeps its default, an unknown key is an error.
///
/// ```
/// # use archipelago::resilience::ResilienceOptions;
/// let options: ResilienceOptions = toml::from_str("[breaker]\nconsecutive_failures = 3\nopen_ms = 250\n")?;
/// options.validate()?;
/// assert_eq!(options.breaker.consecutive_failures, 3);
/// assert_eq!(options.latency, ResilienceOptions::default().latency);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResilienceOptions {
    /// When a node gets no more calls.
    pub breaker: BreakerOptions,
    /// How patient attempts are.
    pub latency: LatencyOptions,
    /// How much extra load is allowed.
    pub budget: BudgetOptions,
    /// How long to wait before the same node is tried again.
    pub backoff: BackoffOptions,
    /// How often a call is attempted.
    pub retry: RetryOptions,
    /// Which region takes the writes.
    pub selector: SelectorOptions,
}

impl ResilienceOptions {
    /// Every option: its key, its default and what it does, from the code's own defaults.
    #[must_use]
    pub fn table() -> Vec<OptionRow> {
        let Self { breaker, latency, budget, backoff, retry, selector } = Self::default();
        let groups = breaker.rows().chain(latency.rows()).chain(budget.rows());
        groups.chain(backoff.rows()).chain(retry.rows()).chain(selector.rows()).collect()
    }

    /// Checks every value against its range, and those that depend on each other.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]; the message begins with the key.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { breaker, latency, budget, backoff, retry, selector } = self;
        breaker.check_ranges()?;
        latency.check_ranges()?;
        budget.check_ranges()?;
        backoff.check_ranges()?;
        retry.check_ranges()?;
        selector.check_ranges()?;
        ordered("breaker.open_max_ms", breaker.open_max, "breaker.open_ms", breaker.open)?;
        ordered("latency.timeout_cap_ms", latency.timeout_cap, "latency.timeout_floor_ms", latency.timeout_floor)?;
        ordered("backoff.cap_ms", backoff.cap, "backoff.base_ms", backoff.base)
    }
}

fn ordered(key: &str, value: Duration, other: &str, least: Duration) -> Result<(), Error> {
    if value >= least {
        return Ok(());
    }
    Err(refusal(key, format_args!("expected at least {other} ({}), found {}", least.show(), value.show())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ResilienceOptions, String> {
        let options: ResilienceOptions = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        options.validate().map_err(|error| error.to_string())?;
        Ok(options)
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(read(""), Ok(ResilienceOptions::default()));
    }

    #[test]
    fn the_table_read_as_a_file_is_the_defaults() {
        // Every row is a key of the file format and the value the code has: nothing is written twice.
        let lines = ResilienceOptions::table().into_iter().map(|row| format!("{} = {}", row.key, row.default));
        let text = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(read(&text), Ok(ResilienceOptions::default()), "{text}");
    }

    #[test]
    fn every_option_is_explained() {
        for row in ResilienceOptions::table() {
            assert!(row.meaning.len() > 10 && row.meaning.ends_with('.'), "{row:?}");
        }
    }

    #[test]
    fn a_mistake_is_named_by_its_key() {
        for (text, key) in [
            ("breaker.window_ms = 5", "breaker.window_ms"),
            ("breaker.failure_rate = 50.0", "breaker.failure_rate"),
            ("breaker.failure_rate = nan", "breaker.failure_rate"),
            ("latency.timeout_cap_ms = 50", "latency.timeout_cap_ms"),
            ("backoff.base_ms = 2000", "backoff.cap_ms"),
            ("breaker.open_ms = 20000", "breaker.open_max_ms"),
            ("breaker.windoww_ms = 1000", "windoww_ms"),
            ("selektor.grace_ms = 1", "selektor"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(key), "{text}: {message}");
        }
    }
}

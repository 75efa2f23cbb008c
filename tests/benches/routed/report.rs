//! Figures for people and for programs.

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde_json::Value;

/// A table as a README takes it.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(header);
    table
}

pub fn print(table: &Table, figures: &Value, is_json: bool) {
    if is_json {
        println!("{figures:#}");
    } else {
        println!("{table}");
    }
}

/// Zero of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The least value that so many of the values do not exceed: of 30, the 99th percentile is the largest.
pub fn quantile(values: impl Iterator<Item = f64>, quantile: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * quantile).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

//! Load, side by side in one run on one redis-server: raw commands against the client's, as ratios.
//!
//! `cargo bench -p archipelago-tests --bench load` runs all of it; a word behind `--` picks one part
//! (`reads`, `writes`, `floor`, `pipelined`, `layers`, `link`, `lag`, `memory`). `LOAD_SECONDS` sets how long each measurement runs (default 2).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod lag;
mod layers;
mod link;
mod measure;
mod memory;
mod reads;
mod server;
mod writes;

#[tokio::main]
async fn main() {
    let picked = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wants = |part: &str| picked.as_deref().is_none_or(|picked| picked == part);
    if wants("reads") {
        reads::run().await;
    }
    if wants("writes") {
        writes::run().await;
    }
    if wants("floor") {
        writes::run_floor().await;
    }
    if wants("pipelined") {
        writes::run_pipelined().await;
    }
    if wants("layers") {
        layers::run().await;
    }
    if wants("link") {
        link::run().await;
    }
    if wants("lag") {
        lag::run().await;
    }
    if wants("memory") {
        memory::run().await;
    }
}

//! The cost of the engine in a host, for hits, cohorts and memory. Prints one table. See `benches/README.md` at the
//! root.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on says so and ends"
)]
#![allow(clippy::disallowed_methods, reason = "a benchmark owns its tasks, and measures with a watch of its own")]

#[path = "../../tests/common/calm.rs"]
mod calm;
mod cohort;
mod hits;
mod leaving;
mod memory;
mod setting;

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::Builder;

/// Counts allocations. Its counters cost all allocating code the same.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes of heap in use.
fn live() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

/// Allocations so far.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// Prints a line of the table with the minimum, the median and the maximum of `samples`.
fn line(what: &str, unit: &str, samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    let (least, middle, most) = (samples[0], samples[samples.len() / 2], samples[samples.len() - 1]);
    println!("| {what} | {least:.1} {unit} | {middle:.1} {unit} | {most:.1} {unit} |");
    least
}

fn nanos(span: Duration) -> f64 {
    span.as_secs_f64() * 1e9
}

fn main() {
    let only: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|word| word == name);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a tokio runtime");
    setting::machine();
    println!("\n| what | minimum | median | maximum |\n|---|---|---|---|");
    if wanted("hits") {
        runtime.block_on(hits::run());
    }
    if wanted("cohort") {
        runtime.block_on(cohort::run());
    }
    if wanted("memory") {
        runtime.block_on(memory::run());
    }
    if wanted("leaving") {
        runtime.block_on(leaving::run());
    }
}

//! Measures the server over real gRPC on loopback, beside what it could reach at most.
//!
//! `cargo bench --bench wire [-- FILTER…] [--quick] [--workers N] [--seconds N]`
//!
//! The server is the built `sessiond` binary, started as a child process; the bare gRPC service that it is compared
//! with is this binary, started as a child process in the same way, with as many worker threads and the same
//! allocator. Clients run on one thread of this process. Data lies in the target folder, on a real disk, and is
//! removed at the end. A FILTER names sections: append, fork, read, save, list, growth, shape, snapshot, resume,
//! search, idle, watch; and, by their names alone, library, postgres and library-postgres: they take minutes, and the
//! latter two need the programs of PostgreSQL. Figures of one table come from one run; ratios are medians of the ratios of
//! each repetition, so that a machine that is slow for a while is slow for both sides.

#![expect(clippy::print_stdout, reason = "the tables are what this program is for")]

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::load::Span;

mod append;
mod bare;
mod child;
mod client;
mod fork;
mod growth;
mod idle;
mod library;
mod list;
mod load;
mod postgres;
mod read;
mod report;
mod resume;
mod rows;
mod save;
mod search;
mod shape;
mod snapshot;
mod watch;
mod writer;

/// The server's allocator, so that clients and bare services have the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Less of everything, for a first look.
    quick: bool,
    /// Worker threads of the server; 0 means one for every core.
    workers: usize,
    /// How long a load is counted, where it is said; long enough to look at the server with other tools.
    seconds: Option<u64>,
}

impl Plan {
    /// How often a figure is taken; medians are reported.
    fn repetitions(self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// How long calls are counted.
    fn span(self) -> Span {
        let usual = Duration::from_millis(if self.quick { 700 } else { 1_500 });
        Span {
            warm_up: Duration::from_millis(300),
            counted: self.seconds.map_or(usual, Duration::from_secs),
        }
    }

    /// Calls of a latency figure, made one after another.
    fn calls(self) -> usize {
        if self.quick { 50 } else { 200 }
    }
}

fn main() -> Result<()> {
    let mut filters = Vec::new();
    let mut plan = Plan {
        quick: false,
        workers: 0,
        seconds: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            child::SERVE_BARE => return bare::serve(&mut arguments),
            "--quick" => plan.quick = true,
            "--workers" => plan.workers = arguments.next().context("--workers N")?.parse()?,
            "--seconds" => plan.seconds = Some(arguments.next().context("--seconds N")?.parse()?),
            // What cargo says to every bench.
            "--bench" => {}
            filter => filters.push(filter.to_owned()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(plan, &filters))
}

async fn run(plan: Plan, filters: &[String]) -> Result<()> {
    let wanted =
        |section: &str| filters.is_empty() || filters.iter().any(|filter| section.contains(filter.as_str()));
    let mut tables = Vec::new();
    if wanted("append") {
        tables.extend(append::measure(plan).await.context("append")?);
    }
    if wanted("fork") {
        tables.extend(fork::measure(plan).await.context("fork")?);
    }
    if wanted("read") {
        tables.extend(read::measure(plan).await.context("read")?);
    }
    if wanted("save") {
        tables.extend(save::measure(plan).await.context("save")?);
    }
    if wanted("list") {
        tables.extend(list::measure(plan).await.context("list")?);
    }
    if wanted("growth") {
        tables.extend(growth::measure(plan).await.context("growth")?);
    }
    if wanted("shape") {
        tables.extend(shape::measure(plan).await.context("shape")?);
    }
    if wanted("snapshot") {
        tables.extend(snapshot::measure(plan).await.context("snapshot")?);
    }
    if wanted("resume") {
        tables.extend(resume::measure(plan).await.context("resume")?);
    }
    if wanted("search") {
        tables.extend(search::measure(plan).await.context("search")?);
    }
    if wanted("idle") {
        tables.extend(idle::measure(plan).await.context("idle")?);
    }
    if wanted("watch") {
        tables.extend(watch::measure(plan).await.context("watch")?);
    }
    // By name alone: it takes minutes.
    if filters.iter().any(|filter| filter == "library") {
        tables.extend(library::measure(plan).await.context("library")?);
    }
    // By name alone: it takes minutes as well, and programs that not every machine has.
    if filters.iter().any(|filter| filter == "postgres") {
        tables.extend(postgres::measure(plan).await.context("postgres")?);
    }
    if filters.iter().any(|filter| filter == "library-postgres") {
        tables.extend(
            library::measure_postgres(plan)
                .await
                .context("library-postgres")?,
        );
    }
    for table in tables {
        println!("{table}");
    }
    Ok(())
}

//! `backup` and `verify`: what is done with a data directory itself, beside a server or without one.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::error::Error;
use super::json;
use super::show::count;
use super::term::Screen;
use crate::body;
use crate::config::Config;
use crate::store::sqlite::{self, Existing, Report};

/// Problems that are printed for people.
const SHOWN_MAX: usize = 50;

/// Where the data is.
#[derive(Args, Debug)]
pub(crate) struct Data {
    /// The folder the data lies in [default: sessiond in the user's data home]
    #[arg(long, env = "SESSIOND_DATA", hide_env_values = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Copy everything into one file, beside a running server. Put it into an empty folder as `sessiond.db` to serve it.
#[derive(Args, Debug)]
pub(crate) struct Backup {
    #[command(flatten)]
    data: Data,
    /// The file to make.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace a file of that name.
    #[arg(long, short)]
    force: bool,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

/// Look for damage in what is stored, beside a running server; nothing is changed.
///
/// Every row is read, every message held against its digest, and rows against each other; what is short and has no digest,
/// a title for one, is as good as it can be read. What is wrong is named by ids. Exits with 1 if anything is.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    data: Data,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

impl Data {
    pub(crate) fn folder(self) -> Result<PathBuf, Error> {
        let config = Config {
            data: self.data,
            ..Config::default()
        };
        Ok(config.data_folder().context("there is no data folder")?)
    }
}

impl Backup {
    pub(crate) fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let folder = self.data.folder()?;
        let existing = if self.force {
            Existing::Replaced
        } else {
            Existing::Kept
        };
        let made = sqlite::backup(&folder, &self.file, existing).context("there is no backup")?;
        let file = self.file.display().to_string();
        if self.json {
            let made = json!({ "file": file, "bytes": made.bytes });
            return Ok(json::print(screen, &made)?);
        }
        writeln!(screen, "{file}: {}", count(made.bytes, "byte"))?;
        Ok(())
    }
}

impl Verify {
    pub(crate) fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let folder = self.data.folder()?;
        let report = sqlite::verify(&folder, Some(&body::payload)).context("nothing could be looked at")?;
        if self.json {
            json::print(screen, &object(&report))?;
        } else {
            print(screen, &report)?;
        }
        match report.problem_count {
            0 => Ok(()),
            count => Err(Error::Damaged { count }),
        }
    }
}

fn object(report: &Report) -> serde_json::Value {
    let problems = report.problems.iter();
    let problems = problems.map(|problem| json!({ "row": problem.row, "reason": problem.reason }));
    json!({
        "checked": report.checked,
        "garbage": report.garbage,
        "notes": report.notes,
        "problem_count": report.problem_count,
        "problems": problems.collect::<Vec<_>>(),
    })
}

fn print(screen: &mut Screen, report: &Report) -> Result<(), Error> {
    for problem in report.problems.iter().take(SHOWN_MAX) {
        writeln!(screen, "{}: {}", problem.row, problem.reason)?;
    }
    let more = report.problem_count.saturating_sub(SHOWN_MAX as u64);
    if more > 0 {
        writeln!(screen, "and {}", count(more, "problem"))?;
    }
    let list = |counts: &std::collections::BTreeMap<&str, u64>| {
        let counts = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
        counts.collect::<Vec<_>>().join(", ")
    };
    writeln!(screen, "looked at: {}", list(&report.checked))?;
    if !report.garbage.is_empty() {
        writeln!(
            screen,
            "named by nobody, and no damage: {}",
            list(&report.garbage)
        )?;
    }
    for note in &report.notes {
        writeln!(screen, "{note}")?;
    }
    Ok(())
}

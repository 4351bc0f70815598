//! `copy`: moves house, from one store into another that is empty.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::error::Error;
use super::json;
use super::show::count;
use super::stores;
use super::term::Screen;
use crate::body;
use crate::service::{Clock as _, SystemClock};
use crate::store::copy::{CopyError, Progress, Stage, copy};
use crate::store::place::{Place, StoreUrl};
use crate::store::sqlite;

const BAR: &str = "{spinner} {prefix}: {human_pos} rows, {per_sec}, {msg}";

/// Copy everything into an empty store: sessions, threads, engines, resumes and what is known of requests.
///
/// The server must be stopped. Forks go on sharing what they share, ids, times and revisions stay. Both sides are held
/// against each other row by row before the copy can be served; the search index is made anew then. The source is not
/// changed. A copy that was cut off goes on where it was when the same command is run again.
#[derive(Args, Debug)]
pub(crate) struct Copy {
    /// The store to copy: sqlite:DIR, or postgres://...
    #[arg(long, value_name = "URL")]
    from: StoreUrl,
    /// The store to fill; it must be empty
    #[arg(long, value_name = "URL")]
    to: StoreUrl,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl Copy {
    pub(crate) async fn run(self, screen: &mut Screen) -> Result<(), Error> {
        let from = stores::place("--from", &self.from)?;
        let to = stores::place("--to", &self.to)?;
        if from.is(to) {
            return Err(Error::Usage("--from and --to are the same store".to_owned()));
        }
        let began = Instant::now();
        let source = stores::source(from).await?;
        let target = stores::target(to).await?;
        if source.served_by > 0 {
            let replicas = count(source.served_by, "replica");
            writeln!(
                std::io::stderr(),
                "warning: {replicas} may serve {from}: what is written there from now on stays behind"
            )?;
        }
        let mut bar = screen.look.width.map(|_| Bar::new());
        let mut show = |progress| {
            if let Some(bar) = &mut bar {
                bar.show(progress);
            }
        };
        let copied = copy(&*source.rows, &*target, SystemClock.now(), &mut show).await;
        drop(bar);
        drop((source, target));
        let copied = copied.map_err(|error| {
            let advice = match &error {
                CopyError::Source(_) | CopyError::Target(_) => {
                    "the copy has not come to its end; run the same command again and it goes on"
                }
                CopyError::Differs { .. } => "the copy is not served; remove it and copy into an empty place",
            };
            anyhow::Error::new(error).context(advice)
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let verified = match to {
            Place::Sqlite(folder) => {
                let report = sqlite::verify(folder, Some(&body::payload));
                Some(report.context("the copy could not be verified")?)
            }
            // The comparison has read every row of both sides.
            Place::Postgres(_) => None,
        };
        let problems = verified.map_or(0, |report| report.problem_count);
        if self.json {
            let report = json!({
                "from": from.to_string(),
                "to": to.to_string(),
                "rows": copied.rows,
                "bytes": copied.bytes,
                "seconds": seconds,
                "problem_count": problems,
            });
            json::print(screen, &report)?;
        } else {
            writeln!(
                screen,
                "{from} is copied to {to}, and compared: {}",
                listed(&copied.rows)
            )?;
            writeln!(
                screen,
                "{} of content in {seconds:.1} s",
                count(copied.bytes, "byte")
            )?;
        }
        match problems {
            0 => Ok(()),
            // What was damaged before is copied as it is.
            count => Err(Error::Damaged { count }),
        }
    }
}

fn listed(rows: &BTreeMap<&'static str, u64>) -> String {
    let counts = rows
        .iter()
        .map(|(table, rows)| format!("{rows} {}", table.replace('_', " ")));
    match counts.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "nothing was there".to_owned(),
        counts => counts,
    }
}

/// What a person sees meanwhile.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    fn show(&mut self, progress: Progress) {
        self.0.set_prefix(match progress.stage {
            Stage::Copying => "copying",
            Stage::Comparing => "comparing",
        });
        self.0
            .set_message(format!("{} MiB", progress.bytes / (1024 * 1024)));
        self.0.set_position(progress.rows);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
